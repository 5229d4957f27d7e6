package lt

import (
	"math"
	"slices"

	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// An epilogue is recognized by what it computes, not by how it is written: its code is
// evaluated, in float64 and without intermediate roundings, at points that tell the
// forms apart which the library has. GELU is one of its points: the tanh form, which is
// the library's, and the exact one differ by up to 5e-4, and what is accepted is within
// 1e-5.
//
// What is left out that way are roundings to 16 bits of values that the result, which is
// of 16 bits itself, follows from. A value that is rounded and then kept in float32 is
// not the library's, whose results have one type.

// epilogue is what the library shall do after a product.
type epilogue struct {
	kind cublaslt.Epilogue
	y    *kernel.Arg // where the result goes
	bias *kernel.Arg // nil: none
	add  *kernel.Arg // a matrix that is added; nil: none
	aux  *kernel.Arg // GELUAux: where the operand of GELU goes; DGELU: where it lies
}

// match finds the library's form of l's epilogue.
func match(l *kernel.Library, unread bool) (epilogue, bool) {
	var e epilogue
	f, out := l.Epilogue, &l.Out[0]
	if len(f.Parts) != 1 || f.Parts[0].Inner != nil || !slices.Equal(f.Parts[0].Outer, out.Shape) {
		return e, false
	}
	c := code{f: f, args: f.Parts[0].Args}
	var rows *kernel.Arg // read along with the product, of its shape
	var stores []int
	written := false
	for i := range f.Code {
		in := &f.Code[i]
		switch in.Kind {
		case kernel.Load:
			a := &c.args[in.Arg]
			switch {
			case same(a, out):
			case across(a, out) && e.bias == nil:
				e.bias = a
			case along(a, out) && rows == nil:
				rows = a
			case e.bias != nil && equal(a, e.bias), rows != nil && equal(a, rows):
			default:
				return e, false
			}
		case kernel.Store:
			if !along(&c.args[in.Arg], out) {
				return e, false
			}
			stores = append(stores, i)
			written = written || same(&c.args[in.Arg], out)
		case kernel.Apply:
			if in.Op == ir.RNGBits || in.Op == ir.Bitcast || in.Op == ir.Convert && !in.DType.IsFloat() {
				return e, false
			}
		case kernel.Imm:
		default:
			return e, false
		}
	}
	if !unread && !written {
		return e, false // somebody wants the product itself
	}
	c.out, c.bias, c.rows = out, e.bias, rows
	if len(stores) == 0 || len(stores) > 2 {
		return e, false
	}
	e.y = &c.args[f.Code[stores[len(stores)-1]].Arg]
	// All is computed in one wide type and rounded once, when it is stored.
	wide := dtype.Float32
	if out.DType == dtype.Float64 {
		wide = dtype.Float64
	}
	for i := range f.Code {
		in := &f.Code[i]
		narrow := in.DType.IsFloat() && in.DType != wide
		if in.Kind == kernel.Apply && narrow && (in.Op != ir.Convert || in.DType != e.y.DType) {
			return e, false
		}
	}
	if len(stores) == 2 {
		// The operand of GELU and its result, in either order.
		for range 2 {
			first, second := stores[0], stores[1]
			aux := &c.args[f.Code[first].Arg]
			e.y = &c.args[f.Code[second].Arg]
			if rows == nil && aux.DType == e.y.DType && half(e.y.DType) && out.Shape[len(out.Shape)-1]%8 == 0 &&
				c.is(first, linear) && c.is(second, func(p, b, _ float64) float64 { return gelu(p + b) }) {
				e.aux, e.kind = aux, cublaslt.GELUAux
				if e.bias != nil {
					e.kind = cublaslt.GELUAuxBias
				}
				return e, true
			}
			slices.Reverse(stores)
		}
		return e, false
	}
	y := stores[0]
	with := func(plain, bias cublaslt.Epilogue) bool {
		if e.kind = plain; e.bias != nil {
			e.kind = bias
		}
		e.add = rows
		return true
	}
	switch {
	case c.is(y, linear):
		return e, with(cublaslt.Default, cublaslt.Bias)
	case c.is(y, func(p, b, r float64) float64 { return max(p+b+r, 0) }):
		return e, with(cublaslt.ReLU, cublaslt.ReLUBias)
	case half(e.y.DType) && c.is(y, func(p, b, r float64) float64 { return gelu(p + b + r) }):
		return e, with(cublaslt.GELU, cublaslt.GELUBias)
	case half(e.y.DType) && e.bias == nil && rows != nil && rows.DType == e.y.DType && out.Shape[len(out.Shape)-1]%8 == 0 &&
		c.is(y, func(p, _, h float64) float64 { return p * dgelu(h) }):
		e.kind, e.aux = cublaslt.DGELU, rows
		return e, true
	}
	return e, false
}

func half(d dtype.DType) bool { return d == dtype.Float16 || d == dtype.BFloat16 }

func linear(p, b, r float64) float64 { return p + b + r }

// gelu is x·Φ(x) in the approximation by tanh, and dgelu its derivative.
func gelu(x float64) float64 {
	return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func dgelu(x float64) float64 {
	c := 2 * math.Sqrt(2/math.Pi)
	s := 1 / (1 + math.Exp(-c*(x+0.044715*x*x*x)))
	if s == 0 || s == 1 {
		return s
	}
	return s + x*s*(1-s)*c*(1+3*0.044715*x*x)
}

// same tells whether an argument is the result of the operation, in its place.
func same(a *kernel.Arg, out *kernel.Operand) bool {
	return a.Slot == out.Slot && a.Offset == out.Offset && a.DType == out.DType && along(a, out)
}

// along tells whether an argument lies in memory as the result does.
func along(a *kernel.Arg, out *kernel.Operand) bool {
	for i, n := range out.Shape {
		if n != 1 && a.Stride[i] != out.Stride[i] {
			return false
		}
	}
	return true
}

// across tells whether an argument is a vector over the last axis. A result of one row
// has vectors and matrices that are the same; they are taken for vectors.
func across(a *kernel.Arg, out *kernel.Operand) bool {
	last := len(out.Shape) - 1
	for i, n := range out.Shape {
		if want := 0; n != 1 {
			if i == last {
				want = 1
			}
			if a.Stride[i] != want {
				return false
			}
		}
	}
	return true
}

func equal(a, b *kernel.Arg) bool {
	return a.Slot == b.Slot && a.Offset == b.Offset && a.DType == b.DType && slices.Equal(a.Stride, b.Stride)
}

// code is an epilogue that can be evaluated.
type code struct {
	f          *kernel.Fused
	args       []kernel.Arg
	out        *kernel.Operand
	bias, rows *kernel.Arg
	values     []float64
}

// points are products, biases and elements of matrices that epilogues are tried on. Among
// them are numbers so large and so small that a bound, a threshold or a guard would show.
var points = func() (list [][3]float64) {
	numbers := []float64{0, 1e-30, 1e-6, 1e-3, 0.1, 0.37, 0.7, 1, 1.3, 2, 2.4, 3, 4.1, 5.9, 6.2, 8, 11, 25, 88, 130, 1e3, 1e5, 1e9, 1e20, 1e30}
	for i, x := range numbers {
		for _, x := range []float64{x, -x} {
			y, z := numbers[(7*i+3)%len(numbers)], numbers[(5*i+11)%len(numbers)]
			list = append(list, [3]float64{x, 0, 0}, [3]float64{0, x, 0}, [3]float64{0, 0, x}, [3]float64{1.7, 0, x}, [3]float64{-0.6, 0, x},
				[3]float64{x, y, z}, [3]float64{x, -y, z}, [3]float64{x, y, -z}, [3]float64{y, x, -z})
		}
	}
	return list
}()

// is tells whether the value that instruction i stores is g of the product, the bias and
// the matrix, which are 0 where there are none.
func (c *code) is(i int, g func(product, bias, rows float64) float64) bool {
	for _, p := range points {
		if c.bias == nil {
			p[1] = 0
		}
		if c.rows == nil {
			p[2] = 0
		}
		got, want := c.value(i, p), g(p[0], p[1], p[2])
		// Beyond float32 there is nothing to compare.
		if math.IsInf(want, 0) || math.IsNaN(want) || math.Abs(want) > 1e35 {
			continue
		}
		scale := math.Abs(p[0]) + math.Abs(p[1]) + math.Abs(p[2])
		if !(math.Abs(got-want) <= 1e-5*math.Abs(want)+1e-9*math.Min(scale, 1)) && !(scale > 1e4 && math.Abs(got-want) <= 1e-9*scale) {
			return false
		}
	}
	// What is not a number stays that where nothing but sums are taken.
	if math.IsNaN(g(math.NaN(), 0, 0)) && !math.IsNaN(c.value(i, [3]float64{math.NaN(), 0, 0})) {
		return false
	}
	return true
}

// value is what instruction i stores at a point.
func (c *code) value(i int, p [3]float64) float64 {
	v := slices.Grow(c.values[:0], len(c.f.Code))[:len(c.f.Code)]
	c.values = v
	for j := range i {
		in := &c.f.Code[j]
		switch in.Kind {
		case kernel.Load:
			switch a := &c.args[in.Arg]; {
			case same(a, c.out):
				v[j] = p[0]
			case c.bias != nil && equal(a, c.bias):
				v[j] = p[1]
			default:
				v[j] = p[2]
			}
		case kernel.Imm:
			v[j] = ir.Literal{Bits: in.Bits}.Float(in.DType)
		case kernel.Apply:
			x := in.Operands()
			switch info := in.Op.Info(); {
			case in.Op == ir.Convert:
				v[j] = v[x[0]]
			case in.Op == ir.Select:
				if v[j] = v[x[2]]; v[x[0]] != 0 {
					v[j] = v[x[1]]
				}
			case in.Op == ir.Not:
				v[j] = 1 - v[x[0]]
			case info.F64 == nil || len(x) > 2:
				v[j] = math.NaN()
			case len(x) == 1:
				v[j] = info.F64(v[x[0]], 0)
			default:
				v[j] = info.F64(v[x[0]], v[x[1]])
			}
		}
	}
	return v[c.f.Code[i].X[0]]
}

// with is the product along with an epilogue, if the types that it needs are the
// library's.
func (d described) with(l *kernel.Library, e epilogue) (described, bool) {
	out := &l.Out[0]
	low := types[l.In[0].DType]
	t, ok := types[e.y.DType]
	// The result is float32 or of the operands' type, and the bias, what is added and the
	// operand of GELU are of the result's.
	if !ok || t != low && t != cublaslt.F32 || d.Scale == cublaslt.F64 && (t != cublaslt.F64 || e.kind != cublaslt.Default) {
		return d, false
	}
	for _, a := range []*kernel.Arg{e.bias, e.add, e.aux} {
		if a != nil && types[a.DType] != t {
			return d, false
		}
	}
	if e.y.DType == out.DType && e.kind == cublaslt.Default && e.add == nil && same(e.y, out) {
		return d, false // nothing is done at all
	}
	put := func(a *kernel.Arg) place {
		return at(&kernel.Operand{Slot: a.Slot, DType: a.DType, Offset: a.Offset}, d.offsets)
	}
	d.d = put(e.y)
	d.D.Type, d.D.Align = t, d.d.align()
	d.C, d.c = d.D, d.d
	d.Epilogue, d.inEpilogue = e.kind, true
	if e.add != nil {
		d.c, d.Beta = put(e.add), true
		d.C.Align = d.c.align()
	}
	if e.bias != nil {
		d.bias = at(&kernel.Operand{Slot: e.bias.Slot, DType: e.bias.DType, Offset: e.bias.Offset}, make([]int, len(d.offsets)))
	}
	if e.aux != nil {
		d.aux, d.AuxLD = put(e.aux), d.D.LD
	}
	return d, true
}
