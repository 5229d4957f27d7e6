package codegen_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// filled is an input of whole numbers so small that no sum of them rounds.
func filled(r *rand.Rand, d dtype.DType, sh ...int) *ir.Node {
	n := 1
	for _, e := range sh {
		n *= e
	}
	mem := make([]byte, n*d.Size())
	for i := range n {
		v := r.IntN(7) - 3
		scalar.Put(d, mem, i, scalar.Number{F: float64(v), I: int64(v)})
	}
	return ir.NewInput(d, sh, &ir.Storage{Data: mem})
}

// Kernels in the shapes that only larger tensors get, for GPUs: rows of odd length by
// whole vectors, tiles, blocks of random words, slices, many tensors at once. All is exact,
// so it is compared to the bit.
func TestPrograms(t *testing.T) {
	d := newDevice(t, many)
	r := rand.New(rand.NewPCG(1, 2))
	graphs := make(map[string][]*ir.Node)
	for _, e := range []dtype.DType{dtype.Float32, dtype.BFloat16, dtype.Int8} {
		odd := filled(r, e, 4, 6, 7, 7)
		scale := ir.BroadcastTo(filled(r, e, 6), odd.Shape, []int{1})
		iota := ir.To(ir.NewIota(dtype.Int32, odd.Shape, 2), e)
		graphs["odd rows of "+e.String()] = []*ir.Node{apply(ir.Mul, odd, scale), apply(ir.Add, apply(ir.Neg, odd), iota)}
		x, y := filled(r, e, 3, 70, 90), filled(r, e, 3, 90, 70)
		graphs["transposed "+e.String()] = []*ir.Node{apply(ir.Sub, ir.Permute(x, []int{0, 2, 1}), y)}
	}
	bits := ir.NewRNGBits(ir.RNG{Seed: 3, Site: 4}, []int{12, 128}, filled(r, dtype.Int64))
	graphs["random bits"] = []*ir.Node{bits}
	long := filled(r, dtype.Float32, 2, 300000)
	graphs["long rows"] = []*ir.Node{ir.Fold(ir.ReduceSum, long, []int{1}), ir.Fold(ir.ReduceMax, long, []int{1})}
	tall := filled(r, dtype.BFloat16, 9000, 24)
	graphs["tall columns"] = []*ir.Node{ir.Fold(ir.ReduceSum, ir.To(tall, dtype.Float32), []int{0})}
	var squares []*ir.Node
	for _, n := range []int{40000, 64, 3001, 20000} {
		x := filled(r, dtype.Float32, n)
		squares = append(squares, ir.Fold(ir.ReduceSum, apply(ir.Mul, x, x), []int{0}))
	}
	graphs["many sums"] = squares
	// More tensors than fit one launch's parameters, so that they are dealt out to several:
	// of each kind of launch the same ones.
	var crowd []*ir.Node
	for i := range 150 {
		x := filled(r, dtype.Float32, 8+4*(i%5))
		crowd = append(crowd, ir.Fold(ir.ReduceSum, apply(ir.Mul, x, x), []int{0}))
	}
	graphs["sums of many more"] = crowd

	for name, outputs := range graphs {
		t.Run(name, func(t *testing.T) {
			leaves := ir.Collect(outputs).Leaves()
			p := plan.Build(outputs, leaves, null.New(), plan.Precision{})
			var memory [][]byte
			var in, out []device.Buffer
			for _, l := range leaves {
				b, err := d.Wrap(l.Storage.Data.([]byte))
				if err != nil {
					t.Fatal(err)
				}
				in = append(in, b)
				memory = append(memory, bytes.Clone(l.Storage.Data.([]byte)))
			}
			want := graphtest.Run(p, memory)
			for i := range want {
				for _, s := range p.Slots {
					if s.Kind == kernel.Output && s.Index == i {
						b, err := d.Alloc(s.Bytes)
						if err != nil {
							t.Fatal(err)
						}
						out = append(out, b)
						break
					}
				}
			}
			e, err := d.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if err := e.Run(in, out); err != nil {
				t.Fatal(err)
			}
			for i, w := range want {
				got := make([]byte, len(w))
				if err := d.Download(got, out[i]); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, w) {
					n := 0
					for got[n] == w[n] {
						n++
					}
					t.Errorf("output %d differs from byte %d of %d on\n%s", i, n, len(w), plan.Print(p))
				}
			}
		})
	}
}
