package sinter

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// axisOf resolves an axis that may count from the end.
func axisOf(op string, axis, rank int) int {
	return must[int](op)(shape.Axis(axis, rank))
}

// axesOf resolves a set of axes; none means all.
func axesOf(op string, axes []int, rank int) []int {
	return must[[]int](op)(shape.AxisSet(axes, rank))
}

// Reshape views the elements, in row-major order, in another shape; one extent may
// be −1 and follows from the others.
func (t *Tensor) Reshape(sh ...int) *Tensor {
	return wrap(ir.ReshapeTo(t.node, must[[]int]("Reshape")(shape.Reshape(t.node.Shape, sh))))
}

// Flatten joins the axes from start on: [a, b, c, d] from 1 gives [a, b·c·d].
func (t *Tensor) Flatten(start int) *Tensor {
	sh := t.node.Shape
	if len(sh) == 0 {
		return wrap(ir.ReshapeTo(t.node, []int{1}))
	}
	a := axisOf("Flatten", start, len(sh))
	return wrap(ir.ReshapeTo(t.node, append(slices.Clone(sh[:a]), shape.Elements(sh[a:]))))
}

// Permute reorders the axes: axis i of the result is axis axes[i] of t.
func (t *Tensor) Permute(axes ...int) *Tensor {
	r := len(t.node.Shape)
	p := make([]int, len(axes))
	for i, a := range axes {
		p[i] = axisOf("Permute", a, r)
	}
	ensure("Permute", shape.Permutation(p, r))
	return wrap(ir.Permute(t.node, p))
}

// Transpose exchanges two axes.
func (t *Tensor) Transpose(a, b int) *Tensor { return wrap(swapAxes("Transpose", t.node, a, b)) }

// T exchanges the last two axes: [..., m, n] gives [..., n, m].
func (t *Tensor) T() *Tensor {
	if len(t.node.Shape) < 2 {
		ir.Fail("T", "a tensor of shape %v has no two axes to exchange", t.node.Shape)
	}
	return wrap(swapAxes("T", t.node, -1, -2))
}

func swapAxes(op string, x *ir.Node, a, b int) *ir.Node {
	p := span(len(x.Shape))
	a, b = axisOf(op, a, len(p)), axisOf(op, b, len(p))
	p[a], p[b] = p[b], p[a]
	return ir.Permute(x, p)
}

// span is 0, 1, …, n−1.
func span(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// BroadcastTo repeats t to a shape: axes are aligned at the last one, and an extent
// of 1 or a missing axis is repeated.
func (t *Tensor) BroadcastTo(sh ...int) *Tensor {
	ensure("BroadcastTo", shape.Check(sh))
	return wrap(ir.Broadcast(t.node, slices.Clone(sh)))
}

// Slice is t[start:stop] along an axis. As in Python, negative bounds count from
// the end and bounds beyond it are cut off.
func (t *Tensor) Slice(axis, start, stop int) *Tensor { return t.SliceStep(axis, start, stop, 1) }

// SliceStep is t[start:stop:step] along an axis, with the bounds of Slice and a
// positive step.
func (t *Tensor) SliceStep(axis, start, stop, step int) *Tensor {
	sh := t.node.Shape
	a := axisOf("Slice", axis, len(sh))
	if step < 1 {
		ir.Fail("Slice", "step %d along axis %d of shape %v is not positive; Flip reverses an axis", step, axis, sh)
	}
	bound := func(i int) int {
		if i < 0 {
			i += sh[a]
		}
		return min(max(i, 0), sh[a])
	}
	from, to, by := make([]int, len(sh)), slices.Clone(sh), slices.Repeat([]int{1}, len(sh))
	from[a] = bound(start)
	to[a] = max(from[a], bound(stop))
	by[a] = step
	return wrap(ir.SliceOf(t.node, from, to, by))
}

// Index is element i along an axis, which vanishes; −1 is the last one.
func (t *Tensor) Index(axis, i int) *Tensor {
	sh := t.node.Shape
	a := axisOf("Index", axis, len(sh))
	at := i
	if at < 0 {
		at += sh[a]
	}
	if at < 0 || at >= sh[a] {
		ir.Fail("Index", "%d is out of range for axis %d of shape %v", i, axis, sh)
	}
	return wrap(ir.ReshapeTo(ir.SliceAxis(t.node, a, at, at+1), shape.Without(sh, []int{a})))
}

// Squeeze removes the given axes, which must have extent 1; none means all axes of
// that extent.
func (t *Tensor) Squeeze(axes ...int) *Tensor {
	sh := t.node.Shape
	var gone []int
	if len(axes) > 0 {
		gone = axesOf("Squeeze", axes, len(sh))
	}
	for i, d := range sh {
		switch {
		case len(axes) == 0 && d == 1:
			gone = append(gone, i)
		case len(axes) > 0 && d != 1 && slices.Contains(gone, i):
			ir.Fail("Squeeze", "axis %d of shape %v has extent %d, not 1", i, sh, d)
		}
	}
	return wrap(ir.ReshapeTo(t.node, shape.Without(sh, gone)))
}

// Unsqueeze inserts an axis of extent 1 so that it becomes the given axis of the
// result.
func (t *Tensor) Unsqueeze(axis int) *Tensor {
	a := axisOf("Unsqueeze", axis, len(t.node.Shape)+1)
	return wrap(ir.KeepDims(t.node, []int{a}))
}

// Flip reverses the order along the given axes; none means all.
func (t *Tensor) Flip(axes ...int) *Tensor {
	if len(t.node.Shape) == 0 {
		return t
	}
	return wrap(ir.New(ir.Reverse, ir.Axes{Axes: axesOf("Flip", axes, len(t.node.Shape))}, t.node))
}

// Pad puts lo[i] elements of the given value before and hi[i] behind those of
// axis i.
func (t *Tensor) Pad(lo, hi []int, value float64) *Tensor {
	sh := t.node.Shape
	if len(lo) != len(sh) || len(hi) != len(sh) {
		ir.Fail("Pad", "padding %v and %v does not name each axis of shape %v", lo, hi, sh)
	}
	return wrap(pad(t.node, slices.Clone(lo), slices.Clone(hi), value))
}

func pad(x *ir.Node, lo, hi []int, value float64) *ir.Node {
	if !slices.ContainsFunc(append(slices.Clone(lo), hi...), func(n int) bool { return n != 0 }) {
		return x
	}
	return ir.New(ir.Pad, ir.Padding{Low: lo, High: hi, Interior: make([]int, len(lo)), Value: ir.FloatBits(x.DType, value)}, x)
}

// Repeat is n copies of t, one behind the other along an axis.
func (t *Tensor) Repeat(axis, n int) *Tensor {
	sh := t.node.Shape
	a := axisOf("Repeat", axis, len(sh))
	if n < 0 {
		ir.Fail("Repeat", "%d copies of shape %v are not possible", n, sh)
	}
	result := slices.Clone(sh)
	result[a] *= n
	return wrap(ir.ReshapeTo(ir.Unreduce(t.node, slices.Insert(slices.Clone(sh), a, n), []int{a}), result))
}

// Cat joins tensors along an axis; all other extents must be equal. Types are
// promoted.
func Cat(axis int, ts ...*Tensor) *Tensor { return wrap(concatenate("Cat", axis, nodes(ts))) }

// Stack joins tensors of one shape along a new axis.
func Stack(axis int, ts ...*Tensor) *Tensor {
	in := nodes(ts)
	for i, x := range in {
		if first := ts[0].node.Shape; !slices.Equal(x.Shape, first) {
			ir.Fail("Stack", "shapes %v and %v differ", first, x.Shape)
		}
		in[i] = ir.KeepDims(x, []int{axisOf("Stack", axis, len(x.Shape)+1)})
	}
	return wrap(concatenate("Stack", axis, in))
}

func concatenate(op string, axis int, in []*ir.Node) *ir.Node {
	if len(in) == 0 {
		ir.Fail(op, "wants at least one tensor")
	}
	a := axisOf(op, axis, len(in[0].Shape))
	in = promoted(in)
	if len(in) == 1 {
		return in[0]
	}
	return ir.New(ir.Concatenate, ir.Axis{Axis: a}, in...)
}

// promoted brings nodes to one type.
func promoted(in []*ir.Node) []*ir.Node {
	d := in[0].DType
	for _, x := range in {
		d = dtype.Promote(d, x.DType)
	}
	out := make([]*ir.Node, len(in))
	for i, x := range in {
		out[i] = ir.To(x, d)
	}
	return out
}

func nodes(ts []*Tensor) []*ir.Node {
	ns := make([]*ir.Node, len(ts))
	for i, t := range ts {
		ns[i] = t.node
	}
	return ns
}

func wrapAll(ns []*ir.Node) []*Tensor {
	ts := make([]*Tensor, len(ns))
	for i, n := range ns {
		ts[i] = wrap(n)
	}
	return ts
}

// Split cuts t along an axis into pieces of the given extents.
func (t *Tensor) Split(axis int, sizes ...int) []*Tensor {
	return wrapAll(split("Split", t.node, axis, sizes))
}

// Chunk cuts t along an axis into n pieces of equal extent, rounded up: the last
// one may be smaller, and there may be fewer than n.
func (t *Tensor) Chunk(n, axis int) []*Tensor {
	d := t.node.Shape[axisOf("Chunk", axis, len(t.node.Shape))]
	if n < 1 {
		ir.Fail("Chunk", "%d pieces of shape %v are not possible", n, t.node.Shape)
	}
	size := max((d+n-1)/n, 1)
	var sizes []int
	for at := 0; at < d || at == 0; at += size {
		sizes = append(sizes, min(size, d-at))
	}
	return wrapAll(split("Chunk", t.node, axis, sizes))
}

func split(op string, x *ir.Node, axis int, sizes []int) []*ir.Node {
	a := axisOf(op, axis, len(x.Shape))
	pieces := make([]*ir.Node, len(sizes))
	at := 0
	for i, s := range sizes {
		if s < 0 || at+s > x.Shape[a] {
			ir.Fail(op, "sizes %v do not add up to axis %d of shape %v", sizes, axis, x.Shape)
		}
		pieces[i] = ir.SliceAxis(x, a, at, at+s)
		at += s
	}
	if at != x.Shape[a] {
		ir.Fail(op, "sizes %v do not add up to axis %d of shape %v", sizes, axis, x.Shape)
	}
	return pieces
}

// Tril keeps the elements of the last two axes on and below diagonal k, column −
// row ≤ k, and makes the others zero.
func (t *Tensor) Tril(k int) *Tensor { return wrap(triangle("Tril", t.node, k, true)) }

// Triu keeps the elements of the last two axes on and above diagonal k, column −
// row ≥ k, and makes the others zero.
func (t *Tensor) Triu(k int) *Tensor { return wrap(triangle("Triu", t.node, k, false)) }

func triangle(op string, x *ir.Node, k int, lower bool) *ir.Node {
	r := len(x.Shape)
	if r < 2 {
		ir.Fail(op, "wants at least two axes, got shape %v", x.Shape)
	}
	if lower {
		return choose(below(x.Shape, k), x, like(x, 0))
	}
	return choose(below(x.Shape, k-1), like(x, 0), x)
}

// below tells which elements of the last two axes are on or below diagonal k.
func below(sh []int, k int) *ir.Node {
	row, col := ir.NewIota(Int32, sh, len(sh)-2), ir.NewIota(Int32, sh, len(sh)-1)
	return ir.New(ir.Le, nil, col, add(row, like(row, float64(k))))
}
