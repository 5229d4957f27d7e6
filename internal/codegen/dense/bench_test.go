package dense

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// resident is launches with their buffers, which stay on the device.
type resident struct {
	c        *card
	launches []codegen.Launch
	kernels  []opencl.Kernel
	buffers  map[int]opencl.Mem
}

func (c *card) resident(b *testing.B, l *kernel.Library) *resident {
	b.Helper()
	r := &resident{c: c, buffers: make(map[int]opencl.Mem)}
	buffer := func(slot, bytes int) {
		m, err := c.cl.CreateBuffer(c.ctx, opencl.ReadWrite|opencl.CopyHostPtr, bytes, make([]byte, bytes))
		if err != nil {
			b.Fatal(err)
		}
		r.buffers[slot] = m
	}
	for _, o := range append(append([]kernel.Operand(nil), l.In...), l.Out...) {
		buffer(o.Slot, o.Elements()*o.DType.Size())
	}
	if l.Scratch = -1; Workspace(l, c.target) > 0 {
		l.Scratch = 1000
		buffer(1000, Workspace(l, c.target))
	}
	var err error
	if r.launches, _, err = Lower(l, c.target); err != nil {
		b.Fatal(err)
	}
	var kernels []*codegen.Kernel
	for _, a := range r.launches {
		kernels = append(kernels, a.Kernel)
	}
	p, err := c.build(codegen.Module(kernels, c.target))
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range r.launches {
		k, err := c.cl.CreateKernel(p, a.Kernel.Name)
		if err != nil {
			b.Fatal(err)
		}
		r.kernels = append(r.kernels, k)
		if err := c.bindArgs(k, a, r.buffers); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

func (r *resident) run() error {
	for i, a := range r.launches {
		g, s := a.Kernel.Group, a.Grid
		if err := r.c.cl.EnqueueNDRangeKernel(r.c.queue, r.kernels[i], 3, [3]int{g[0] * s[0], g[1] * s[1], g[2] * s[2]}, g, nil, nil); err != nil {
			return err
		}
	}
	return r.c.cl.Finish(r.c.queue)
}

// BenchmarkDot has square matrix products by kernels for a CPU and for a GPU, in turn
// with CLBlast's on the same device, and reports how many times as long CLBlast takes.
func BenchmarkDot(b *testing.B) {
	for _, shape := range []string{"cpu", "gpu"} {
		for _, n := range []int{256, 512, 1024} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				c := newCard(b, shape == "cpu", 2)
				lib, err := dl.Open("libclblast.so.1")
				testenv.Require(b, "clblast", err == nil, fmt.Sprint(err))
				f, err := lib.Lookup("CLBlastSgemm")
				if err != nil {
					b.Fatal(err)
				}
				var sgemm func(layout, ta, tb uint32, m, n, k uintptr, alpha float32, a, aOffset, aLD, b, bOffset, bLD uintptr, beta float32, c, cOffset, cLD uintptr, q, e unsafe.Pointer) int32
				dl.Register(&sgemm, f)
				operand := func(slot int) kernel.Operand {
					return kernel.Operand{Slot: slot, DType: dtype.Float32, Shape: []int{n, n}, Stride: []int{n, 1}}
				}
				r := c.resident(b, &kernel.Library{Op: ir.DotGeneral, In: []kernel.Operand{operand(0), operand(1)}, Out: []kernel.Operand{operand(2)}})
				other := func() error {
					const rowMajor, plain = 101, 111
					w, q := uintptr(n), c.queue
					if s := sgemm(rowMajor, plain, plain, w, w, w, 1, uintptr(r.buffers[0]), 0, w, uintptr(r.buffers[1]), 0, w, 0, uintptr(r.buffers[2]), 0, w, unsafe.Pointer(&q), nil); s != 0 {
						return fmt.Errorf("CLBlastSgemm: status %d", s)
					}
					return c.cl.Finish(c.queue)
				}
				measure(b, r.run, other, 2*float64(n)*float64(n)*float64(n))
			})
		}
	}
}

// measure runs two functions in turn, once before.
func measure(b *testing.B, ours, theirs func() error, work float64) {
	b.Helper()
	var took [2]time.Duration
	for i := -1; i < b.N; i++ {
		for j, f := range []func() error{ours, theirs} {
			begin := time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			if i >= 0 {
				took[j] += time.Since(begin)
			}
		}
	}
	b.ReportMetric(work*float64(b.N)/took[0].Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "×CLBlast")
}
