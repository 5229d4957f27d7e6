package devicetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// elementwise tests every operation of the table, on every type that the shape
// rules allow, in every layout. An operation is one program, of one Loop for each
// type and layout. In a sample, types take turns with the layouts, and so do operations.
func (s *suite) elementwise(t *testing.T) {
	for o, op := range ir.Ops() {
		if op.Class() != ir.ClassElementwise || op == ir.Iota || op == ir.RNGBits {
			continue // these two have tests of their own: Index, random bits
		}
		t.Run(op.String(), func(t *testing.T) {
			p := s.program(t)
			for i, sig := range signatures(op) {
				for j, l := range layouts {
					if s.sample && j != (o+i)%len(layouts) {
						continue
					}
					p.elementwise(op, sig, l, random(uint64(i*100+j)))
				}
			}
			p.run()
		})
	}
	t.Run("special", s.special)
	t.Run("rounding", s.rounding)
}

// signature is the types of an operation's operands and of its result.
type signature struct {
	in  []dtype.DType
	out dtype.DType
}

// signatures lists what the rules of package ir allow.
func signatures(op ir.Op) (l []signature) {
	for _, d := range dtype.All() {
		switch op {
		case ir.Convert:
			for _, to := range dtype.All() {
				if to != d {
					l = append(l, signature{[]dtype.DType{d}, to})
				}
			}
			continue
		case ir.Bitcast:
			for _, to := range dtype.All() {
				if to != d && to.Size() == d.Size() && to != dtype.Bool {
					l = append(l, signature{[]dtype.DType{d}, to})
				}
			}
			continue
		}
		in := []dtype.DType{d, d, d}[:op.Info().Arity]
		if op == ir.Select {
			in[0] = dtype.Bool
		}
		if out, ok := allowed(op, in); ok {
			l = append(l, signature{in, out})
		}
	}
	return l
}

// allowed builds the operation on scalars, which panics where it is not defined.
func allowed(op ir.Op, in []dtype.DType) (out dtype.DType, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, build := r.(*ir.BuildError); !build {
				panic(r)
			}
			ok = false
		}
	}()
	var nodes []*ir.Node
	for i, d := range in {
		nodes = append(nodes, ir.NewParam(i, d, nil))
	}
	return ir.New(op, nil, nodes...).DType, true
}

// layout is an index space and where in their slots operands and result lie.
type layout struct {
	name   string
	extent []int
	in     [3]place
	out    place
}

type place struct {
	offset int
	stride []int
}

var layouts = []layout{
	{"vector", []int{1037}, [3]place{{0, []int{1}}, {0, []int{1}}, {0, []int{1}}}, place{0, []int{1}}},
	{"behind others", []int{250}, [3]place{{3, []int{1}}, {17, []int{1}}, {1, []int{1}}}, place{5, []int{1}}},
	{"transposed", []int{19, 53}, [3]place{{0, []int{1, 19}}, {0, []int{53, 1}}, {2, []int{1, 20}}}, place{5, []int{60, 1}}},
	{"result transposed", []int{19, 53}, [3]place{{0, []int{53, 1}}, {0, []int{53, 1}}, {0, []int{1, 19}}}, place{0, []int{1, 21}}},
	{"reversed", []int{7, 11, 13}, [3]place{{6 * 143, []int{-143, 13, 1}}, {1000, []int{-143, -13, -1}}, {12, []int{143, 13, -1}}}, place{0, []int{143, 13, 1}}},
	{"result reversed", []int{9, 33}, [3]place{{0, []int{66, 2}}, {0, []int{33, 1}}, {32, []int{33, -1}}}, place{9*33 - 1, []int{-33, -1}}},
	{"repeated", []int{31, 37}, [3]place{{0, []int{0, 1}}, {4, []int{1, 0}}, {1, []int{0, 0}}}, place{0, []int{37, 1}}},
	{"one repeated", []int{31, 37}, [3]place{{0, []int{37, 1}}, {2, []int{0, 0}}, {0, []int{0, 1}}}, place{0, []int{37, 1}}},
	{"axes of one", []int{5, 1, 9, 1, 4}, [3]place{{1, []int{108, 7, 12, 0, 3}}, {0, []int{36, 9, 4, -2, 1}}, {0, []int{0, 0, 0, 5, 1}}}, place{2, []int{72, 1, 8, 3, 2}}},
	{"one point", nil, [3]place{{3, nil}, {0, nil}, {1, nil}}, place{2, nil}},
	{"nothing", []int{4, 0, 3}, [3]place{{0, []int{0, 3, 1}}, {0, []int{0, 3, 1}}, {0, []int{0, 3, 1}}}, place{0, []int{0, 3, 1}}},
}

// size is the number of elements of the slot that holds a place: all that it
// touches and a few behind.
func (p place) size(extent []int) int {
	if product(extent) == 0 {
		return 0
	}
	last := p.offset
	for i, e := range extent {
		last += max(0, p.stride[i]*(e-1))
	}
	return last + 3
}

func (p *program) elementwise(op ir.Op, sig signature, l layout, r *rand.Rand) {
	k := newKernel(op.String(), l.extent, nil)
	var x []int
	for i, d := range sig.in {
		slot := p.leaf(samples(r, op, d, i, l.in[i].size(l.extent)))
		x = append(x, k.load(p.view(slot, l.in[i].offset, l.in[i].stride...)))
	}
	out := p.output(fmt.Sprintf("%v%v → %v, %s", op, sig.in, sig.out, l.name), sig.out, l.out.size(l.extent))
	p.within(out, exactness(op, sig))
	k.store(k.typed(op, sig.out, x...), p.view(out, l.out.offset, l.out.stride...))
	p.Steps = append(p.Steps, k.f)
}

// exactness is how exact an operation has to be; see the package's comment.
func exactness(op ir.Op, sig signature) tolerance {
	a := tolerance{}
	switch op {
	case ir.Max, ir.Min:
		return tolerance{zeros: true}
	case ir.Div, ir.Sqrt:
		a.ulps = 3
	case ir.Exp, ir.Expm1, ir.Log, ir.Log1p, ir.Rsqrt, ir.Sin, ir.Cos, ir.Tanh, ir.Logistic, ir.Erf:
		a.ulps = 4
	case ir.Pow:
		a.ulps = 16
	}
	switch d := sig.out; {
	case a.ulps == 0 || !d.IsFloat():
		return tolerance{}
	case d == dtype.Float64:
		a.abs = 0x1p-1022
		if op == ir.Pow { // math.Pow, which devices are compared with, is off by 1408 itself at (−1.0594549392569148)⁴⁰⁰⁰
			a.ulps = 2048
		}
	case d == dtype.Float16:
		a.ulps, a.abs = 1, 0x1p-24
	case d == dtype.BFloat16:
		a.ulps, a.abs = 1, 0x1p-126
	default:
		a.abs = 0x1p-126
		if op == ir.Erf { // near zero it may come from a formula for the complement
			a.abs = 2e-7
		}
	}
	return a
}

// samples are values for operand i of an operation: at first every combination of
// the special ones, then random ones.
func samples(r *rand.Rand, op ir.Op, d dtype.DType, i, n int) tensor {
	special := specials(op, d, i)
	t := newTensor(d, n)
	every := 1
	for range i {
		every *= len(special)
	}
	for j := range t.v {
		if j < 2*every*len(special) || r.IntN(4) == 0 {
			t.v[j] = special[j/every%len(special)]
			continue
		}
		var v number
		switch {
		case d == dtype.Bool:
			v.I = r.Int64N(2)
		case d.IsFloat():
			v.F = r.NormFloat64() * 4
		case i == 1 && (op == ir.Shl || op == ir.Shr):
			v.I = r.Int64N(int64(8*d.Size()) + 2)
		case r.IntN(2) == 0:
			v.I = r.Int64N(21) - 10
		default:
			v.I = int64(r.Uint64())
		}
		t.v[j] = scalar.Rounded(d, v)
	}
	return t
}

// specials are the values of type d at which something may go wrong.
func specials(op ir.Op, d dtype.DType, i int) (l []number) {
	switch {
	case d == dtype.Bool:
		return []number{{I: 0}, {I: 1}}
	case d.IsFloat():
		for _, v := range []float64{0, minusZero, 1, -1, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 2, -3, 0.1, -0.7, 1e-3, 7.25, 30, -30, 100, -100, 4000, inf, -inf, nan} {
			l = append(l, scalar.Rounded(d, number{F: v}))
		}
		if op == ir.Convert { // to integers: next to their limits and beyond
			for _, v := range []float64{127, 127.9, 128, -128.9, -129, 255.5, 256, -0.9, 2147483520, 2147483648, -2147483648, -2147483904, 9.2e18, 9.3e18, -9.3e18, 1e30, -1e30} {
				l = append(l, scalar.Rounded(d, number{F: v}))
			}
		}
		return l
	}
	low, high := scalar.Limits(d)
	for _, v := range []int64{0, 1, -1, 2, -2, 3, 7, -7, 10, 31, 32, 63, 100, low, low + 1, high, high - 1} {
		l = append(l, scalar.Rounded(d, number{I: v}))
	}
	if op == ir.Convert { // to floats: halfway between two of them, and just not
		for _, v := range []int64{1<<24 + 1, 1<<24 + 3, -1<<24 - 1, 1<<53 + 1, 1<<53 + 3, 1<<62 + 1<<38, 1<<62 + 1<<38 + 1, 65519, 65520} {
			l = append(l, scalar.Rounded(d, number{I: v}))
		}
	}
	return l
}

// publishedCase is an operation with its operands and its result.
type publishedCase struct {
	op         ir.Op
	x, y, want float64
}

// published are values where a formula is not enough: from IEEE 754-2019, for the
// functions from its chapter 9 and from C's Annex F.
var published = []publishedCase{
	{ir.Exp, -inf, 0, 0}, {ir.Exp, inf, 0, inf}, {ir.Exp, minusZero, 0, 1},
	{ir.Expm1, minusZero, 0, minusZero}, {ir.Expm1, -inf, 0, -1},
	{ir.Log, 0, 0, -inf}, {ir.Log, minusZero, 0, -inf}, {ir.Log, -1, 0, nan}, {ir.Log, inf, 0, inf}, {ir.Log, 1, 0, 0},
	{ir.Log1p, minusZero, 0, minusZero}, {ir.Log1p, -1, 0, -inf}, {ir.Log1p, -2, 0, nan},
	{ir.Sqrt, minusZero, 0, minusZero}, {ir.Sqrt, -1, 0, nan},
	{ir.Rsqrt, 0, 0, inf}, {ir.Rsqrt, inf, 0, 0},
	{ir.Sin, inf, 0, nan}, {ir.Cos, -inf, 0, nan}, {ir.Cos, 0, 0, 1},
	{ir.Tanh, inf, 0, 1}, {ir.Tanh, -inf, 0, -1}, {ir.Tanh, minusZero, 0, minusZero},
	{ir.Logistic, inf, 0, 1}, {ir.Logistic, -inf, 0, 0}, {ir.Logistic, 0, 0, 0.5},
	{ir.Erf, inf, 0, 1}, {ir.Erf, -inf, 0, -1},
	{ir.Round, 0.5, 0, 0}, {ir.Round, 1.5, 0, 2}, {ir.Round, 2.5, 0, 2}, {ir.Round, -0.5, 0, minusZero}, {ir.Round, -2.5, 0, -2},
	{ir.Floor, -0.5, 0, -1}, {ir.Ceil, -0.5, 0, minusZero}, {ir.Floor, minusZero, 0, minusZero}, {ir.Ceil, inf, 0, inf},
	{ir.Sign, minusZero, 0, minusZero}, {ir.Sign, nan, 0, nan}, {ir.Sign, -inf, 0, -1},
	{ir.Neg, 0, 0, minusZero}, {ir.Abs, minusZero, 0, 0},
	{ir.Add, inf, -inf, nan}, {ir.Add, minusZero, minusZero, minusZero}, {ir.Add, 0, minusZero, 0}, {ir.Sub, 0, 0, 0},
	{ir.Mul, inf, 0, nan}, {ir.Mul, minusZero, 1, minusZero}, {ir.Div, 1, minusZero, -inf}, {ir.Div, 0, 0, nan}, {ir.Div, 1, -inf, minusZero},
	{ir.Rem, 7, -4, 3}, {ir.Rem, -7, 4, -3}, {ir.Rem, -4, 2, minusZero}, {ir.Rem, 1, 0, nan}, {ir.Rem, inf, 1, nan}, {ir.Rem, 3, inf, 3},
	{ir.Pow, nan, 0, 1}, {ir.Pow, 1, nan, 1}, {ir.Pow, -8, 0.5, nan}, {ir.Pow, 0, -1, inf}, {ir.Pow, minusZero, -3, -inf}, {ir.Pow, 2, -inf, 0}, {ir.Pow, -1, inf, 1},
	{ir.Max, nan, 1, nan}, {ir.Max, 1, nan, nan}, {ir.Min, nan, -inf, nan}, {ir.Min, inf, nan, nan}, {ir.Max, -inf, -1, -1},
	{ir.Eq, nan, nan, 0}, {ir.Ne, nan, nan, 1}, {ir.Eq, 0, minusZero, 1}, {ir.Lt, minusZero, 0, 0}, {ir.Le, minusZero, 0, 1}, {ir.Lt, nan, 1, 0}, {ir.Le, 1, nan, 0}, {ir.Lt, -inf, inf, 1},
}

// inexact are more of them, which a device may miss as the package's comment says.
var inexact = []publishedCase{
	{ir.Exp, 1, 0, math.E}, {ir.Sqrt, 2, 0, math.Sqrt2}, {ir.Sqrt, 9, 0, 3}, {ir.Rsqrt, 0.25, 0, 2}, {ir.Erf, 1, 0, 0.84270079294971487}, {ir.Pow, -2, 3, -8},
}

func (s *suite) special(t *testing.T) {
	for _, d := range floats {
		p := s.program(t)
		for _, c := range published {
			p.expect(d, c, tolerance{})
		}
		for _, c := range inexact {
			p.expect(d, c, exactness(c.op, signature{out: d}))
		}
		p.run()
	}
}

// expect adds an operation on single elements of type d. The device is compared
// with the operation table, and the table with what is published.
func (p *program) expect(d dtype.DType, c publishedCase, a tolerance) {
	name := fmt.Sprintf("%v of %v(%g, %g)", c.op, d, c.x, c.y)
	k := newKernel(name, nil, nil)
	var x []int
	operands := [3]number{{F: c.x}, {F: c.y}}
	for _, v := range operands[:c.op.Info().Arity] {
		one := newTensor(d)
		one.v[0] = v
		x = append(x, k.load(p.view(p.leaf(one), 0)))
	}
	v := k.apply(c.op, x...)
	in := &k.f.Code[v]
	want := number{F: c.want, I: int64(c.want)}
	slot := p.output(name, in.DType, 1)
	p.within(slot, a)
	k.store(v, p.view(slot, 0))
	p.Steps = append(p.Steps, k.f)
	if got := scalar.Rounded(in.DType, scalar.Apply(in.Op, in.DType, d, in.RNG, operands)); !a.accepts(in.DType, got, scalar.Rounded(in.DType, want)) {
		p.t.Errorf("%s: the operation table says %v, published is %v", name, show(in.DType, got), show(in.DType, want))
	}
}

// rounding wants every instruction to be rounded by itself: x·y − z is not computed
// as one operation, (x + y) − x does not become y, and a 16-bit float does not keep
// the digits of the float32 that it was computed in.
func (s *suite) rounding(t *testing.T) {
	r := random(1)
	for _, d := range floats {
		p := s.program(t)
		n := 300
		x, y := p.leaf(normal(r, d, n)), p.leaf(normal(r, d, n))
		contracted, cancelled, product := p.output(fmt.Sprintf("%v x·y − x·y rounded", d), d, n), p.output(fmt.Sprintf("%v (x+y)−x", d), d, n), p.output("x·y", d, n)
		k := newKernel("x·y", []int{n}, nil)
		a, b := k.load(p.view(x, 0, 1)), k.load(p.view(y, 0, 1))
		k.store(k.apply(ir.Mul, a, b), p.view(product, 0, 1))
		p.Steps = append(p.Steps, k.f)

		k = newKernel("x·y−z", []int{n}, nil)
		a, b = k.load(p.view(x, 0, 1)), k.load(p.view(y, 0, 1))
		k.store(k.apply(ir.Sub, k.apply(ir.Mul, a, b), k.load(p.view(product, 0, 1))), p.view(contracted, 0, 1))
		k.store(k.apply(ir.Sub, k.apply(ir.Add, a, b), a), p.view(cancelled, 0, 1))
		p.Steps = append(p.Steps, k.f)
		p.run()
	}
}
