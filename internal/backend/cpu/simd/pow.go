package simd

import (
	"math"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
)

// Pow is d = x to the y. Like the Emit of Math it keeps x and y and destroys the
// registers t, of which there are PowTemps.
//
// The logarithm, its product with y and the power of 2 are computed in float64, a
// half of the lanes at a time, because the product loses as many digits as the
// result's exponent has.
func Pow(v *V, d, x, y int, t []int) {
	e, m := t[0], t[1]
	v.OpC(emit.VANDPS, absBits, x, t[2])
	v.fraction(t[2], e, m, t[3], t[4])
	if v.W == 8 { // what AVX-512's instructions do: the exponent of 0 and ∞ is infinite
		b := Lanes{R: t[3]}
		v.CompareC(notLess, t[2], infinity, b)
		v.Choose(b, t[2], e)
		v.Op(emit.VXORPS, t[4], t[4], t[4])
		v.Compare(equal, t[2], t[4], b)
		v.SetF(math.Inf(-1), t[4])
		v.Choose(b, t[4], e)
	}
	extract, insert := emit.VEXTRACTF64X4, emit.VINSERTF64X4
	if v.W == 8 {
		extract, insert = emit.VEXTRACTF128, emit.VINSERTF128
	}
	for half := range 2 {
		widen := func(r, d int) {
			if half == 0 {
				v.I(emit.VCVTPS2PD, v.half(r), v.Reg(d))
				return
			}
			v.I(extract, emit.Imm(1), v.Reg(r), v.half(d))
			v.I(emit.VCVTPS2PD, v.half(d), v.Reg(d))
		}
		a, b, c, f := t[2], t[3], t[4], t[5]
		widen(m, a)
		v.opD(emit.VADDPD, 1, a, b)
		v.opD(emit.VSUBPD, 1, a, a)
		v.Op(emit.VDIVPD, b, a, a) // s = (m-1)/(m+1)
		v.Op(emit.VMULPD, a, a, b)
		v.hornerD(log2Poly, b, c)
		widen(e, f)
		v.Op(emit.VFMADD213PD, f, a, c) // log2 |x|
		widen(y, f)
		v.Op(emit.VMULPD, f, c, c)
		v.setD(200, a)
		v.Op(emit.VMINPD, c, a, c)
		v.setD(-200, a)
		v.Op(emit.VMAXPD, c, a, c)
		// A number so large ends at the units, and so has n in its lowest bits.
		v.opD(emit.VADDPD, 3<<51, c, a)
		v.opD(emit.VSUBPD, 3<<51, a, b)
		v.Op(emit.VSUBPD, b, c, c)
		v.OpI(emit.VPSLLQ, 52, a, a)
		v.hornerD(exp2Poly, c, b)
		v.Op(emit.VPADDQ, a, b, b) // 2^c·2^n
		v.I(emit.VCVTPD2PS, v.Reg(b), v.half(b))
		v.I(insert, emit.Imm(half), v.half(b), v.Reg(d), v.Reg(d))
	}

	// A negative x: the sign of an odd power, and nothing for a power that is no
	// integer.
	whole, odd := Lanes{2, t[0]}, Lanes{3, t[1]}
	v.Round(0, y, t[2])
	v.Compare(equal, t[2], y, whole)
	v.OpF(emit.VMULPS, 0.5, y, t[3])
	v.Round(0, t[3], t[2])
	v.Compare(notEqual, t[2], t[3], odd)
	v.And(whole, odd, odd)
	v.OpC(emit.VANDPS, signBit, x, t[2])
	v.Op(emit.VORPS, t[2], d, t[2])
	v.Choose(odd, t[2], d)
	negative := Lanes{3, t[1]}
	v.Op(emit.VXORPS, t[2], t[2], t[2])
	v.Compare(less, x, t[2], negative)
	v.AndNot(negative, whole, negative)
	finite := Lanes{2, t[0]}
	v.CompareC(greater, x, signBit|infinity, finite)
	v.And(finite, negative, negative)
	v.Set(NaN, t[3])
	v.Choose(negative, t[3], d)

	// One, even with NaN: the power 0 of anything, any power of 1, and -1 to ±∞.
	one, other := Lanes{2, t[0]}, Lanes{3, t[1]}
	v.Compare(equal, y, t[2], one)
	v.SetF(1, t[3])
	v.Compare(equal, x, t[3], other)
	v.Or(one, other, one)
	v.CompareC(equal, x, bitsOf(-1), other)
	v.OpC(emit.VANDPS, absBits, y, t[2])
	if v.wide() {
		v.I(emit.VCMPPS|emit.Bcst, emit.Imm(equal), v.constant(infinity), v.Reg(t[2]), emit.K(3), emit.K(3))
	} else {
		v.CompareC(equal, t[2], infinity, Lanes{R: t[2]})
		v.Op(emit.VANDPS, t[2], t[1], t[1])
	}
	v.Or(one, other, one)
	v.Choose(one, t[3], d)
}

// PowTemps is how many registers Pow needs.
const PowTemps = 6

// log2((1+s)/(1-s))/s in s², for |s| ≤ 1/5, and 2^x for |x| ≤ 1/2.
var log2Poly = []float64{0.34844671170429925, 0.4112027045453589, 0.5770924179893187, 0.9617966212966083, 2.8853900818364338}
var exp2Poly = []float64{0.0001534581180384031, 0.001339993121752427, 0.00961848895785803, 0.05550328776969804, 0.2402264689062692, 0.6931472057372645, 1.000000000554166}

// hornerD is horner in float64.
func (v *V) hornerD(c []float64, x, p int) {
	v.setD(c[0], p)
	for _, c := range c[1:] {
		v.opD(emit.VFMADD213PD, c, x, p)
	}
}

func (v *V) setD(c float64, r int) {
	bits := math.Float64bits(c)
	v.I(emit.VBROADCASTSD, v.Words(uint32(bits), uint32(bits>>32)), v.Reg(r))
}
