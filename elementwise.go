package sinter

import (
	"math"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// The helpers of this file build nodes; the exported operations wrap them. Names
// in error messages are those of the exported operations.

func add(a, b *ir.Node) *ir.Node          { return ir.New(ir.Add, nil, a, b) }
func sub(a, b *ir.Node) *ir.Node          { return ir.New(ir.Sub, nil, a, b) }
func mul(a, b *ir.Node) *ir.Node          { return ir.New(ir.Mul, nil, a, b) }
func div(a, b *ir.Node) *ir.Node          { return ir.New(ir.Div, nil, a, b) }
func choose(c, a, b *ir.Node) *ir.Node    { return ir.New(ir.Select, nil, c, a, b) }
func unary(op ir.Op, a *ir.Node) *ir.Node { return ir.New(op, nil, a) }

// like is v in x's type and shape.
func like(x *ir.Node, v float64) *ir.Node { return ir.Full(x.DType, v, x.Shape) }

// over is x/v.
func over(x *ir.Node, v float64) *ir.Node { return div(x, like(x, v)) }

// floating gives integers and bool to float32; PyTorch calls that the default type.
func floating(x *ir.Node) *ir.Node {
	if x.DType.IsFloat() {
		return x
	}
	return ir.To(x, Float32)
}

// wide is x in the type that sums and the like are computed in: float32 for
// everything narrower and for integers.
func wide(x *ir.Node) *ir.Node { return ir.To(x, floatType(x.DType).Compute()) }

// floatType is d, or float32 if d is not a floating-point type.
func floatType(d DType) DType {
	if d.IsFloat() {
		return d
	}
	return Float32
}

// inWide computes f in a wide type and rounds the result to x's type.
func inWide(x *ir.Node, f func(x *ir.Node) *ir.Node) *ir.Node {
	return ir.To(f(wide(x)), floatType(x.DType))
}

// ensure turns the error of a shape rule into the panic of a wrong model.
func ensure(op string, err error) {
	if err != nil {
		ir.Fail(op, "%v", err)
	}
}

// must is ensure for rules that give a value: must[T](op)(rule(…)).
func must[T any](op string) func(v T, err error) T {
	return func(v T, err error) T {
		ensure(op, err)
		return v
	}
}

// common is PyTorch's result type: a scalar tensor only widens the kind of a
// tensor with axes, not its width.
func common(a, b *ir.Node) DType {
	if (len(a.Shape) == 0) != (len(b.Shape) == 0) {
		t, s := a.DType, b.DType
		if len(a.Shape) == 0 {
			t, s = s, t
		}
		if t.IsFloat() || t.IsInt() && !s.IsFloat() {
			return t
		}
	}
	return dtype.Promote(a.DType, b.DType)
}

// fit brings two operands to one type and shape.
func fit(op string, d DType, a, b *ir.Node) (x, y *ir.Node) {
	sh := must[[]int](op)(shape.Broadcast(a.Shape, b.Shape))
	return ir.Broadcast(ir.To(a, d), sh), ir.Broadcast(ir.To(b, d), sh)
}

// pairwise is an operation with promotion and broadcasting. On bool it is logical
// instead, where that is given.
func pairwise(name string, op, logical ir.Op, t, o *Tensor) *Tensor {
	d := common(t.node, o.node)
	if d == Bool && logical != ir.OpInvalid {
		op = logical
	}
	a, b := fit(name, d, t.node, o.node)
	return wrap(ir.New(op, nil, a, b))
}

// Add is t + o. Shapes broadcast; bool and bool give their disjunction.
func (t *Tensor) Add(o *Tensor) *Tensor { return pairwise("Add", ir.Add, ir.Or, t, o) }

// Sub is t − o. Shapes broadcast.
func (t *Tensor) Sub(o *Tensor) *Tensor { return pairwise("Sub", ir.Sub, ir.OpInvalid, t, o) }

// Mul is t · o, elementwise. Shapes broadcast; bool and bool give their
// conjunction.
func (t *Tensor) Mul(o *Tensor) *Tensor { return pairwise("Mul", ir.Mul, ir.And, t, o) }

// Div is t / o. Shapes broadcast; integers are divided as float32.
func (t *Tensor) Div(o *Tensor) *Tensor {
	a, b := fit("Div", floatType(common(t.node, o.node)), t.node, o.node)
	return wrap(div(a, b))
}

// Pow is t to the power of o. Shapes broadcast.
func (t *Tensor) Pow(o *Tensor) *Tensor { return pairwise("Pow", ir.Pow, ir.OpInvalid, t, o) }

// Rem is the remainder of t / o with the sign of t, as C's fmod. Shapes broadcast.
func (t *Tensor) Rem(o *Tensor) *Tensor { return pairwise("Rem", ir.Rem, ir.OpInvalid, t, o) }

// Maximum is the larger of t and o, NaN if either is. Shapes broadcast.
func (t *Tensor) Maximum(o *Tensor) *Tensor { return pairwise("Maximum", ir.Max, ir.Or, t, o) }

// Minimum is the smaller of t and o, NaN if either is. Shapes broadcast.
func (t *Tensor) Minimum(o *Tensor) *Tensor { return pairwise("Minimum", ir.Min, ir.And, t, o) }

// Eq is t = o as bool. Shapes broadcast.
func (t *Tensor) Eq(o *Tensor) *Tensor { return pairwise("Eq", ir.Eq, ir.OpInvalid, t, o) }

// Ne is t ≠ o as bool. Shapes broadcast.
func (t *Tensor) Ne(o *Tensor) *Tensor { return pairwise("Ne", ir.Ne, ir.OpInvalid, t, o) }

// Lt is t < o as bool. Shapes broadcast.
func (t *Tensor) Lt(o *Tensor) *Tensor { return pairwise("Lt", ir.Lt, ir.OpInvalid, t, o) }

// Le is t ≤ o as bool. Shapes broadcast.
func (t *Tensor) Le(o *Tensor) *Tensor { return pairwise("Le", ir.Le, ir.OpInvalid, t, o) }

// Gt is t > o as bool. Shapes broadcast.
func (t *Tensor) Gt(o *Tensor) *Tensor { return pairwise("Gt", ir.Lt, ir.OpInvalid, o, t) }

// Ge is t ≥ o as bool. Shapes broadcast.
func (t *Tensor) Ge(o *Tensor) *Tensor { return pairwise("Ge", ir.Le, ir.OpInvalid, o, t) }

// And is the conjunction of bool and the bitwise one of integers. Shapes broadcast.
func (t *Tensor) And(o *Tensor) *Tensor { return pairwise("And", ir.And, ir.OpInvalid, t, o) }

// Or is the disjunction of bool and the bitwise one of integers. Shapes broadcast.
func (t *Tensor) Or(o *Tensor) *Tensor { return pairwise("Or", ir.Or, ir.OpInvalid, t, o) }

// Xor is the exclusive or of bool and the bitwise one of integers. Shapes broadcast.
func (t *Tensor) Xor(o *Tensor) *Tensor { return pairwise("Xor", ir.Xor, ir.OpInvalid, t, o) }

// Shl shifts the bits of integers to the left by o. Shapes broadcast.
func (t *Tensor) Shl(o *Tensor) *Tensor { return pairwise("Shl", ir.Shl, ir.OpInvalid, t, o) }

// Shr shifts the bits of integers to the right by o, keeping the sign. Shapes
// broadcast.
func (t *Tensor) Shr(o *Tensor) *Tensor { return pairwise("Shr", ir.Shr, ir.OpInvalid, t, o) }

// withScalar is x and v as operands of one operation: integers stay integers if v
// is a whole number and become float32 otherwise.
func withScalar(x *ir.Node, v float64) (a, b *ir.Node) {
	d := x.DType
	if !d.IsFloat() {
		if v != math.Trunc(v) || math.Abs(v) >= 1<<63 {
			d = Float32
		} else if d == Bool {
			d = Int64
		}
	}
	a = ir.To(x, d)
	return a, like(a, v)
}

func (t *Tensor) scalar(op ir.Op, v float64) *Tensor {
	a, b := withScalar(t.node, v)
	return wrap(ir.New(op, nil, a, b))
}

// AddScalar is t + v. An integer tensor becomes float32 unless v is whole.
func (t *Tensor) AddScalar(v float64) *Tensor { return t.scalar(ir.Add, v) }

// SubScalar is t − v. An integer tensor becomes float32 unless v is whole.
func (t *Tensor) SubScalar(v float64) *Tensor { return t.scalar(ir.Sub, v) }

// MulScalar is t · v. An integer tensor becomes float32 unless v is whole.
func (t *Tensor) MulScalar(v float64) *Tensor { return t.scalar(ir.Mul, v) }

// DivScalar is t / v; integers become float32.
func (t *Tensor) DivScalar(v float64) *Tensor { return wrap(over(floating(t.node), v)) }

// PowScalar is t to the power of v. An integer tensor becomes float32 unless v is
// whole, and then v must not be negative.
func (t *Tensor) PowScalar(v float64) *Tensor {
	x, e := withScalar(t.node, v)
	if v < 0 && !x.DType.IsFloat() {
		ir.Fail("PowScalar", "integers have no power of %v; convert %v%v to a floating-point type first", v, t.node.DType, t.node.Shape)
	}
	switch v {
	case 1:
		return wrap(x)
	case 2:
		return wrap(mul(x, x))
	case 3:
		return wrap(mul(mul(x, x), x))
	case 0.5:
		return wrap(unary(ir.Sqrt, x))
	case -0.5:
		return wrap(unary(ir.Rsqrt, x))
	case -1:
		return wrap(div(like(x, 1), x))
	}
	return wrap(ir.New(ir.Pow, nil, x, e))
}

// compareScalar compares narrow integers as int64 where their type cannot hold v.
func (t *Tensor) compareScalar(op ir.Op, v float64, swap bool) *Tensor {
	x, b := withScalar(t.node, v)
	if x.DType.IsInt() && ir.IntBits(x.DType, int64(v)) != uint64(int64(v)) {
		x, b = withScalar(ir.To(x, Int64), v)
	}
	if swap {
		x, b = b, x
	}
	return wrap(ir.New(op, nil, x, b))
}

// EqScalar is t = v as bool.
func (t *Tensor) EqScalar(v float64) *Tensor { return t.compareScalar(ir.Eq, v, false) }

// NeScalar is t ≠ v as bool.
func (t *Tensor) NeScalar(v float64) *Tensor { return t.compareScalar(ir.Ne, v, false) }

// LtScalar is t < v as bool.
func (t *Tensor) LtScalar(v float64) *Tensor { return t.compareScalar(ir.Lt, v, false) }

// LeScalar is t ≤ v as bool.
func (t *Tensor) LeScalar(v float64) *Tensor { return t.compareScalar(ir.Le, v, false) }

// GtScalar is t > v as bool.
func (t *Tensor) GtScalar(v float64) *Tensor { return t.compareScalar(ir.Lt, v, true) }

// GeScalar is t ≥ v as bool.
func (t *Tensor) GeScalar(v float64) *Tensor { return t.compareScalar(ir.Le, v, true) }

// Neg is −t.
func (t *Tensor) Neg() *Tensor { return wrap(unary(ir.Neg, t.node)) }

// Abs is |t|.
func (t *Tensor) Abs() *Tensor { return wrap(unary(ir.Abs, t.node)) }

// Sign is −1, 0 or 1; that of NaN is 0, as in PyTorch.
func (t *Tensor) Sign() *Tensor {
	x := t.node
	s := unary(ir.Sign, x)
	if x.DType.IsFloat() {
		s = choose(ir.New(ir.Eq, nil, x, x), s, like(s, 0))
	}
	return wrap(s)
}

// Exp is eᵗ.
func (t *Tensor) Exp() *Tensor { return wrap(unary(ir.Exp, floating(t.node))) }

// Expm1 is eᵗ − 1, exact near zero.
func (t *Tensor) Expm1() *Tensor { return wrap(unary(ir.Expm1, floating(t.node))) }

// Log is the natural logarithm.
func (t *Tensor) Log() *Tensor { return wrap(unary(ir.Log, floating(t.node))) }

// Log1p is log(1 + t), exact near zero.
func (t *Tensor) Log1p() *Tensor { return wrap(unary(ir.Log1p, floating(t.node))) }

// Sqrt is the square root.
func (t *Tensor) Sqrt() *Tensor { return wrap(unary(ir.Sqrt, floating(t.node))) }

// Rsqrt is one over the square root.
func (t *Tensor) Rsqrt() *Tensor { return wrap(unary(ir.Rsqrt, floating(t.node))) }

// Sin is the sine of t in radians.
func (t *Tensor) Sin() *Tensor { return wrap(unary(ir.Sin, floating(t.node))) }

// Cos is the cosine of t in radians.
func (t *Tensor) Cos() *Tensor { return wrap(unary(ir.Cos, floating(t.node))) }

// Tanh is the hyperbolic tangent.
func (t *Tensor) Tanh() *Tensor { return wrap(unary(ir.Tanh, floating(t.node))) }

// Sigmoid is 1 / (1 + e⁻ᵗ).
func (t *Tensor) Sigmoid() *Tensor { return wrap(unary(ir.Logistic, floating(t.node))) }

// Erf is the error function.
func (t *Tensor) Erf() *Tensor { return wrap(unary(ir.Erf, floating(t.node))) }

// rounding leaves integers, which are whole already, as they are.
func (t *Tensor) rounding(op ir.Op) *Tensor {
	if t.node.DType.IsInt() {
		return t
	}
	return wrap(unary(op, t.node))
}

// Floor rounds down.
func (t *Tensor) Floor() *Tensor { return t.rounding(ir.Floor) }

// Ceil rounds up.
func (t *Tensor) Ceil() *Tensor { return t.rounding(ir.Ceil) }

// Round rounds to the nearest whole number, halves to the even one.
func (t *Tensor) Round() *Tensor { return t.rounding(ir.Round) }

// Not negates bool and flips the bits of integers.
func (t *Tensor) Not() *Tensor { return wrap(unary(ir.Not, t.node)) }

// Square is t².
func (t *Tensor) Square() *Tensor { return wrap(mul(t.node, t.node)) }

// Reciprocal is 1 / t.
func (t *Tensor) Reciprocal() *Tensor {
	x := floating(t.node)
	return wrap(div(like(x, 1), x))
}

// Clip limits t to lo ≤ t ≤ hi; NaN stays. An infinite bound is none. The gradient
// passes where t lies between the bounds and is zero on them.
func (t *Tensor) Clip(lo, hi float64) *Tensor {
	x := t.node
	if !math.IsInf(lo, -1) {
		a, b := withScalar(x, lo)
		x = choose(ir.New(ir.Le, nil, a, b), b, a)
	}
	if !math.IsInf(hi, 1) {
		a, b := withScalar(x, hi)
		x = choose(ir.New(ir.Le, nil, b, a), b, a)
	}
	return wrap(x)
}

// IsNaN tells which elements are not a number.
func (t *Tensor) IsNaN() *Tensor {
	if !t.node.DType.IsFloat() {
		return wrap(ir.Full(Bool, 0, t.node.Shape))
	}
	return wrap(ir.New(ir.Ne, nil, t.node, t.node))
}

// IsFinite tells which elements are neither infinite nor NaN.
func (t *Tensor) IsFinite() *Tensor { return wrap(finite(t.node)) }

func finite(x *ir.Node) *ir.Node {
	if !x.DType.IsFloat() {
		return ir.Full(Bool, 1, x.Shape)
	}
	return ir.New(ir.Lt, nil, unary(ir.Abs, x), like(x, math.Inf(1)))
}

// Where takes a where cond, which is bool, is true, and b elsewhere. All three
// shapes broadcast, the types of a and b are promoted.
func Where(cond, a, b *Tensor) *Tensor {
	if cond.node.DType != Bool {
		ir.Fail("Where", "the condition is %v%v, not bool", cond.node.DType, cond.node.Shape)
	}
	x, y := fit("Where", common(a.node, b.node), a.node, b.node)
	sh := must[[]int]("Where")(shape.Broadcast(cond.node.Shape, x.Shape))
	return wrap(choose(ir.Broadcast(cond.node, sh), ir.Broadcast(x, sh), ir.Broadcast(y, sh)))
}

// To converts the elements to another type: floats are cut off towards zero when
// they become integers, and all but zero becomes true.
func (t *Tensor) To(d DType) *Tensor { return wrap(ir.To(t.node, d)) }

// Bitcast reads the bits of the elements as another type of the same size.
func (t *Tensor) Bitcast(d DType) *Tensor { return wrap(ir.Cast(t.node, d)) }
