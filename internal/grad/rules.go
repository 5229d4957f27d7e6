package grad

import (
	"math"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// rule returns the cotangents of n's operands given g, that of n; nil stands for
// zero. want tells which are needed, so that the costly ones can be left out.
type rule func(n, g *ir.Node, want []bool) []*ir.Node

// rules has no entry for operations whose derivative is zero wherever it exists
// (rounding, comparisons, indices) or undefined (bits, integers).
var rules map[ir.Op]rule

func init() {
	rules = map[ir.Op]rule{
		ir.Neg:      one(func(n, g *ir.Node) *ir.Node { return neg(g) }),
		ir.Abs:      one(func(n, g *ir.Node) *ir.Node { return mul(g, ir.New(ir.Sign, nil, n.In[0])) }),
		ir.Exp:      one(func(n, g *ir.Node) *ir.Node { return mul(g, n) }),
		ir.Expm1:    one(func(n, g *ir.Node) *ir.Node { return mul(g, plus(n, 1)) }),
		ir.Log:      one(func(n, g *ir.Node) *ir.Node { return div(g, n.In[0]) }),
		ir.Log1p:    one(func(n, g *ir.Node) *ir.Node { return div(g, plus(n.In[0], 1)) }),
		ir.Sqrt:     one(func(n, g *ir.Node) *ir.Node { return div(times(g, 0.5), n) }),
		ir.Rsqrt:    one(func(n, g *ir.Node) *ir.Node { return mul(times(g, -0.5), mul(n, mul(n, n))) }),
		ir.Sin:      one(func(n, g *ir.Node) *ir.Node { return mul(g, ir.New(ir.Cos, nil, n.In[0])) }),
		ir.Cos:      one(func(n, g *ir.Node) *ir.Node { return neg(mul(g, ir.New(ir.Sin, nil, n.In[0]))) }),
		ir.Tanh:     one(func(n, g *ir.Node) *ir.Node { return mul(g, sub(like(n, 1), mul(n, n))) }),
		ir.Logistic: one(func(n, g *ir.Node) *ir.Node { return mul(g, mul(n, sub(like(n, 1), n))) }),
		ir.Erf: one(func(n, g *ir.Node) *ir.Node {
			x := n.In[0]
			return mul(g, times(ir.New(ir.Exp, nil, neg(mul(x, x))), 2/math.Sqrt(math.Pi)))
		}),
		ir.Convert: one(func(n, g *ir.Node) *ir.Node {
			if !n.In[0].DType.IsFloat() {
				return nil
			}
			return ir.To(g, n.In[0].DType)
		}),

		ir.Add: func(n, g *ir.Node, _ []bool) []*ir.Node { return []*ir.Node{g, g} },
		ir.Sub: func(n, g *ir.Node, want []bool) []*ir.Node {
			return []*ir.Node{g, when(want[1], func() *ir.Node { return neg(g) })}
		},
		ir.Mul: func(n, g *ir.Node, want []bool) []*ir.Node {
			return []*ir.Node{
				when(want[0], func() *ir.Node { return mul(g, n.In[1]) }),
				when(want[1], func() *ir.Node { return mul(g, n.In[0]) }),
			}
		},
		ir.Div: func(n, g *ir.Node, want []bool) []*ir.Node {
			q := div(g, n.In[1])
			return []*ir.Node{q, when(want[1], func() *ir.Node { return neg(mul(q, n)) })}
		},
		ir.Rem: func(n, g *ir.Node, want []bool) []*ir.Node {
			// a − b·trunc(a/b), whose quotient is (a − n)/b exactly.
			return []*ir.Node{g, when(want[1], func() *ir.Node { return mul(g, div(sub(n, n.In[0]), n.In[1])) })}
		},
		ir.Pow: powRule,
		ir.Max: extremum(ir.Lt, ir.Eq),
		ir.Min: extremum(ir.Lt, ir.Eq),
		ir.Select: func(n, g *ir.Node, want []bool) []*ir.Node {
			z := like(g, 0)
			return []*ir.Node{nil,
				when(want[1], func() *ir.Node { return ir.New(ir.Select, nil, n.In[0], g, z) }),
				when(want[2], func() *ir.Node { return ir.New(ir.Select, nil, n.In[0], z, g) }),
			}
		},

		ir.Reshape: one(func(n, g *ir.Node) *ir.Node { return ir.ReshapeTo(g, n.In[0].Shape) }),
		ir.Transpose: one(func(n, g *ir.Node) *ir.Node {
			p := n.Attr.(ir.Axes).Axes
			inv := make([]int, len(p))
			for i, a := range p {
				inv[a] = i
			}
			return ir.Permute(g, inv)
		}),
		ir.BroadcastInDim: one(func(n, g *ir.Node) *ir.Node {
			x, axes := n.In[0], n.Attr.(ir.Axes).Axes
			var sum []int
			for i, d := range n.Shape {
				if j := slices.Index(axes, i); j < 0 || x.Shape[j] != d {
					sum = append(sum, i)
				}
			}
			return ir.ReshapeTo(ir.Sum(g, sum), x.Shape)
		}),
		ir.Slice: one(func(n, g *ir.Node) *ir.Node {
			r, x := n.Attr.(ir.Range), n.In[0].Shape
			low, high, inner := slices.Clone(r.Start), make([]int, len(x)), make([]int, len(x))
			for i, d := range n.Shape {
				inner[i] = r.Step[i] - 1
				high[i] = x[i] - low[i] - (d + max(d-1, 0)*inner[i])
			}
			return ir.New(ir.Pad, ir.Padding{Low: low, High: high, Interior: inner}, g)
		}),
		ir.Pad: one(func(n, g *ir.Node) *ir.Node {
			p, x := n.Attr.(ir.Padding), n.In[0].Shape
			limit, step := make([]int, len(x)), make([]int, len(x))
			for i, d := range x {
				step[i] = p.Interior[i] + 1
				limit[i] = p.Low[i] + d + max(d-1, 0)*p.Interior[i]
			}
			return ir.SliceOf(g, p.Low, limit, step)
		}),
		ir.Reverse: one(func(n, g *ir.Node) *ir.Node { return ir.New(ir.Reverse, n.Attr, g) }),
		ir.Concatenate: func(n, g *ir.Node, want []bool) []*ir.Node {
			a, at := n.Attr.(ir.Axis).Axis, 0
			out := make([]*ir.Node, len(n.In))
			for i, x := range n.In {
				if want[i] {
					out[i] = ir.SliceAxis(g, a, at, at+x.Shape[a])
				}
				at += x.Shape[a]
			}
			return out
		},

		ir.ReduceSum: one(func(n, g *ir.Node) *ir.Node {
			return ir.Unreduce(g, n.In[0].Shape, n.Attr.(ir.Axes).Axes)
		}),
		ir.ReduceMax: one(extremumOverAxes),
		ir.ReduceMin: one(extremumOverAxes),
		ir.CumSum: one(func(n, g *ir.Node) *ir.Node {
			a := n.Attr.(ir.Cumulate)
			a.Reverse = !a.Reverse
			return ir.New(ir.CumSum, a, g)
		}),

		ir.ReduceWindowSum: one(windowSum),
		ir.ReduceWindowMax: one(func(n, g *ir.Node) *ir.Node {
			x := n.In[0]
			plane := func(s []int) []int { return []int{s[0], s[1], shape.Elements(s[2:])} }
			where := ir.ReshapeTo(ir.New(ir.ReduceWindowArgMax, n.Attr, x), plane(n.Shape))
			z := ir.Full(g.DType, 0, plane(x.Shape))
			return ir.ReshapeTo(ir.New(ir.ScatterAdd, ir.Index{Axis: 2, Batch: 2}, z, where, ir.ReshapeTo(g, plane(n.Shape))), x.Shape)
		}),

		ir.Gather: func(n, g *ir.Node, _ []bool) []*ir.Node {
			return []*ir.Node{ir.New(ir.ScatterAdd, n.Attr, like(n.In[0], 0), n.In[1], g), nil}
		},
		ir.ScatterAdd: func(n, g *ir.Node, want []bool) []*ir.Node {
			return []*ir.Node{g, nil, when(want[2], func() *ir.Node { return ir.New(ir.Gather, n.Attr, g, n.In[1]) })}
		},
		ir.Scatter: scatterRule,
		ir.DynamicSlice: func(n, g *ir.Node, _ []bool) []*ir.Node {
			return []*ir.Node{ir.New(ir.DynamicUpdateSlice, nil, like(n.In[0], 0), g, n.In[1]), nil}
		},
		ir.DynamicUpdateSlice: func(n, g *ir.Node, want []bool) []*ir.Node {
			u, start := n.In[1], n.In[2]
			return []*ir.Node{
				when(want[0], func() *ir.Node { return ir.New(ir.DynamicUpdateSlice, nil, g, like(u, 0), start) }),
				when(want[1], func() *ir.Node { return ir.New(ir.DynamicSlice, ir.Extent{Size: u.Shape}, g, start) }),
				nil,
			}
		},

		ir.DotGeneral: dotRule,
		ir.Conv:       convRule,
		ir.Barrier:    one(func(n, g *ir.Node) *ir.Node { return g }),
	}
}

func one(f func(n, g *ir.Node) *ir.Node) rule {
	return func(n, g *ir.Node, _ []bool) []*ir.Node { return []*ir.Node{f(n, g)} }
}

func when(want bool, f func() *ir.Node) *ir.Node {
	if want {
		return f()
	}
	return nil
}

func like(x *ir.Node, v float64) *ir.Node      { return ir.Full(x.DType, v, x.Shape) }
func neg(a *ir.Node) *ir.Node                  { return ir.New(ir.Neg, nil, a) }
func sub(a, b *ir.Node) *ir.Node               { return ir.New(ir.Sub, nil, a, b) }
func mul(a, b *ir.Node) *ir.Node               { return ir.New(ir.Mul, nil, a, b) }
func div(a, b *ir.Node) *ir.Node               { return ir.New(ir.Div, nil, a, b) }
func plus(a *ir.Node, v float64) *ir.Node      { return ir.New(ir.Add, nil, a, like(a, v)) }
func times(a *ir.Node, v float64) *ir.Node     { return ir.New(ir.Mul, nil, a, like(a, v)) }
func zeroIf(c, a *ir.Node) *ir.Node            { return ir.New(ir.Select, nil, c, like(a, 0), a) }
func compare(op ir.Op, a, b *ir.Node) *ir.Node { return ir.New(op, nil, a, b) }

// powRule guards both logs and powers at zero: d(a^b)/da is 0 where b is 0, and
// d(a^b)/db is 0 where a is 0, as PyTorch has it.
func powRule(n, g *ir.Node, want []bool) []*ir.Node {
	a, b := n.In[0], n.In[1]
	return []*ir.Node{
		when(want[0], func() *ir.Node {
			d := mul(g, mul(b, ir.New(ir.Pow, nil, a, plus(b, -1))))
			return zeroIf(compare(ir.Eq, b, like(b, 0)), d)
		}),
		when(want[1], func() *ir.Node {
			// The inner select keeps log(0) out of products with zero.
			zero := compare(ir.Eq, a, like(a, 0))
			l := ir.New(ir.Log, nil, ir.New(ir.Select, nil, zero, like(a, 1), a))
			return zeroIf(zero, mul(g, mul(n, l)))
		}),
	}
}

// extremum splits the cotangent in halves where both operands are equal.
func extremum(less, equal ir.Op) rule {
	return func(n, g *ir.Node, want []bool) []*ir.Node {
		share := func(x, other *ir.Node) *ir.Node {
			won := compare(equal, x, n)
			both := compare(equal, x, other)
			half := ir.New(ir.Select, nil, both, times(g, 0.5), g)
			return ir.New(ir.Select, nil, won, half, like(g, 0))
		}
		return []*ir.Node{
			when(want[0], func() *ir.Node { return share(n.In[0], n.In[1]) }),
			when(want[1], func() *ir.Node { return share(n.In[1], n.In[0]) }),
		}
	}
}

// extremumOverAxes divides the cotangent among all elements that attain it.
func extremumOverAxes(n, g *ir.Node) *ir.Node {
	x, axes := n.In[0], n.Attr.(ir.Axes).Axes
	mask := ir.To(compare(ir.Eq, x, ir.Unreduce(n, x.Shape, axes)), x.DType)
	count := ir.Sum(mask, axes)
	return mul(mask, ir.Unreduce(div(g, count), x.Shape, axes))
}

// windowSum spreads each result's cotangent over its window: a window sum with
// stride 1 over the cotangents set apart by the stride.
func windowSum(n, g *ir.Node) *ir.Node {
	w, x := n.Attr.(ir.Window), n.In[0].Shape
	k := len(w.Size)
	low, high, inner := make([]int, k+2), make([]int, k+2), make([]int, k+2)
	ones, zeros := make([]int, k), make([]int, k)
	for i := range k {
		span := w.Dilation[i] * (w.Size[i] - 1)
		length := (g.Shape[i+2]-1)*w.Stride[i] + 1
		inner[i+2] = w.Stride[i] - 1
		low[i+2] = span - w.Low[i]
		high[i+2] = x[i+2] + w.Low[i] - length
		ones[i] = 1
	}
	// Elements past the last window get no cotangent; a padding wider than the
	// window is refused when the operation is built, so low and high are ≥ 0.
	p := ir.New(ir.Pad, ir.Padding{Low: low, High: high, Interior: inner}, g)
	return ir.New(ir.ReduceWindowSum, ir.Window{Size: w.Size, Stride: ones, Low: zeros, High: zeros, Dilation: w.Dilation}, p)
}

// scatterRule: with repeated indices only the update that won has a gradient.
func scatterRule(n, g *ir.Node, want []bool) []*ir.Node {
	data, idx, u := n.In[0], n.In[1], n.In[2]
	return []*ir.Node{
		when(want[0], func() *ir.Node { return ir.New(ir.Scatter, n.Attr, g, idx, like(u, 0)) }),
		nil,
		when(want[2], func() *ir.Node {
			flat := []int{u.Elements()}
			number := ir.ReshapeTo(plus(ir.NewIota(dtype.Int64, flat, 0), 1), u.Shape)
			last := ir.New(ir.Scatter, n.Attr, ir.Full(dtype.Int64, 0, data.Shape), idx, number)
			lost := compare(ir.Ne, ir.New(ir.Gather, n.Attr, last, idx), number)
			return zeroIf(lost, ir.New(ir.Gather, n.Attr, g, idx))
		}),
	}
}

// dotRule contracts the cotangent with the other operand over that one's free
// axes and puts the axes back in order. It does so in the type of the cotangent,
// which may be wider than that of the operands.
func dotRule(n, g *ir.Node, want []bool) []*ir.Node {
	d := n.Attr.(ir.Dot)
	l, r := n.In[0], n.In[1]
	nb := len(d.LeftBatch)
	lf, rf := d.Free(len(l.Shape), true), d.Free(len(r.Shape), false)
	batch := span(0, nb)
	// back puts [batch, free, contracted-in-the-other's-order] into an operand's order.
	back := func(c *ir.Node, batchAxes, free, contract, otherContract []int) *ir.Node {
		// The other operand's contracted axes appear in ascending order.
		sorted := slices.Clone(otherContract)
		slices.Sort(sorted)
		perm := make([]int, len(c.Shape))
		for i, a := range batchAxes {
			perm[a] = i
		}
		for i, a := range free {
			perm[a] = nb + i
		}
		for i, a := range contract {
			perm[a] = nb + len(free) + slices.Index(sorted, otherContract[i])
		}
		return ir.Permute(c, perm)
	}
	return []*ir.Node{
		when(want[0], func() *ir.Node {
			c := ir.New(ir.DotGeneral, ir.Dot{
				LeftBatch: batch, RightBatch: d.RightBatch,
				LeftContract: span(nb+len(lf), len(rf)), RightContract: rf,
			}, g, ir.To(r, g.DType))
			return ir.To(back(c, d.LeftBatch, lf, d.LeftContract, d.RightContract), l.DType)
		}),
		when(want[1], func() *ir.Node {
			// gᵀ·l: free axes of g are those of r, then the contracted axes of l.
			c := ir.New(ir.DotGeneral, ir.Dot{
				LeftBatch: batch, RightBatch: d.LeftBatch,
				LeftContract: span(nb, len(lf)), RightContract: lf,
			}, g, ir.To(l, g.DType))
			return ir.To(back(c, d.RightBatch, rf, d.RightContract, d.LeftContract), r.DType)
		}),
	}
}

func span(from, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = from + i
	}
	return s
}

// convRule: y = F(x,w), x̄ = I(y,w) and w̄ = W(x,y) are the three partial
// derivatives of one trilinear form, so each one's rule consists of the other two.
func convRule(n, g *ir.Node, want []bool) []*ir.Node {
	a := n.Attr.(ir.ConvAttr)
	p, q := n.In[0], n.In[1]
	dir := func(d ir.Direction, size []int, l, r *ir.Node) *ir.Node {
		b := a
		b.Dir, b.Size, b.Result = d, size, dtype.Invalid
		return ir.To(ir.New(ir.Conv, b, ir.To(l, g.DType), ir.To(r, g.DType)), p.DType)
	}
	var left, right func() *ir.Node
	switch a.Dir {
	case ir.Forward: // p = x, q = w, g like y
		left = func() *ir.Node { return dir(ir.InputGrad, p.Shape[2:], g, q) }
		right = func() *ir.Node { return dir(ir.WeightGrad, q.Shape[2:], p, g) }
	case ir.InputGrad: // p = y, q = w, g like x
		left = func() *ir.Node { return dir(ir.Forward, nil, g, q) }
		right = func() *ir.Node { return dir(ir.WeightGrad, q.Shape[2:], g, p) }
	case ir.WeightGrad: // p = x, q = y, g like w
		left = func() *ir.Node { return dir(ir.InputGrad, p.Shape[2:], q, g) }
		right = func() *ir.Node { return dir(ir.Forward, nil, p, g) }
	}
	return []*ir.Node{when(want[0], left), when(want[1], right)}
}
