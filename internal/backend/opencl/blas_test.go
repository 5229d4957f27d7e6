package opencl

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
	"github.com/sinter-dl/sinter/internal/testenv"
)

func requireBlas(t testing.TB) *Device {
	t.Helper()
	d := testDevice(t)
	_, err := blas()
	testenv.Require(t, "clblast", err == nil, fmt.Sprint(err))
	return d
}

// multiply is a program of one product.
func multiply(m, n, k int) *kernel.Program {
	p := &kernel.Program{Leaves: 2, Outputs: 1}
	operand := func(slot int, kind kernel.SlotKind, rows, cols int) kernel.Operand {
		sh := []int{rows, cols}
		p.Slots = append(p.Slots, kernel.Slot{Kind: kind, Index: slot % 2, Bytes: 4 * rows * cols})
		return kernel.Operand{Slot: slot, DType: dtype.Float32, Shape: sh, Stride: shape.Strides(sh)}
	}
	l := &kernel.Library{Op: ir.DotGeneral, Name: "product", Scratch: -1}
	l.In = []kernel.Operand{operand(0, kernel.Leaf, m, k), operand(1, kernel.Leaf, k, n)}
	l.Out = []kernel.Operand{operand(2, kernel.Output, m, n)}
	p.Steps = []kernel.Step{l}
	return p
}

// What CLBlast computes is right, and it is asked for the products that it can do. The whole
// suite of products takes minutes, for it compiles kernels for every kind of them.
func TestBlasConformance(t *testing.T) {
	d := requireBlas(t)
	t.Setenv(blasVariable, "perhaps")
	if _, err := d.Compile(multiply(3, 4, 5)); err == nil {
		t.Error("a setting that does not exist was taken")
	}
	t.Setenv(blasVariable, "on")
	if newProduct(multiply(3, 4, longest+1).Steps[0].(*kernel.Library)) != nil {
		t.Error("a long sum is CLBlast's")
	}
	if os.Getenv("SINTER_STRESS") != "" {
		devicetest.Run(t, d, "dot")
	}

	// A batch of two, x transposed, both behind other elements; all numbers are so short
	// that the sums are exact.
	const m, n, k = 5, 7, 6
	p := &kernel.Program{Leaves: 2, Outputs: 1, Slots: []kernel.Slot{
		{Kind: kernel.Leaf, Bytes: 4 * (3 + 2*k*m)}, {Kind: kernel.Leaf, Index: 1, Bytes: 4 * (1 + 2*k*n)}, {Kind: kernel.Output, Bytes: 4 * 2 * m * n},
	}}
	p.Steps = []kernel.Step{&kernel.Library{Op: ir.DotGeneral, Name: "product", Scratch: -1,
		In: []kernel.Operand{
			{Slot: 0, DType: dtype.Float32, Offset: 3, Shape: []int{2, m, k}, Stride: []int{m * k, 1, m}},
			{Slot: 1, DType: dtype.Float32, Offset: 1, Shape: []int{2, k, n}, Stride: []int{k * n, n, 1}},
		},
		Out: []kernel.Operand{{Slot: 2, DType: dtype.Float32, Shape: []int{2, m, n}, Stride: []int{m * n, n, 1}}},
	}}
	x, y := func(i int) float32 { return float32(i%5 - 2) }, func(i int) float32 { return float32(i%7 - 3) }
	var want []byte
	for b := range 2 {
		for i := range m {
			for j := range n {
				sum := float32(0)
				for l := range k {
					sum += x(3+b*m*k+i+l*m) * y(1+b*k*n+l*n+j)
				}
				want = binary.LittleEndian.AppendUint32(want, math.Float32bits(sum))
			}
		}
	}
	buffer := func(n int, f func(int) float32) device.Buffer {
		var data []byte
		for i := range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(f(i)))
		}
		b, err := d.Wrap(data)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	e := compile(t, d, p).(*executable)
	if e.ops[0].product == nil {
		t.Fatal("the product is not CLBlast's")
	}
	out := words(t, d, 2*m*n, -1)
	if err := e.Run([]device.Buffer{buffer(3+2*m*k, x), buffer(1+2*k*n, y)}, []device.Buffer{out}); err != nil {
		t.Fatal(err)
	}
	hold(t, d, out, want)
}

// What is faster is measured once for a shape, and what was measured is kept.
func TestBlasChoice(t *testing.T) {
	d := requireBlas(t)
	t.Setenv(blasVariable, "")
	store := memoryStore{}
	d.builds.store = store
	const n = 192
	used := func() bool {
		return compile(t, d, multiply(n, n, n)).(*executable).ops[0].product != nil
	}
	if used() || len(store) != 0 {
		t.Fatal("on a processor, CLBlast was asked without being wanted")
	}
	d.target.Serial = false // as if it were a card
	first := used()
	if len(store) != 1 {
		t.Fatalf("%d choices are kept", len(store))
	}
	if compile(t, d, multiply(8, 8, 8)).(*executable).ops[0].product != nil || len(store) != 1 {
		t.Error("a small product was measured")
	}
	for key := range store {
		store[key] = []byte{byte(1 - truth(first))}
	}
	if used() != first {
		t.Error("a shape that was decided was decided again")
	}
	other := testDevice(t)
	other.builds.store, other.target.Serial = store, false
	if got := compile(t, other, multiply(n, n, n)).(*executable).ops[0].product != nil; got == first {
		t.Error("what is kept was not asked")
	}
	t.Setenv(blasVariable, "off")
	if used() {
		t.Error("CLBlast was used although it is off")
	}
}

// BenchmarkProduct compares our products with CLBlast's; docs/opencl.md has what came out.
func BenchmarkProduct(b *testing.B) {
	for _, n := range []int{128, 256, 512, 1024} {
		for _, mode := range []string{"off", "on"} {
			b.Run(fmt.Sprintf("%d/%s", n, mode), func(b *testing.B) {
				d := requireBlas(b)
				b.Setenv(blasVariable, mode)
				p := multiply(n, n, n)
				e := compile(b, d, p)
				leaves := []device.Buffer{words(b, d, n*n, 0x3f800000), words(b, d, n*n, 0x3f000000)}
				out := []device.Buffer{words(b, d, n*n, 0)}
				run := func() {
					if err := e.Run(leaves, out); err != nil {
						b.Fatal(err)
					}
					if err := d.Wait(); err != nil {
						b.Fatal(err)
					}
				}
				run()
				best := time.Hour
				for b.Loop() {
					begin := time.Now()
					run()
					best = min(best, time.Since(begin))
				}
				b.ReportMetric(2*float64(n)*float64(n)*float64(n)/best.Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
