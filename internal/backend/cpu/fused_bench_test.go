package cpu

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// builder writes kernels by hand: values are numbers of instructions.
type builder struct {
	f           kernel.Fused
	outer, dims int
}

func newBuilder(name string, outer, inner []int) *builder {
	return &builder{
		f:     kernel.Fused{Name: name, Parts: []kernel.Part{{Outer: outer, Inner: inner}}},
		outer: len(outer), dims: len(outer) + len(inner),
	}
}

func (b *builder) add(in kernel.Instr) int {
	b.f.Code = append(b.f.Code, in)
	return len(b.f.Code) - 1
}

func (b *builder) arg(slot int, stride []int) (int, bool) {
	p := &b.f.Parts[0]
	p.Args = append(p.Args, kernel.Arg{Slot: slot, DType: dtype.Float32, Stride: stride})
	inner := false
	for _, s := range stride[b.outer:] {
		inner = inner || s != 0
	}
	return len(p.Args) - 1, inner
}

func (b *builder) load(slot int, stride ...int) int {
	a, inner := b.arg(slot, stride)
	return b.add(kernel.Instr{Kind: kernel.Load, DType: dtype.Float32, Arg: a, Inner: inner})
}

func (b *builder) imm(v float64) int {
	return b.add(kernel.Instr{Kind: kernel.Imm, DType: dtype.Float32, Bits: ir.FloatBits(dtype.Float32, v)})
}

func (b *builder) op(op ir.Op, x ...int) int {
	in := kernel.Instr{Kind: kernel.Apply, Op: op, DType: dtype.Float32}
	if op.IsCompare() {
		in.DType = dtype.Bool
	}
	copy(in.X[:], x)
	for _, v := range x {
		in.Inner = in.Inner || b.f.Code[v].Inner
	}
	return b.add(in)
}

func (b *builder) reduce(op ir.Op, x int) int {
	return b.add(kernel.Instr{Kind: kernel.Reduce, Op: op, DType: dtype.Float32, X: [3]int{x}})
}

func (b *builder) store(x, slot int, stride ...int) {
	a, _ := b.arg(slot, stride)
	b.add(kernel.Instr{Kind: kernel.Store, DType: dtype.Float32, X: [3]int{x}, Arg: a})
}

// adamW updates the slots p, m and v in place from the gradient g and the learning
// rate (slot 4), unless that is not finite.
func adamW(n int) *kernel.Fused {
	b := newBuilder("adamw", []int{n}, nil)
	p, m, v, g := b.load(0, 1), b.load(1, 1), b.load(2, 1), b.load(3, 1)
	lr := b.load(4, 0)
	finite := b.op(ir.Lt, b.op(ir.Abs, lr), b.imm(math.Inf(1)))
	m1 := b.op(ir.Add, b.op(ir.Mul, m, b.imm(0.9)), b.op(ir.Mul, g, b.imm(0.1)))
	v1 := b.op(ir.Add, b.op(ir.Mul, v, b.imm(0.999)), b.op(ir.Mul, b.op(ir.Mul, g, g), b.imm(0.001)))
	step := b.op(ir.Div, m1, b.op(ir.Add, b.op(ir.Sqrt, v1), b.imm(1e-8)))
	p1 := b.op(ir.Sub, p, b.op(ir.Mul, lr, b.op(ir.Add, step, b.op(ir.Mul, p, b.imm(0.01)))))
	b.store(b.op(ir.Select, finite, p1, p), 0, 1)
	b.store(b.op(ir.Select, finite, m1, m), 1, 1)
	b.store(b.op(ir.Select, finite, v1, v), 2, 1)
	return &b.f
}

func softmax(rows, cols int) *kernel.Fused {
	b := newBuilder("softmax", []int{rows}, []int{cols})
	x := b.load(0, cols, 1)
	e := b.op(ir.Exp, b.op(ir.Sub, x, b.reduce(ir.ReduceMax, x)))
	b.store(b.op(ir.Div, e, b.reduce(ir.ReduceSum, e)), 1, cols, 1)
	return &b.f
}

func layerNorm(rows, cols int) *kernel.Fused {
	b := newBuilder("layer_norm", []int{rows}, []int{cols})
	x := b.load(0, cols, 1)
	inv := b.imm(1 / float64(cols))
	c := b.op(ir.Sub, x, b.op(ir.Mul, b.reduce(ir.ReduceSum, x), inv))
	vr := b.op(ir.Mul, b.reduce(ir.ReduceSum, b.op(ir.Mul, c, c)), inv)
	y := b.op(ir.Mul, c, b.op(ir.Rsqrt, b.op(ir.Add, vr, b.imm(1e-5))))
	y = b.op(ir.Add, b.op(ir.Mul, y, b.load(2, 0, 1)), b.load(3, 0, 1))
	b.store(y, 1, cols, 1)
	return &b.f
}

func gelu(n int) *kernel.Fused {
	b := newBuilder("gelu", []int{n}, nil)
	x := b.load(0, 1)
	y := b.op(ir.Mul, b.op(ir.Mul, x, b.imm(0.5)), b.op(ir.Add, b.op(ir.Erf, b.op(ir.Mul, x, b.imm(math.Sqrt2/2))), b.imm(1)))
	b.store(y, 1, 1)
	return &b.f
}

func colSum(rows, cols int) *kernel.Fused {
	b := newBuilder("col_sum", []int{cols}, []int{rows})
	b.store(b.reduce(ir.ReduceSum, b.load(0, 1, cols)), 1, 1, 0)
	return &b.f
}

func biasReLU(rows, cols int) *kernel.Fused {
	b := newBuilder("bias_relu", []int{rows, cols}, nil)
	x := b.op(ir.Add, b.load(0, cols, 1), b.load(1, 0, 1))
	b.store(b.op(ir.Max, x, b.imm(0)), 0, cols, 1)
	return &b.f
}

func transpose(rows, cols int) *kernel.Fused {
	b := newBuilder("transpose", []int{rows, cols}, nil)
	b.store(b.load(0, 1, rows), 1, cols, 1)
	return &b.f
}

// floatSlots makes n slots of len floats; value gives element i of slot s.
func floatSlots(n, len int, value func(s, i int) float32) ([][]byte, []unsafe.Pointer) {
	slots := make([][]byte, n)
	for s := range slots {
		f := make([]float32, len)
		for i := range f {
			f[i] = value(s, i)
		}
		slots[s] = unsafe.Slice((*byte)(unsafe.Pointer(&f[0])), 4*len)
	}
	return slots, pointers(slots)
}

// Kernels too large for the random test: rows in pieces, split reductions, batch
// norm's axes, tiles that transpose. Inputs are small integers, so sums are exact
// in any order.
func TestFusedStrategies(t *testing.T) {
	normish := func(b *builder, stride, stat []int) *kernel.Fused {
		x := b.load(0, stride...)
		mx := b.reduce(ir.ReduceMax, x)
		c := b.op(ir.Sub, x, mx)
		s := b.reduce(ir.ReduceSum, c)
		b.store(b.op(ir.Sub, c, s), 1, stride...)
		b.store(b.op(ir.Add, s, mx), 2, stat...)
		return &b.f
	}
	for _, f := range []*kernel.Fused{
		normish(newBuilder("one long row", nil, []int{300_000}), []int{1}, []int{0}),
		normish(newBuilder("long rows", []int{3}, []int{50_001}), []int{50_001, 1}, []int{1, 0}),
		normish(newBuilder("rows", []int{501}, []int{257}), []int{257, 1}, []int{1, 0}),
		normish(newBuilder("columns", []int{301}, []int{999}), []int{1, 301}, []int{1, 0}),
		normish(newBuilder("few columns", []int{9}, []int{30_000}), []int{1, 9}, []int{1, 0}),
		normish(newBuilder("short columns", []int{9999}, []int{33}), []int{1, 9999}, []int{1, 0}),
		normish(newBuilder("batch norm", []int{6}, []int{40, 999}), []int{999, 6 * 999, 1}, []int{1, 0, 0}),
		normish(newBuilder("middle axis", []int{7, 65}, []int{300}), []int{300 * 65, 1, 65}, []int{65, 1, 0}),
		colSum(5000, 33), transpose(300, 1000), transpose(3, 9000), biasReLU(1000, 129),
	} {
		r := rand.New(rand.NewPCG(1, 1))
		slots, _ := floatSlots(3, 350_000, func(_, _ int) float32 { return float32(r.IntN(3) - 1) })
		want := reference(f, slots, nil, nil)
		var first [][]byte
		for _, workers := range []int{1, 3} {
			p := pool.New(workers)
			k, err := compileFused(f, nil, p)
			if err != nil {
				t.Fatal(err)
			}
			got := clones(slots)
			k.run(pointers(got))
			p.Close()
			if first == nil {
				first = got
			}
			for s := range got {
				if !bytes.Equal(got[s], want[s]) {
					t.Errorf("%s, %d workers: slot %d differs from the reference (splits %d)", f.Name, workers, s, k.parts[0].splits)
					break
				}
				if !bytes.Equal(got[s], first[s]) {
					t.Errorf("%s: %d workers give other bits than one", f.Name, workers)
				}
			}
		}
	}
}

// Sums that round give the same bits for any number of workers too.
func TestFusedSameBits(t *testing.T) {
	for _, f := range []*kernel.Fused{softmax(100, 300), softmax(2, 70_000), layerNorm(64, 1024), colSum(4096, 65), gelu(100_001)} {
		r := rand.New(rand.NewPCG(2, 2))
		slots, _ := floatSlots(4, 300_000, func(_, _ int) float32 { return float32(r.NormFloat64()) })
		var first [][]byte
		for _, workers := range []int{1, 2, 5} {
			p := pool.New(workers)
			k, err := compileFused(f, nil, p)
			if err != nil {
				t.Fatal(err)
			}
			got := clones(slots)
			k.run(pointers(got))
			p.Close()
			if first == nil {
				first = got
			}
			for s := range got {
				if !bytes.Equal(got[s], first[s]) {
					t.Errorf("%s: %d workers give other bits than one", f.Name, workers)
				}
			}
		}
	}
}

// A float32 sum of a million numbers is as good as pairwise addition.
func TestFusedSumAccuracy(t *testing.T) {
	const n = 1 << 20
	b := newBuilder("sum", nil, []int{n})
	b.store(b.reduce(ir.ReduceSum, b.load(0, 1)), 1, 0)
	slots, ptrs := floatSlots(2, n, func(_, i int) float32 { return 0.1 })
	k, err := compileFused(&b.f, nil, pool.Default())
	if err != nil {
		t.Fatal(err)
	}
	k.run(ptrs)
	want := n * float64(float32(0.1))
	if got := readRef(slots[1]); math.Abs(got-want) > 4e-6*want {
		t.Errorf("the sum of %d tenths is %g, want %g", n, got, want)
	}
}

func readRef(slot []byte) float64 { return float64(*(*float32)(unsafe.Pointer(&slot[0]))) }

func BenchmarkFused(b *testing.B) {
	for _, c := range []struct {
		f               *kernel.Fused
		slots, n, bytes int
	}{
		{adamW(1 << 20), 5, 1 << 20, 7 * 4 << 20},
		{adamW(16 << 20), 5, 16 << 20, 7 * 64 << 20},
		{gelu(1 << 20), 2, 1 << 20, 8 << 20},
		{softmax(4096, 256), 2, 1 << 20, 8 << 20},
		{layerNorm(4096, 256), 4, 1 << 20, 8 << 20},
		{colSum(4096, 512), 2, 2 << 20, 8 << 20},
		{biasReLU(4096, 256), 2, 1 << 20, 8 << 20},
		{transpose(1024, 1024), 2, 1 << 20, 8 << 20},
		{biasReLU(16, 16), 2, 256, 8 << 8},
	} {
		_, ptrs := floatSlots(c.slots, c.n, func(s, i int) float32 { return float32(i%97) / 97 })
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d/w%d", c.f.Name, c.n, workers), func(b *testing.B) {
				p := pool.New(workers)
				defer p.Close()
				k, err := compileFused(c.f, nil, p)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(c.bytes))
				b.ReportAllocs()
				for b.Loop() {
					k.run(ptrs)
				}
			})
		}
	}
}
