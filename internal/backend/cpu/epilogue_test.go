package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// addTensor is an epilogue: slot dst = slot src + slot other, over the given shape.
func addTensor(shape []int, src, other, dst int) *kernel.Fused {
	s := contiguous(shape)
	arg := func(slot int) kernel.Arg { return kernel.Arg{Slot: slot, DType: dtype.Float32, Stride: s} }
	return &kernel.Fused{
		Name: "add",
		Code: []kernel.Instr{
			{Kind: kernel.Load, DType: dtype.Float32, Arg: 0},
			{Kind: kernel.Load, DType: dtype.Float32, Arg: 1},
			{Kind: kernel.Apply, Op: ir.Add, DType: dtype.Float32, X: [3]int{0, 1}},
			{Kind: kernel.Store, DType: dtype.Float32, X: [3]int{2}, Arg: 2},
		},
		Parts: []kernel.Part{{Outer: shape, Args: []kernel.Arg{arg(src), arg(other), arg(dst)}}},
	}
}

// Every way in which an epilogue is reached: blocks of one product, of batches on
// one worker each, of merged batches, strips of a convolution with and without
// junk, planes of poolings and scatters, and the whole result for everything else. outer is the epilogue's space if
// it is not the result's shape.
func TestEpilogue(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	conv := func(stride, pad, groups int) ir.ConvAttr {
		return ir.ConvAttr{Stride: []int{stride, stride}, Low: []int{pad, pad}, High: []int{pad, pad}, Dilation: []int{1, 1}, Groups: groups}
	}
	for _, c := range []struct {
		op          ir.Op
		attr        ir.Attr
		a, b, shape []int
		outer       []int
		shared      bool // all batches have the same right operand
		turned      bool // the right operand lies transposed
	}{
		{op: ir.DotGeneral, a: []int{150, 70}, b: []int{70, 130}, shape: []int{150, 130}},
		{op: ir.DotGeneral, a: []int{150, 70}, b: []int{70, 130}, shape: []int{150, 130}, outer: []int{5, 30, 130}},
		{op: ir.DotGeneral, a: []int{3, 5, 7, 9}, b: []int{3, 5, 9, 4}, shape: []int{3, 5, 7, 4}},
		{op: ir.DotGeneral, a: []int{2, 200, 200}, b: []int{2, 200, 200}, shape: []int{2, 200, 200}},
		{op: ir.DotGeneral, a: []int{4, 6, 8}, b: []int{4, 8, 5}, shape: []int{4, 6, 5}, shared: true},
		{op: ir.DotGeneral, a: []int{1, 300}, b: []int{300, 40}, shape: []int{1, 40}, turned: true},
		{op: ir.DotGeneral, a: []int{6, 0}, b: []int{0, 5}, shape: []int{6, 5}},
		{op: ir.Conv, attr: conv(1, 1, 1), a: []int{3, 4, 9, 9}, b: []int{20, 4, 3, 3}, shape: []int{3, 20, 9, 9}},
		{op: ir.Conv, attr: conv(2, 1, 2), a: []int{3, 4, 40, 41}, b: []int{6, 2, 3, 3}, shape: []int{3, 6, 20, 21}},
		{op: ir.Conv, attr: conv(1, 0, 1), a: []int{2, 4, 9, 9}, b: []int{5, 4, 1, 1}, shape: []int{2, 5, 9, 9}},
		{op: ir.ReduceWindowMax, attr: ir.Window{Size: []int{2, 2}, Stride: []int{2, 2}, Low: []int{0, 0}, High: []int{0, 0}, Dilation: []int{1, 1}}, a: []int{2, 3, 8, 8}, shape: []int{2, 3, 4, 4}},
		{op: ir.ReduceWindowSum, attr: ir.Window{Size: []int{3}, Stride: []int{2}, Low: []int{1}, High: []int{1}, Dilation: []int{1}}, a: []int{50, 7, 99}, shape: []int{50, 7, 50}},
		{op: ir.ScatterAdd, attr: ir.Index{Axis: 2, Batch: 2}, a: []int{30, 7, 300}, b: []int{30, 7, 80}, shape: []int{30, 7, 300}},
		{op: ir.ScatterAdd, attr: ir.Index{Axis: 1, Batch: 1}, a: []int{40, 20, 9}, b: []int{40, 8}, shape: []int{40, 20, 9}},
		{op: ir.ScatterAdd, attr: ir.Index{}, a: []int{50, 90}, b: []int{30}, shape: []int{50, 90}},
	} {
		in := []tensor{random(r, dtype.Float32, c.a...)}
		switch {
		case c.op == ir.ScatterAdd:
			index := newTensor(dtype.Int32, c.b...)
			at := c.attr.(ir.Index).Axis
			for i := range index.v {
				index.v[i] = float64(r.IntN(c.a[at]+2) - 1)
			}
			in = append(in, index, random(r, dtype.Float32, append(append([]int(nil), c.b...), c.a[at+1:]...)...))
		case c.b != nil:
			in = append(in, random(r, dtype.Float32, c.b...))
		}
		plain := kernel.Library{Op: c.op, Attr: c.attr}
		if c.shared {
			plain.In = []kernel.Operand{
				{Slot: 0, DType: dtype.Float32, Shape: c.a, Stride: contiguous(c.a)},
				{Slot: 1, DType: dtype.Float32, Shape: c.b, Stride: append([]int{0}, contiguous(c.b)[1:]...)},
			}
		}
		if c.turned {
			plain.In = []kernel.Operand{
				{Slot: 0, DType: dtype.Float32, Shape: c.a, Stride: contiguous(c.a)},
				{Slot: 1, DType: dtype.Float32, Shape: c.b, Stride: []int{1, c.b[0]}},
			}
		}
		without := resultsOf(t, plain, in, newTensor(dtype.Float32, c.shape...))[0]
		other := random(r, dtype.Float32, c.shape...)
		outer := c.shape
		if c.outer != nil {
			outer = c.outer
		}
		for _, workers := range []int{1, 3} {
			wp := pool.New(workers)
			d := newDevice(wp)
			l := plain
			n := len(in)
			result := newTensor(dtype.Float32, c.shape...)
			// The third operand belongs to the epilogue alone.
			l.In = append([]kernel.Operand(nil), plain.In...)
			for i := len(l.In); i < n; i++ {
				l.In = append(l.In, kernel.Operand{Slot: i, DType: in[i].dtype, Shape: in[i].shape, Stride: contiguous(in[i].shape)})
			}
			p := &kernel.Program{Leaves: n + 1, Outputs: 2}
			all := append(append([]tensor(nil), in...), other)
			for i, x := range all {
				p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: 4 * len(x.v)})
			}
			for i := range 2 {
				p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Output, Index: i, Bytes: 4 * len(result.v)})
			}
			l.Name = c.op.String()
			l.Out = []kernel.Operand{{Slot: n + 1, DType: dtype.Float32, Shape: c.shape, Stride: contiguous(c.shape)}}
			l.Epilogue = addTensor(outer, n+1, n, n+2)
			l.Scratch = len(p.Slots)
			p.Arena = d.Workspace(&l)
			p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: p.Arena})
			p.Steps = []kernel.Step{&l}
			got := execute(t, d, p, all, []tensor{result, result})
			want := newTensor(dtype.Float32, c.shape...)
			for i := range want.v {
				want.v[i] = float64(float32(without.v[i] + other.v[i]))
			}
			what := fmt.Sprintf("%v %v×%v with %d workers", c.op, c.a, c.b, workers)
			compare(t, what, decode(dtype.Float32, c.shape, got[0]), without, 0)
			compare(t, what+", epilogue", decode(dtype.Float32, c.shape, got[1]), want, 0)
			wp.Close()
		}
	}
}
