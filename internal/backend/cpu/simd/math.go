package simd

import (
	"math"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Math is a function of one vector. Emit adds code for d = f(x) that keeps x and
// destroys the registers t, of which there are Temps, and K2 and K3. d, x and those
// of t are different registers.
type Math struct {
	Temps int
	Emit  func(v *V, d, x int, t []int)
}

// Unary has the operations on one float32.
var Unary = map[ir.Op]Math{
	ir.Neg:      {0, func(v *V, d, x int, _ []int) { v.OpC(emit.VXORPS, signBit, x, d) }},
	ir.Abs:      {0, func(v *V, d, x int, _ []int) { v.OpC(emit.VANDPS, absBits, x, d) }},
	ir.Sqrt:     {0, func(v *V, d, x int, _ []int) { v.Op(emit.VSQRTPS, x, d) }},
	ir.Rsqrt:    {1, rsqrt},
	ir.Floor:    {0, func(v *V, d, x int, _ []int) { v.Round(1, x, d) }},
	ir.Ceil:     {0, func(v *V, d, x int, _ []int) { v.Round(2, x, d) }},
	ir.Round:    {0, func(v *V, d, x int, _ []int) { v.Round(0, x, d) }},
	ir.Exp:      {3, func(v *V, d, x int, t []int) { exp(v, x, d, t[0], t[1], t[2]) }},
	ir.Log:      {4, logarithm},
	ir.Tanh:     {5, tanh},
	ir.Logistic: {4, logistic},
	ir.Erf:      {5, erf},
	ir.Log1p:    {6, log1p},
	ir.Expm1:    {4, expm1},
	ir.Sign:     {2, sign},
	ir.Sin:      {8, func(v *V, d, x int, t []int) { circular(v, d, x, t, false) }},
	ir.Cos:      {8, func(v *V, d, x int, t []int) { circular(v, d, x, t, true) }},
}

func rsqrt(v *V, d, x int, t []int) {
	v.Op(emit.VSQRTPS, x, t[0])
	v.SetF(1, d)
	v.Op(emit.VDIVPS, t[0], d, d)
}

var expPoly = []float64{0.0013949782587587833, 0.008375970646739006, 0.04166619852185249, 0.16666404902935028, 0.5, 1, 1}
var logPoly = []float64{-0.052780695259571075, 0.11015022546052933, -0.13075661659240723, 0.14371387660503387, -0.16647514700889587, 0.19997148215770721, -0.25000178813934326, 0.33333346247673035}
var tanhPoly = []float64{-0.0066309962421655655, 0.021320771425962448, -0.05391135811805725, 0.13333123922348022, -0.3333333134651184}

// erf(x)/x - 1 in x², on |x| ≤ 1; the best polynomials in the sense of Remez.
var erfNear = []float64{7.8891231832952e-05, -0.0008020842373901771, 0.005189535462212088, -0.026854444655481213, 0.11283600177745412, -0.3761262713609387, 0.1283791659137692}

// -log(1 - erf(x)) on 1 ≤ x ≤ 4, weighted by 1 - erf(x).
var erfFar = []float64{-0.00018557393399485514, 0.0029396065635186167, -0.021805315392355706, 0.10303736268531559, 0.638225684140127, 1.1270400319476672, 0.0003537204703145669}

// horner evaluates a polynomial in x into p.
func horner(v *V, c []float64, x, p int) {
	v.SetF(c[0], p)
	for _, c := range c[1:] {
		v.OpF(emit.VFMADD213PS, c, x, p)
	}
}

// exp is d = e^x; s, t and u are destroyed, and s may be x itself. x is clamped to
// where the result is an infinity or zero; the bound is the first source, so that
// NaN passes. With n the multiple of log 2 next to x, what is left is at most 0.35
// and a polynomial of degree 6 does it. The power of 2 is put on in two steps where
// there is no instruction for it, so that subnormal results come out right.
//
// Results that underflow make the processor take a slow path, and -∞ is a frequent
// operand: masked scores. So with AVX-512 lanes whose result is zero are computed
// for 0, and cleared.
func exp(v *V, x, d, s, t, u int) {
	v.SetF(88.8, t)
	if v.wide() {
		v.I(emit.VCMPPS|emit.Bcst, emit.Imm(notLessEq), v.constant(bitsOf(-104)), v.Reg(x), emit.K(2))
		v.I(emit.VMINPS|emit.Zero, v.Reg(x), v.Reg(t), emit.K(2), v.Reg(s))
	} else {
		v.Op(emit.VMINPS, x, t, s)
		v.SetF(-104, t)
		v.Op(emit.VMAXPS, s, t, s)
	}
	v.OpF(emit.VMULPS, math.Log2E, s, t)
	v.Round(0, t, t)
	v.OpF(emit.VFNMADD231PS, 0.693359375, t, s)
	v.OpF(emit.VFNMADD231PS, -2.12194440e-4, t, s)
	horner(v, expPoly, s, d)
	if v.wide() {
		v.I(emit.VSCALEFPS|emit.Zero, v.Reg(t), v.Reg(d), emit.K(2), v.Reg(d))
		return
	}
	v.scale(t, d, u)
}

// scale is d = d·2^t, where t holds integers as floats, with AVX2; t and u are
// destroyed.
func (v *V) scale(t, d, u int) {
	v.Op(emit.VCVTPS2DQ, t, t)
	v.OpI(emit.VPSRAD, 1, t, u)
	v.Op(emit.VPSUBD, u, t, t)
	for _, r := range []int{u, t} {
		v.OpC(emit.VPADDD, 127, r, r)
		v.OpI(emit.VPSLLD, 23, r, r)
		v.Op(emit.VMULPS, r, d, d)
	}
}

// fraction splits a positive x = m·2^e with m in [3/4, 3/2); e is a float. t and k
// are destroyed. With AVX-512 e is infinite for 0 and ∞, and m NaN for x < 0; with
// AVX2 they are anything.
func (v *V) fraction(x, e, m, t, k int) {
	if v.wide() {
		// The exponent belongs to a fraction in [1, 2); one below 1 is half of it.
		// Both instructions know about subnormals.
		v.Op(emit.VGETEXPPS, x, e)
		v.OpI(emit.VGETMANTPS, 11, x, m)
		v.SetF(1, t)
		v.Compare(less, m, t, Lanes{K: 2})
		v.I(emit.VADDPS, v.Reg(t), v.Reg(e), emit.K(2), v.Reg(e))
		return
	}
	subnormal := Lanes{R: t}
	v.CompareC(less, x, leastNormal, subnormal)
	v.OpF(emit.VMULPS, 1<<23, x, m)
	v.Op(emit.VBLENDVPS, t, m, x, m)
	v.OpF(emit.VANDPS, 23, t, k)
	v.OpC(emit.VPSUBD, 0x3f400000, m, m)
	v.OpI(emit.VPSRAD, 23, m, e)
	v.Op(emit.VCVTDQ2PS, e, e)
	v.Op(emit.VSUBPS, k, e, e)
	v.OpC(emit.VANDPS, 0x7fffff, m, m)
	v.OpC(emit.VPADDD, 0x3f400000, m, m)
}

const (
	leastNormal = 0x00800000
	infinity    = 0x7f800000
)

// logarithm: with x = m·2^e, log m is a polynomial in m-1.
func logarithm(v *V, d, x int, temps []int) {
	e, m, t, k := temps[0], temps[1], temps[2], temps[3]
	v.fraction(x, e, m, t, k)
	v.OpF(emit.VSUBPS, 1, m, m)
	horner(v, logPoly, m, d)
	v.Op(emit.VMULPS, m, m, t)
	v.Op(emit.VMULPS, m, d, d)
	v.OpF(emit.VADDPS, -0.5, d, d)
	v.Op(emit.VFMADD213PS, m, t, d) // d·t + m
	v.OpF(emit.VFMADD231PS, math.Ln2, e, d)
	if !v.wide() {
		special := Lanes{R: e}
		v.SetF(math.Inf(1), t)
		v.Compare(equal, x, t, special) // ∞
		v.Choose(special, t, d)
		v.Op(emit.VXORPS, t, t, t)
		v.Compare(notGreaterEq, x, t, special)
		v.Set(NaN, m)
		v.Choose(special, m, d)
		v.Compare(equal, x, t, special) // zero
		v.SetF(math.Inf(-1), m)
		v.Choose(special, m, d)
	}
}

// log1p: with u = 1 + x rounded, and c what that lost, log(1+x) = log u + c/u.
func log1p(v *V, d, x int, temps []int) {
	u, c, t := temps[0], temps[1], temps[2]
	v.SetF(1, t)
	v.Op(emit.VADDPS, x, t, u)
	v.Op(emit.VSUBPS, t, u, c) // what of x is in u
	v.Op(emit.VSUBPS, c, u, d) // and what of 1
	v.Op(emit.VSUBPS, d, t, t)
	v.Op(emit.VSUBPS, c, x, c)
	v.Op(emit.VADDPS, t, c, c)
	v.Op(emit.VDIVPS, u, c, c)
	// It is NaN where log u is infinite, too.
	number := Lanes{2, t}
	v.Compare(ordered, c, c, number)
	if v.wide() {
		v.I(emit.VMOVAPS|emit.Zero, v.Reg(c), emit.K(2), v.Reg(c))
	} else {
		v.Op(emit.VANDPS, t, c, c)
	}
	logarithm(v, d, u, temps[2:])
	v.Op(emit.VADDPS, c, d, d)
	v.signedTo(x, d, t) // of zero
}

var expm1Poly = []float64{0.00019846745583609047, 0.0013941062027613364, 0.008333389112344191, 0.041666355753367475, 0.16666666366738073, 0.5000000045288544}

// expm1 is 2^n·p + (2^n - 1), where n is the multiple of log 2 next to x and p is
// expm1 of the rest. All is halved until the end, because 2^n may be too large.
func expm1(v *V, d, x int, temps []int) {
	s, n, p, u := temps[0], temps[1], temps[2], temps[3]
	v.SetF(89, n)
	v.Op(emit.VMINPS, x, n, s)
	v.SetF(-20, n)
	v.Op(emit.VMAXPS, s, n, s)
	v.OpF(emit.VMULPS, math.Log2E, s, n)
	v.Round(0, n, n)
	v.OpF(emit.VFNMADD231PS, 0.693359375, n, s)
	v.OpF(emit.VFNMADD231PS, -2.12194440e-4, n, s)
	horner(v, expm1Poly, s, p)
	v.Op(emit.VMULPS, s, s, u)
	v.Op(emit.VFMADD213PS, s, u, p) // p·s² + s
	v.Op(emit.VCVTPS2DQ, n, n)
	v.OpC(emit.VPADDD, 126, n, n)
	v.OpI(emit.VPSLLD, 23, n, n)
	v.OpF(emit.VADDPS, -0.5, n, d)
	v.Op(emit.VFMADD231PS, n, p, d)
	v.Op(emit.VADDPS, d, d, d)
	// Halves of subnormal numbers are not exact, and -0 is its own result.
	v.OpC(emit.VANDPS, absBits, x, s)
	small := Lanes{2, n}
	v.CompareC(less, s, 2*leastNormal, small)
	v.Choose(small, x, d)
}

// sign: 1 with the sign of x, but x itself if that is zero or NaN.
func sign(v *V, d, x int, temps []int) {
	t := temps[0]
	one := Lanes{2, temps[1]}
	v.Op(emit.VXORPS, t, t, t)
	v.Compare(notEqual, x, t, one)
	v.OpC(emit.VANDPS, signBit, x, t)
	v.OpF(emit.VORPS, 1, t, t)
	v.Op(emit.VMOVAPS, x, d)
	v.Choose(one, t, d)
}

// where sets d = y in the lanes where x < c; t is destroyed.
func (v *V) where(x int, c float64, y, d, t int) {
	b := Lanes{2, t}
	v.CompareC(less, x, bitsOf(c), b)
	v.Choose(b, y, d)
}

// signedTo gives d, which is not negative or has it already, the sign of x.
func (v *V) signedTo(x, d, t int) {
	v.OpC(emit.VANDPS, signBit, x, t)
	v.Op(emit.VORPS, t, d, d)
}

// tanh: an odd polynomial below 1/2, above it (1-q)/(1+q) with q = e^(-2|x|).
func tanh(v *V, d, x int, temps []int) {
	y, t, u, q, z := temps[0], temps[1], temps[2], temps[3], temps[4]
	v.OpC(emit.VANDPS, absBits, x, y)
	v.OpF(emit.VMULPS, -2, y, t)
	exp(v, t, q, t, u, z)
	v.OpF(emit.VADDPS, 1, q, u)
	v.SetF(1, d)
	v.Op(emit.VSUBPS, q, d, d)
	v.quotient(d, u, d, t, z)
	v.Op(emit.VMULPS, y, y, t)
	horner(v, tanhPoly, t, z)
	v.Op(emit.VMULPS, t, z, z)
	v.Op(emit.VFMADD213PS, y, y, z)
	v.where(y, 0.5, z, d, t)
	v.signedTo(x, d, t)
}

// logistic: with q = e^-|x| it is 1/(1+q), or q/(1+q) for negative x, so that
// small results keep all their digits.
func logistic(v *V, d, x int, temps []int) {
	y, t, u, q := temps[0], temps[1], temps[2], temps[3]
	v.OpC(emit.VORPS, signBit, x, y)
	exp(v, y, q, y, t, u)
	v.OpF(emit.VADDPS, 1, q, u)
	v.SetF(1, d)
	v.where(x, 0, q, d, t)
	v.quotient(d, u, d, t, q)
}

// quotient is d = x/y for y in [1, 2], to within the last place; y, t and u are
// destroyed, and d may be x. A division of 16 lanes keeps the divider busy for 16
// cycles, so with AVX-512 it is an estimate of 1/y, one step of Newton's method, and
// a correction by what the product with y leaves of x.
func (v *V) quotient(x, y, d, t, u int) {
	if !v.wide() {
		v.Op(emit.VDIVPS, y, x, d)
		return
	}
	v.Op(emit.VRCP14PS, y, t)
	v.SetF(1, u)
	v.Op(emit.VFNMADD231PS, y, t, u) // 1 - y·t
	v.Op(emit.VFMADD213PS, t, u, t)  // t + t·u
	v.Op(emit.VMULPS, x, t, u)
	v.Op(emit.VFNMADD213PS, x, u, y) // x - u·y
	v.Op(emit.VFMADD213PS, u, y, t)  // u + (x-u·y)·t
	if t != d {
		v.Op(emit.VMOVAPS, t, d)
	}
}

// erf: x·(1 + P(x²)) below 1, above it 1 - e^-Q(|x|).
func erf(v *V, d, x int, temps []int) {
	y, t, u, q, z := temps[0], temps[1], temps[2], temps[3], temps[4]
	v.OpC(emit.VANDPS, absBits, x, y)
	v.SetF(4, t)
	v.Op(emit.VMINPS, y, t, t)
	horner(v, erfFar, t, q)
	v.OpC(emit.VXORPS, signBit, q, q)
	exp(v, q, z, q, t, u)
	v.SetF(1, d)
	v.Op(emit.VSUBPS, z, d, d)
	v.Op(emit.VMULPS, y, y, t)
	horner(v, erfNear, t, z)
	v.Op(emit.VFMADD213PS, y, y, z)
	v.where(y, 1, z, d, t)
	v.signedTo(x, d, t)
}
