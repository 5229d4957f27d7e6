package ir

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// The constructors below are for the operations whose result is not given by
// operands and attributes alone, and for those that are often nothing to do: they
// return their operand where the operation would change nothing. All others are
// built with New.

// NewInput is a leaf that reads the storage at its current version.
func NewInput(d dtype.DType, sh []int, s *Storage) *Node {
	return &Node{Op: Input, DType: d, Shape: sh, Storage: s, Version: s.Version}
}

// NewParam is placeholder i of a Scan body.
func NewParam(i int, d dtype.DType, sh []int) *Node {
	return &Node{Op: Param, DType: d, Shape: sh, Attr: Number{i}}
}

// Float is a scalar literal of type d.
func Float(d dtype.DType, v float64) *Node {
	return &Node{Op: Const, DType: d, Attr: Literal{FloatBits(d, v)}}
}

// Int is a scalar literal of the integer type d.
func Int(d dtype.DType, v int64) *Node {
	if d.IsFloat() {
		return Float(d, float64(v))
	}
	return &Node{Op: Const, DType: d, Attr: Literal{IntBits(d, v)}}
}

// Full is a literal repeated over a shape.
func Full(d dtype.DType, v float64, sh []int) *Node { return Broadcast(Float(d, v), sh) }

// NewIota counts 0, 1, 2, … along one axis of the shape.
func NewIota(d dtype.DType, sh []int, axis int) *Node {
	return &Node{Op: Iota, DType: d, Shape: sh, Attr: Axis{axis}}
}

// NewRNGBits is a tensor of random int32 bit patterns that depend on the key, on
// step (an int64 scalar) and on the element's row-major number.
func NewRNGBits(key RNG, sh []int, step *Node) *Node {
	return &Node{Op: RNGBits, DType: dtype.Int32, Shape: sh, Attr: key, In: []*Node{step}, site: here()}
}

// To converts to another type.
func To(x *Node, d dtype.DType) *Node {
	if x.DType == d {
		return x
	}
	return &Node{Op: Convert, DType: d, Shape: x.Shape, In: []*Node{x}, site: x.site}
}

// Cast reinterprets the bits as another type of the same size.
func Cast(x *Node, d dtype.DType) *Node {
	n := &Node{Op: Bitcast, DType: d, In: []*Node{x}}
	if err := infer(n); err != nil {
		panic(&BuildError{Op: Bitcast.String(), Reason: err.Error(), Site: here()})
	}
	return n
}

// ReshapeTo views x in another shape of as many elements.
func ReshapeTo(x *Node, sh []int) *Node {
	if slices.Equal(x.Shape, sh) {
		return x
	}
	if x.Op == Reshape {
		x = x.In[0]
		if slices.Equal(x.Shape, sh) {
			return x
		}
	}
	return checked(&Node{Op: Reshape, Shape: sh, In: []*Node{x}})
}

// BroadcastTo repeats x: its axis i becomes axis axes[i] of the shape.
func BroadcastTo(x *Node, sh, axes []int) *Node {
	if slices.Equal(x.Shape, sh) && len(axes) == len(sh) {
		return x
	}
	return checked(&Node{Op: BroadcastInDim, Shape: sh, Attr: Axes{axes}, In: []*Node{x}})
}

// Broadcast repeats x to a shape by NumPy's rule: aligned at the last axis.
func Broadcast(x *Node, sh []int) *Node {
	if slices.Equal(x.Shape, sh) {
		return x
	}
	axes := make([]int, len(x.Shape))
	for i := range axes {
		axes[i] = len(sh) - len(x.Shape) + i
	}
	return BroadcastTo(x, sh, axes)
}

func checked(n *Node) *Node {
	if err := infer(n); err != nil {
		panic(&BuildError{Op: n.Op.String(), Reason: err.Error(), Site: here()})
	}
	return n
}

// Permute transposes; axis i of the result is axis perm[i] of x.
func Permute(x *Node, perm []int) *Node {
	a := Axes{perm}
	if a.IsIdentity() && len(perm) == len(x.Shape) {
		return x
	}
	return New(Transpose, a, x)
}

// Sum adds up the given (resolved, ascending) axes.
func Sum(x *Node, axes []int) *Node { return Fold(ReduceSum, x, axes) }

// Fold is a reduction over the given (resolved, ascending) axes.
func Fold(op Op, x *Node, axes []int) *Node {
	if len(axes) == 0 {
		return x
	}
	return New(op, Axes{axes}, x)
}

// KeepDims gives the axes that a reduction removed back with extent 1.
func KeepDims(x *Node, axes []int) *Node {
	sh := slices.Clone(x.Shape)
	for _, a := range axes {
		sh = slices.Insert(sh, a, 1)
	}
	return ReshapeTo(x, sh)
}

// Unreduce repeats a reduced value over the axes that were removed, to shape sh.
func Unreduce(x *Node, sh, axes []int) *Node {
	keep := make([]int, 0, len(sh))
	for i := range sh {
		if !slices.Contains(axes, i) {
			keep = append(keep, i)
		}
	}
	return BroadcastTo(x, sh, keep)
}

// MatMul is the product of [batch…, M, K] and [batch…, K, N].
func MatMul(a, b *Node) *Node {
	r := len(a.Shape)
	batch := make([]int, r-2)
	for i := range batch {
		batch[i] = i
	}
	return New(DotGeneral, Dot{LeftBatch: batch, RightBatch: batch, LeftContract: []int{r - 1}, RightContract: []int{r - 2}}, a, b)
}

// SliceOf is x[start:limit:step] by axis.
func SliceOf(x *Node, start, limit, step []int) *Node {
	whole := true
	for i, d := range x.Shape {
		whole = whole && start[i] == 0 && limit[i] == d && step[i] == 1
	}
	if whole {
		return x
	}
	return New(Slice, Range{start, limit, step}, x)
}

// SliceAxis is x[start:limit] along one axis.
func SliceAxis(x *Node, axis, start, limit int) *Node {
	s, l, st := make([]int, len(x.Shape)), slices.Clone(x.Shape), make([]int, len(x.Shape))
	for i := range st {
		st[i] = 1
	}
	s[axis], l[axis] = start, limit
	return SliceOf(x, s, l, st)
}

// NewComposite records an operation that is defined by its body: outs, nodes over
// in. It returns one node per output.
func NewComposite(name string, key []byte, in []*Node, outs ...*Node) []*Node {
	return NewRegion(&Region{Name: name, Key: key, Outs: outs}, in)
}

// NewRegion is NewComposite for a region that says more than its body.
func NewRegion(r *Region, in []*Node) []*Node { return NewRegionAt(r, in, here()) }

// NewRegionAt is NewRegion at another node's place.
func NewRegionAt(r *Region, in []*Node, site *Site) []*Node {
	c := []*Node{{Op: Composite, Attr: r, In: in, site: site}}
	res := make([]*Node, len(r.Outs))
	// Many results, those of an optimizer's update, are evaluated together and lie
	// together. Else each lies alone, so that one that is kept keeps nothing else.
	var together []Node
	if len(res) > 8 {
		together = make([]Node, len(res))
	}
	for i, o := range r.Outs {
		if together != nil {
			res[i] = &together[i]
		} else {
			res[i] = new(Node)
		}
		n := res[i]
		n.Op, n.DType, n.Shape, n.Attr, n.In, n.site = Result, o.DType, o.Shape, Number{i}, c, site
	}
	return res
}

// NewScan records a loop (see Loop) and returns its results.
func NewScan(l *Loop, in []*Node) []*Node {
	s := &Node{Op: Scan, Attr: l, In: in, site: here()}
	res := make([]*Node, l.Results())
	for i := range res {
		res[i] = New(Result, Number{i}, s)
	}
	return res
}

// WithSite makes n point at the user's line of another node; gradients do so.
func (n *Node) WithSite(of *Node) {
	if n.site == nil {
		n.site = of.site
	}
}

// Materialize turns a computed node into a leaf over its value.
func (n *Node) Materialize(s *Storage) {
	n.Op, n.In, n.Attr, n.Effects = Input, nil, nil, nil
	n.Storage, n.Version = s, s.Version
}

// Withdraw takes an assignment back that is tied to nodes as an effect: it will not be
// carried out with them.
func (n *Node) Withdraw() { n.Op, n.In = OpInvalid, nil }
