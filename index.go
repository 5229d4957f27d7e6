package sinter

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
)

// indices checks that a tensor holds integers and gives the narrow ones to int64.
func indices(op string, index *Tensor) *ir.Node {
	x := index.node
	switch {
	case !x.DType.IsInt():
		ir.Fail(op, "the indices are %v%v; integers are wanted", x.DType, x.Shape)
	case x.DType != Int32:
		return ir.To(x, Int64)
	}
	return x
}

// toLast moves an axis behind all others, and fromLast back.
func toLast(x *ir.Node, axis int) *ir.Node {
	p := span(len(x.Shape))
	return ir.Permute(x, append(slices.Delete(p, axis, axis+1), axis))
}

func fromLast(x *ir.Node, axis int) *ir.Node {
	last := len(x.Shape) - 1
	return ir.Permute(x, slices.Insert(span(last), axis, last))
}

// lastAxis indexes along the last of rank axes, all others being batches.
func lastAxis(rank int) ir.Index { return ir.Index{Axis: rank - 1, Batch: rank - 1} }

// gatherAlong is torch.gather with checked operands.
func gatherAlong(x *ir.Node, axis int, index *ir.Node) *ir.Node {
	for i, d := range index.Shape {
		if i != axis {
			x = ir.SliceAxis(x, i, 0, d)
		}
	}
	y := ir.New(ir.Gather, lastAxis(len(x.Shape)), toLast(x, axis), toLast(index, axis))
	return fromLast(y, axis)
}

// alongside checks an index tensor of PyTorch's gather and scatter against a tensor
// that must be at least as long along all axes but the given one (−1: all).
func alongside(op, what string, index, x *ir.Node, axis int) {
	ok := len(index.Shape) == len(x.Shape)
	for i := range index.Shape {
		ok = ok && (i == axis || index.Shape[i] <= x.Shape[i])
	}
	if !ok {
		ir.Fail(op, "indices of shape %v do not fit %s of shape %v along axis %d", index.Shape, what, x.Shape, axis)
	}
}

// Gather takes elements along an axis, as torch.gather: the result has the shape of
// index and result[i][j][k] = t[i][index[i][j][k]][k] for axis 1 of three. Along the
// other axes index may be shorter than t. An index that is out of range reads zero.
func (t *Tensor) Gather(axis int, index *Tensor) *Tensor {
	a := axisOf("Gather", axis, len(t.node.Shape))
	at := indices("Gather", index)
	alongside("Gather", "a tensor", at, t.node, a)
	return wrap(gatherAlong(t.node, a, at))
}

// IndexSelect takes the slices of t along an axis that index [n] names; the axis has
// extent n in the result. An index that is out of range reads zeros.
func (t *Tensor) IndexSelect(axis int, index *Tensor) *Tensor {
	a := axisOf("IndexSelect", axis, len(t.node.Shape))
	at := indices("IndexSelect", index)
	if len(at.Shape) != 1 {
		ir.Fail("IndexSelect", "the indices have shape %v; one axis is wanted", at.Shape)
	}
	return wrap(ir.New(ir.Gather, ir.Index{Axis: a}, t.node, at))
}

// Scatter writes src into t along an axis, as torch.scatter: result[i][index[i][j][k]][k]
// = src[i][j][k] for axis 1 of three. Where indices repeat, the last one wins; one
// that is out of range writes nothing. index may be shorter than src, and than t
// along the other axes.
func (t *Tensor) Scatter(axis int, index, src *Tensor) *Tensor {
	return wrap(scatter("Scatter", ir.Scatter, t.node, axis, index, src.node))
}

// ScatterAdd adds src to t along an axis, as torch.scatter_add: result[i][index[i][j][k]][k]
// += src[i][j][k] for axis 1 of three. An index that is out of range adds nothing.
// index may be shorter than src, and than t along the other axes.
func (t *Tensor) ScatterAdd(axis int, index, src *Tensor) *Tensor {
	return wrap(scatter("ScatterAdd", ir.ScatterAdd, t.node, axis, index, src.node))
}

func scatter(name string, op ir.Op, x *ir.Node, axis int, index *Tensor, src *ir.Node) *ir.Node {
	a := axisOf(name, axis, len(x.Shape))
	at := indices(name, index)
	alongside(name, "a tensor", at, x, a)
	alongside(name, "a source", at, src, -1)
	if src.DType != x.DType {
		ir.Fail(name, "the source is %v%v, the tensor %v%v", src.DType, src.Shape, x.DType, x.Shape)
	}
	// Where the indices end before the tensor does, −1 writes nothing.
	lo, hi := make([]int, len(x.Shape)), make([]int, len(x.Shape))
	for i, d := range at.Shape {
		src = ir.SliceAxis(src, i, 0, d)
		if i != a {
			hi[i] = x.Shape[i] - d
		}
	}
	at, src = pad(at, lo, hi, -1), pad(src, lo, hi, 0)
	d := x.DType
	if op == ir.ScatterAdd { // adds like every sum
		x, src = ir.To(x, d.Compute()), ir.To(src, d.Compute())
	}
	y := ir.New(op, lastAxis(len(x.Shape)), toLast(x, a), toLast(at, a), toLast(src, a))
	return ir.To(fromLast(y, a), d)
}

// MaskedFill puts v where mask, a bool tensor that broadcasts to t's shape, is true.
func (t *Tensor) MaskedFill(mask *Tensor, v float64) *Tensor {
	m := mask.node
	if m.DType != Bool {
		ir.Fail("MaskedFill", "the mask is %v%v, not bool", m.DType, m.Shape)
	}
	return wrap(choose(ir.Broadcast(m, t.node.Shape), like(t.node, v), t.node))
}

// OneHot turns class numbers [...] into float32 vectors [..., classes] that are 1 at
// the class and 0 elsewhere; a number out of range gives zeros.
func (t *Tensor) OneHot(classes int) *Tensor {
	x := indices("OneHot", t)
	if classes < 0 {
		ir.Fail("OneHot", "%d classes", classes)
	}
	sh := append(slices.Clone(x.Shape), classes)
	return wrap(ir.To(hot(x, sh, len(sh)-1), Float32))
}

// hot tells which elements along an axis of the shape x names; x lacks the axis.
func hot(x *ir.Node, sh []int, axis int) *ir.Node {
	return ir.New(ir.Eq, nil, ir.NewIota(x.DType, sh, axis), ir.Unreduce(x, sh, []int{axis}))
}

// starts is a start vector as int64.
func starts(op string, start *Tensor) *ir.Node { return ir.To(indices(op, start), Int64) }

// DynamicSlice is the window of the given size that begins at start, a vector of
// integers with an element for each axis. The window is moved so that it lies inside
// of t.
func (t *Tensor) DynamicSlice(start *Tensor, size ...int) *Tensor {
	return wrap(ir.New(ir.DynamicSlice, ir.Extent{Size: slices.Clone(size)}, t.node, starts("DynamicSlice", start)))
}

// DynamicUpdateSlice is t with update in place of the window of that shape that
// begins at start, a vector of integers with an element for each axis. The window is
// moved so that it lies inside of t.
func (t *Tensor) DynamicUpdateSlice(update, start *Tensor) *Tensor {
	return wrap(ir.New(ir.DynamicUpdateSlice, nil, t.node, update.node, starts("DynamicUpdateSlice", start)))
}
