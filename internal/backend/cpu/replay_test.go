package cpu

import (
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// negations is a program of so many kernels, each the negation of what the one before
// has written, over n elements.
func negations(kernels, n int) *kernel.Program {
	bytes := (4*n + 63) &^ 63
	p := &kernel.Program{Leaves: 1, Outputs: 1, Arena: 2 * bytes, Slots: []kernel.Slot{
		{Kind: kernel.Leaf, Bytes: 4 * n}, {Kind: kernel.Output, Bytes: 4 * n},
		{Kind: kernel.Arena, Bytes: 4 * n}, {Kind: kernel.Arena, Offset: bytes, Bytes: 4 * n},
	}}
	at := 0
	for i := range kernels {
		to := 2 + i&1
		if i == kernels-1 {
			to = 1
		}
		p.Steps = append(p.Steps, &kernel.Fused{Name: "neg", Code: []kernel.Instr{
			{Kind: kernel.Load, DType: dtype.Float32, Arg: 0},
			{Kind: kernel.Apply, Op: ir.Neg, DType: dtype.Float32, X: [3]int{0}},
			{Kind: kernel.Store, DType: dtype.Float32, X: [3]int{1}, Arg: 1},
		}, Parts: []kernel.Part{{Outer: []int{n}, Args: []kernel.Arg{
			{Slot: at, DType: dtype.Float32, Stride: []int{1}}, {Slot: to, DType: dtype.Float32, Stride: []int{1}},
		}}}})
		at = to
	}
	return p
}

// idle is a kernel without work.
type idle struct{ runs *int }

func (k idle) run([]unsafe.Pointer) { *k.runs++ }

// BenchmarkReplay is what a run costs by kernel: all of it, for kernels over 8
// elements, and the part of it that is not the kernels'.
func BenchmarkReplay(b *testing.B) {
	const kernels = 100
	d := newDevice(pool.New(1))
	buffers := func() (l []device.Buffer) { return []device.Buffer{goAlloc(32)} }
	in, out := buffers(), buffers()
	measure := func(b *testing.B, e device.Executable) {
		b.ReportAllocs()
		for b.Loop() {
			if err := e.Run(in, out); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/kernels, "ns/kernel")
	}
	e, err := d.Compile(negations(kernels, 8))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("whole", func(b *testing.B) { measure(b, e) })
	b.Run("dispatch", func(b *testing.B) {
		runs := 0
		x := e.(*executable)
		for i := range x.steps {
			x.steps[i] = idle{&runs}
		}
		measure(b, x)
	})
}
