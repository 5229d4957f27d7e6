package fuse

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// space is the index space of a kernel: its axes in the row-major order of the
// values that are computed at every point.
type space struct {
	extent  []int
	reduced []bool // the axes that the group's reductions run over
}

// access is an affine function of a point of a space: the row-major number of an
// element of some tensor is off + Σ coef[k]·point[k].
type access struct {
	off  int
	coef []int // one per axis of the space
}

// needSplit and notAffine are the ways in which an access cannot be carried
// through a view; both leave by panic, for they arise deep in the recursion over a
// kernel's code, and are caught where the kernel was begun.
type needSplit struct {
	axis, inner int // axis is to become two, the inner one of that extent
}

type notAffine struct {
	node *ir.Node // whose value has to be in memory for the kernel to read it
}

// newSpace is a space with an axis for each extent.
func newSpace(extent []int) *space {
	return &space{extent: slices.Clone(extent), reduced: make([]bool, len(extent))}
}

// split makes two axes out of one.
func (s *space) split(n needSplit) {
	s.extent[n.axis] /= n.inner
	s.extent = slices.Insert(s.extent, n.axis+1, n.inner)
	s.reduced = slices.Insert(s.reduced, n.axis+1, s.reduced[n.axis])
}

// full is the row-major number of the point itself.
func (s *space) full() access { return access{coef: shape.Strides(s.extent)} }

// outer is the row-major number of the point among the axes that are not reduced.
func (s *space) outer() access {
	a := access{coef: make([]int, len(s.extent))}
	n := 1
	for k := len(s.extent) - 1; k >= 0; k-- {
		if !s.reduced[k] {
			a.coef[k] = n
			n *= s.extent[k]
		}
	}
	return a
}

// form is an access as a function of the row-major number of the point, in a way
// that equal functions have equal forms: pairs of extent and coefficient, outermost
// first, neighbours merged where they act as one axis. The last entry is the offset.
func (s *space) form(a access) []int {
	var f []int
	for k, e := range s.extent {
		if e == 1 {
			continue
		}
		if n := len(f); n > 0 && f[n-1] == e*a.coef[k] {
			f[n-2], f[n-1] = f[n-2]*e, a.coef[k]
			continue
		}
		f = append(f, e, a.coef[k])
	}
	return append(f, a.off)
}

// identity is the form of the access that reads n elements in their order.
func identity(n int) []int {
	if n == 1 {
		return []int{0}
	}
	return []int{n, 1, 0}
}

// layout is a view as strides: element x of the view is element off + Σ stride·x
// of the operand.
type layout struct {
	extent, stride []int
	off            int
}

// layoutOf describes a view, merged so that an access has to be cut into
// coordinates as little as possible.
func layoutOf(v *ir.Node) layout {
	x := v.In[0]
	st := shape.Strides(x.Shape)
	off, stride := 0, make([]int, len(v.Shape))
	switch v.Op {
	case ir.Transpose:
		for i, p := range v.Attr.(ir.Axes).Axes {
			stride[i] = st[p]
		}
	case ir.BroadcastInDim:
		for i, p := range v.Attr.(ir.Axes).Axes {
			if x.Shape[i] == v.Shape[p] {
				stride[p] = st[i]
			}
		}
	case ir.Slice:
		a := v.Attr.(ir.Range)
		for i := range stride {
			stride[i] = st[i] * a.Step[i]
			off += st[i] * a.Start[i]
		}
	case ir.Reverse:
		copy(stride, st)
		for _, i := range v.Attr.(ir.Axes).Axes {
			stride[i] = -st[i]
			off += st[i] * (x.Shape[i] - 1)
		}
	}
	return merged(v.Shape, stride, off)
}

// merged is a layout without axes of extent 1 and with neighbours that act as one
// axis made one.
func merged(extent, stride []int, off int) layout {
	l := layout{off: off}
	for i, e := range extent {
		if e == 1 {
			continue
		}
		if n := len(l.extent); n > 0 && l.stride[n-1] == e*stride[i] {
			l.extent[n-1] *= e
			l.stride[n-1] = stride[i]
			continue
		}
		l.extent = append(l.extent, e)
		l.stride = append(l.stride, stride[i])
	}
	return l
}

// through carries an access to the elements of a view over to its operand.
func (s *space) through(v *ir.Node, a access) access {
	if v.Op == ir.Reshape {
		return a // the row-major number stays
	}
	return s.compose(v, a, layoutOf(v))
}

// compose follows an access to the elements of n, numbered row-major, by the
// layout that says where these lie.
func (s *space) compose(n *ir.Node, a access, l layout) access {
	digits, coefs := s.coordinates(n, a, l.extent)
	r := access{off: l.off, coef: make([]int, len(s.extent))}
	for t := range l.extent {
		r.off += l.stride[t] * digits[t]
		for k, c := range coefs[t] {
			r.coef[k] += l.stride[t] * c
		}
	}
	return r
}

// coordinates cuts an access into coordinates over the extents, each an affine
// function of the point. That is possible if no sum of terms carries over from one
// coordinate to the next; where one axis of the space runs through several
// coordinates, it has to be split.
func (s *space) coordinates(n *ir.Node, a access, extent []int) (digits []int, coefs [][]int) {
	radix := shape.Strides(extent)
	digits = make([]int, len(extent))
	coefs = make([][]int, len(extent))
	low, high := make([]int, len(extent)), make([]int, len(extent))
	rest := a.off
	for t := range extent {
		coefs[t] = make([]int, len(s.extent))
		if radix[t] > 0 {
			digits[t] = rest / radix[t]
			rest %= radix[t]
		}
		low[t], high[t] = digits[t], digits[t]
	}
	for k, c := range a.coef {
		e := s.extent[k]
		if c == 0 || e <= 1 {
			continue
		}
		t := slices.IndexFunc(radix, func(r int) bool { return r <= max(c, -c) })
		if t < 0 || radix[t] == 0 || c%radix[t] != 0 {
			panic(notAffine{n})
		}
		m := c / radix[t]
		if step := max(m, -m); step*(e-1) >= extent[t] {
			if inner := extent[t] / step; extent[t]%step == 0 && inner > 1 && e%inner == 0 {
				panic(needSplit{k, inner})
			}
			panic(notAffine{n})
		}
		coefs[t][k] = m
		low[t] += min(0, m*(e-1))
		high[t] += max(0, m*(e-1))
	}
	for t := range extent {
		if low[t] < 0 || high[t] >= extent[t] {
			panic(notAffine{n})
		}
	}
	return digits, coefs
}

// attempt runs f and reports how it left.
func attempt(f func()) (split *needSplit, bad *ir.Node) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case needSplit:
			split = &r
		case notAffine:
			bad = r.node
		default:
			panic(r)
		}
	}()
	f()
	return nil, nil
}
