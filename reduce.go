package sinter

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
)

// reduce applies f over the resolved axes; keep leaves them with extent 1.
func (t *Tensor) reduce(op string, keep bool, axes []int, f func(x *ir.Node, axes []int) *ir.Node) *Tensor {
	ax := axesOf(op, axes, len(t.node.Shape))
	y := f(t.node, ax)
	if keep {
		y = ir.KeepDims(y, ax)
	}
	return wrap(y)
}

// count is the number of elements of each reduction.
func count(x *ir.Node, axes []int) float64 {
	n := 1
	for _, a := range axes {
		n *= x.Shape[a]
	}
	return float64(n)
}

// sum adds up in x's type, 16-bit floats in float32.
func sum(x *ir.Node, axes []int) *ir.Node {
	return ir.To(ir.Sum(ir.To(x, x.DType.Compute()), axes), x.DType)
}

// whole gives bool and the integers to int64, in which they are added up.
func whole(x *ir.Node) *ir.Node {
	if x.DType.IsFloat() {
		return x
	}
	return ir.To(x, Int64)
}

func total(x *ir.Node, axes []int) *ir.Node { return sum(whole(x), axes) }

func mean(x *ir.Node, axes []int) *ir.Node {
	return inWide(x, func(x *ir.Node) *ir.Node { return over(ir.Sum(x, axes), count(x, axes)) })
}

// centred is x minus its mean over the axes, and that mean.
func centred(x *ir.Node, axes []int) (c, m *ir.Node) {
	m = mean(x, axes)
	return sub(x, ir.Unreduce(m, x.Shape, axes)), m
}

func variance(correction int) func(x *ir.Node, axes []int) *ir.Node {
	return func(x *ir.Node, axes []int) *ir.Node {
		return inWide(x, func(x *ir.Node) *ir.Node {
			c, _ := centred(x, axes)
			return over(ir.Sum(mul(c, c), axes), max(0, count(x, axes)-float64(correction)))
		})
	}
}

// extremum reduces bool as numbers.
func extremum(op ir.Op) func(x *ir.Node, axes []int) *ir.Node {
	return func(x *ir.Node, axes []int) *ir.Node {
		return ir.To(ir.Fold(op, numeric(x), axes), x.DType)
	}
}

// numeric gives bool to uint8.
func numeric(x *ir.Node) *ir.Node {
	if x.DType == Bool {
		return ir.To(x, Uint8)
	}
	return x
}

// Sum adds up the elements over the given axes (none: all), which vanish. Bool and
// integers are added up as int64, 16-bit floats in float32.
func (t *Tensor) Sum(axes ...int) *Tensor { return t.reduce("Sum", false, axes, total) }

// SumKeep is Sum that leaves the axes with extent 1.
func (t *Tensor) SumKeep(axes ...int) *Tensor { return t.reduce("SumKeep", true, axes, total) }

// Mean is the mean over the given axes (none: all), which vanish. That of integers
// is float32.
func (t *Tensor) Mean(axes ...int) *Tensor { return t.reduce("Mean", false, axes, mean) }

// MeanKeep is Mean that leaves the axes with extent 1.
func (t *Tensor) MeanKeep(axes ...int) *Tensor { return t.reduce("MeanKeep", true, axes, mean) }

// Var is the variance over the given axes (none: all), which vanish: the sum of the
// squared distances from the mean, divided by the number of elements less the
// correction; PyTorch's default is 1.
func (t *Tensor) Var(correction int, axes ...int) *Tensor {
	return t.reduce("Var", false, axes, variance(correction))
}

// VarKeep is Var that leaves the axes with extent 1.
func (t *Tensor) VarKeep(correction int, axes ...int) *Tensor {
	return t.reduce("VarKeep", true, axes, variance(correction))
}

// Std is the square root of Var.
func (t *Tensor) Std(correction int, axes ...int) *Tensor {
	return t.reduce("Std", false, axes, func(x *ir.Node, axes []int) *ir.Node {
		return unary(ir.Sqrt, variance(correction)(x, axes))
	})
}

// Max is the largest element over the given axes (none: all), which vanish; NaN if
// there is one. The gradient is shared among equals.
func (t *Tensor) Max(axes ...int) *Tensor {
	return t.reduce("Max", false, axes, extremum(ir.ReduceMax))
}

// MaxKeep is Max that leaves the axes with extent 1.
func (t *Tensor) MaxKeep(axes ...int) *Tensor {
	return t.reduce("MaxKeep", true, axes, extremum(ir.ReduceMax))
}

// Min is the smallest element over the given axes (none: all), which vanish; NaN if
// there is one. The gradient is shared among equals.
func (t *Tensor) Min(axes ...int) *Tensor {
	return t.reduce("Min", false, axes, extremum(ir.ReduceMin))
}

// Prod is the product over the given axes (none: all), which vanish. That of
// integers is int64.
func (t *Tensor) Prod(axes ...int) *Tensor { return t.reduce("Prod", false, axes, product) }

// product multiplies one half of the elements with the other until one is left; so
// its gradient needs no division and is right where there are zeros.
func product(x *ir.Node, axes []int) *ir.Node {
	d := whole(x).DType
	var perm, kept []int
	for i, n := range x.Shape {
		if !slices.Contains(axes, i) {
			perm, kept = append(perm, i), append(kept, n)
		}
	}
	n := int(count(x, axes))
	if n == 0 {
		return ir.Full(d, 1, kept)
	}
	flat := append(kept[:len(kept):len(kept)], n)
	y := ir.ReshapeTo(ir.Permute(ir.To(x, d.Compute()), append(perm, axes...)), flat)
	last := len(kept)
	for n > 1 {
		if n%2 == 1 {
			hi := make([]int, last+1)
			hi[last] = 1
			y = pad(y, make([]int, last+1), hi, 1)
			n++
		}
		n /= 2
		y = mul(ir.SliceAxis(y, last, 0, n), ir.SliceAxis(y, last, n, 2*n))
	}
	return ir.To(ir.ReshapeTo(y, kept), d)
}

// Norm is the square root of the sum of squares over the given axes (none: all),
// which vanish. The gradient at zero is zero.
func (t *Tensor) Norm(axes ...int) *Tensor {
	return t.reduce("Norm", false, axes, func(x *ir.Node, axes []int) *ir.Node {
		return inWide(x, func(x *ir.Node) *ir.Node {
			s := ir.Sum(mul(x, x), axes)
			zero := ir.New(ir.Eq, nil, s, like(s, 0))
			return choose(zero, like(s, 0), unary(ir.Sqrt, choose(zero, like(s, 1), s)))
		})
	})
}

// LogSumExp is log Σ eᵗ over the given axes (none: all), which vanish; it does not
// overflow.
func (t *Tensor) LogSumExp(axes ...int) *Tensor {
	return t.reduce("LogSumExp", false, axes, func(x *ir.Node, axes []int) *ir.Node {
		return inWide(x, func(x *ir.Node) *ir.Node {
			m := finiteMax(x, axes)
			e := unary(ir.Exp, sub(x, ir.Unreduce(m, x.Shape, axes)))
			return add(unary(ir.Log, ir.Sum(e, axes)), m)
		})
	})
}

// largest is the maximum over the axes as a constant of the gradient.
func largest(x *ir.Node, axes []int) *ir.Node {
	return unary(ir.StopGradient, ir.Fold(ir.ReduceMax, x, axes))
}

// finiteMax is largest, or zero where that is not finite: infinities are not to be
// subtracted from each other.
func finiteMax(x *ir.Node, axes []int) *ir.Node {
	m := largest(x, axes)
	return choose(finite(m), m, like(m, 0))
}

// truth is x ≠ 0.
func truth(x *ir.Node) *ir.Node {
	if x.DType == Bool {
		return x
	}
	return ir.New(ir.Ne, nil, x, like(x, 0))
}

// Any tells whether an element over the given axes (none: all), which vanish, is
// true, or not zero.
func (t *Tensor) Any(axes ...int) *Tensor {
	return t.reduce("Any", false, axes, func(x *ir.Node, axes []int) *ir.Node {
		return truth(total(truth(x), axes))
	})
}

// All tells whether all elements over the given axes (none: all), which vanish, are
// true, or not zero.
func (t *Tensor) All(axes ...int) *Tensor {
	return t.reduce("All", false, axes, func(x *ir.Node, axes []int) *ir.Node {
		return unary(ir.Not, truth(total(unary(ir.Not, truth(x)), axes)))
	})
}

// ArgMax is the place (int64) of the largest element along an axis, which vanishes:
// the first of equals, a NaN before everything.
func (t *Tensor) ArgMax(axis int) *Tensor { return t.arg("ArgMax", ir.ArgMax, axis) }

// ArgMin is the place (int64) of the smallest element along an axis, which vanishes:
// the first of equals, a NaN before everything.
func (t *Tensor) ArgMin(axis int) *Tensor { return t.arg("ArgMin", ir.ArgMin, axis) }

func (t *Tensor) arg(name string, op ir.Op, axis int) *Tensor {
	a := axisOf(name, axis, len(t.node.Shape))
	return wrap(ir.New(op, ir.Axis{Axis: a}, numeric(t.node)))
}

// CumSum is the sum of each element and those before it along an axis. Bool and
// integers are added up as int64.
func (t *Tensor) CumSum(axis int) *Tensor {
	a := axisOf("CumSum", axis, len(t.node.Shape))
	x := whole(t.node)
	return wrap(ir.To(ir.New(ir.CumSum, ir.Cumulate{Axis: a}, ir.To(x, x.DType.Compute())), x.DType))
}

// order is the permutation (int64) that sorts x along an axis.
func order(x *ir.Node, axis int, descending bool) *ir.Node {
	return ir.New(ir.Sort, ir.Order{Axis: axis, Descending: descending}, numeric(x))
}

// Sort orders the elements along an axis. The order of equals stays; NaN is larger
// than every number. It returns the sorted values and where (int64) each was; both
// have t's shape.
func (t *Tensor) Sort(axis int, descending bool) (values, indices *Tensor) {
	a := axisOf("Sort", axis, len(t.node.Shape))
	at := order(t.node, a, descending)
	return wrap(gatherAlong(t.node, a, at)), wrap(at)
}

// ArgSort is the permutation (int64, t's shape) that Sort applies along an axis.
func (t *Tensor) ArgSort(axis int, descending bool) *Tensor {
	return wrap(order(t.node, axisOf("ArgSort", axis, len(t.node.Shape)), descending))
}

// TopK gives the k largest elements along an axis, the largest first, and where
// (int64) they are; the axis has extent k in both.
func (t *Tensor) TopK(k, axis int) (values, indices *Tensor) {
	sh := t.node.Shape
	a := axisOf("TopK", axis, len(sh))
	if k < 0 || k > sh[a] {
		ir.Fail("TopK", "axis %d of shape %v does not have %d elements", axis, sh, k)
	}
	at := ir.SliceAxis(order(t.node, a, true), a, 0, k)
	return wrap(gatherAlong(t.node, a, at)), wrap(at)
}
