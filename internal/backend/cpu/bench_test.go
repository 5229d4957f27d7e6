package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

func BenchmarkConv(b *testing.B) {
	for _, c := range []struct {
		name                                      string
		n, c, k, size, window, stride, pad, group int
	}{
		{"3x3-64-28", 32, 64, 64, 28, 3, 1, 1, 1},
		{"3x3-128-14-stride2", 32, 128, 128, 14, 3, 2, 1, 1},
		{"1x1-256-14", 32, 256, 64, 14, 1, 1, 0, 1},
		{"7x7-stem", 4, 3, 64, 112, 7, 2, 3, 1},
		{"lenet1", 64, 1, 6, 28, 5, 1, 0, 1},
		{"lenet2", 64, 6, 16, 12, 5, 1, 0, 1},
		{"depthwise", 8, 64, 64, 28, 3, 1, 1, 64},
	} {
		at := ir.ConvAttr{Stride: []int{c.stride, c.stride}, Low: []int{c.pad, c.pad}, High: []int{c.pad, c.pad}, Dilation: []int{1, 1}, Groups: c.group}
		out := (c.size+2*c.pad-c.window)/c.stride + 1
		r := rand.New(rand.NewPCG(1, 1))
		x := random(r, dtype.Float32, c.n, c.c, c.size, c.size)
		w := random(r, dtype.Float32, c.k, c.c/c.group, c.window, c.window)
		y := random(r, dtype.Float32, c.n, c.k, out, out)
		for dir, in := range [][]tensor{{x, w}, {y, w}, {x, y}} {
			at.Dir = ir.Direction(dir)
			res := []tensor{y, x, w}[dir]
			if dir > 0 {
				at.Size = res.shape[2:]
			}
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%s/workers=%d", c.name, []string{"forward", "input", "weights"}[dir], workers), func(b *testing.B) {
					p := pool.New(workers)
					defer p.Close()
					d := newDevice(p)
					run := prepared(b, d, &kernel.Library{Op: ir.Conv, Attr: at}, in, res)
					for b.Loop() {
						run()
					}
					flops := 2 * float64(c.n*c.k*out*out*c.c/c.group*c.window*c.window)
					b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}

func BenchmarkDot(b *testing.B) {
	for _, c := range []struct {
		m, n, k int
		turned  bool
	}{{1, 4096, 4096, true}, {1, 4096, 4096, false}, {1, 1000, 1000, true}, {32, 128, 784, true}, {32, 10, 128, true}} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%dx%d/turned=%v/workers=%d", c.m, c.n, c.k, c.turned, workers), func(b *testing.B) {
				p := pool.New(workers)
				defer p.Close()
				d := newDevice(p)
				x, y := newTensor(dtype.Float32, c.m, c.k), newTensor(dtype.Float32, c.k, c.n)
				l := &kernel.Library{Op: ir.DotGeneral, In: []kernel.Operand{
					{Slot: 0, DType: dtype.Float32, Shape: x.shape, Stride: []int{c.k, 1}},
					{Slot: 1, DType: dtype.Float32, Shape: y.shape, Stride: []int{c.n, 1}},
				}}
				if c.turned {
					l.In[1].Stride = []int{1, c.k}
				}
				run := prepared(b, d, l, []tensor{x, y}, newTensor(dtype.Float32, c.m, c.n))
				for b.Loop() {
					run()
				}
				b.ReportMetric(2*float64(c.m*c.n*c.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// Poolings with their gradient's parts: the places of the maxima, and the adding of
// updates there.
func BenchmarkWindow(b *testing.B) {
	for _, c := range []struct {
		name                              string
		planes, size, window, stride, pad int
		dtype                             dtype.DType
	}{
		{"2x2-28", 1024, 28, 2, 2, 0, dtype.Float32},
		{"2x2-14", 2048, 14, 2, 2, 0, dtype.Float32},
		{"3x3-112-stride2", 256, 112, 3, 2, 1, dtype.Float32},
		{"3x3-28", 1024, 28, 3, 1, 1, dtype.Float32},
		{"7x7-7", 4096, 7, 7, 1, 0, dtype.Float32},
		{"3x3-28-float64", 1024, 28, 3, 1, 1, dtype.Float64},
	} {
		at := ir.Window{Size: []int{c.window, c.window}, Stride: []int{c.stride, c.stride}, Low: []int{c.pad, c.pad}, High: []int{c.pad, c.pad}, Dilation: []int{1, 1}}
		out := (c.size+2*c.pad-c.window)/c.stride + 1
		r := rand.New(rand.NewPCG(1, 1))
		x, y := random(r, c.dtype, 1, c.planes, c.size, c.size), newTensor(c.dtype, 1, c.planes, out, out)
		place := newTensor(dtype.Int32, 1, c.planes, out, out)
		flat := func(t tensor) tensor { return tensor{t.dtype, []int{1, c.planes, len(t.v) / c.planes}, t.v} }
		where := flat(place)
		where.v = append([]float64(nil), where.v...)
		for i := range where.v {
			where.v[i] = float64(r.IntN(c.size * c.size))
		}
		for _, o := range []struct {
			name string
			op   ir.Op
			attr ir.Attr
			in   []tensor
			out  tensor
		}{
			{"sum", ir.ReduceWindowSum, at, []tensor{x}, y},
			{"max", ir.ReduceWindowMax, at, []tensor{x}, y},
			{"argmax", ir.ReduceWindowArgMax, at, []tensor{x}, place},
			{"scatter", ir.ScatterAdd, ir.Index{Axis: 2, Batch: 2}, []tensor{flat(x), where, flat(y)}, flat(x)},
		} {
			b.Run(c.name+"/"+o.name, func(b *testing.B) {
				p := pool.New(1)
				defer p.Close()
				run := prepared(b, newDevice(p), &kernel.Library{Op: o.op, Attr: o.attr}, o.in, o.out)
				b.SetBytes(int64(len(x.v) * c.dtype.Size()))
				for b.Loop() {
					run()
				}
			})
		}
	}
}

// prepared compiles an operation and returns a function that runs it.
func prepared(b testing.TB, d *Device, l *kernel.Library, in []tensor, out ...tensor) func() {
	e, err := d.Compile(single(d, l, in, out))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(e.Close)
	var leaves, outputs []device.Buffer
	for _, x := range in {
		buf, _ := d.Wrap(x.encode())
		leaves = append(leaves, buf)
	}
	for _, x := range out {
		buf, err := d.Alloc(len(x.v) * x.dtype.Size())
		if err != nil {
			b.Fatal(err)
		}
		outputs = append(outputs, buf)
	}
	return func() {
		if err := e.Run(leaves, outputs); err != nil {
			b.Fatal(err)
		}
	}
}
