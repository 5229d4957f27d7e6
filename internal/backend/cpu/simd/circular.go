package simd

import (
	"math"
	"math/big"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
)

var sinPoly = []float64{-0.00019511457008854983, 0.008332132965385097, -0.16666654176842927}
var cosPoly = []float64{2.4428786180104775e-05, -0.0013887278543898776, 0.04166664492050247, -0.5, 1}

// π/2 as a sum of float32, the first of which is exact to 2^-23.
var halfPi = []float64{1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15}

// Above farArgument, x minus its multiple of π/2 has lost too many digits; the way
// for larger ones is slower.
const (
	farArgument = 1 << 15
	farExponent = 142 // of farArgument, as the format has it
)

// circular is the sine or cosine. With q the multiple of π/2 next to |x| and r what
// is left, it is sin r or cos r, by q odd or even, with the sign that q and x say.
func circular(v *V, d, x int, temps []int, cos bool) {
	y, r, q := temps[0], temps[1], temps[2]
	v.OpC(emit.VANDPS, absBits, x, y)
	v.OpF(emit.VMULPS, 2/math.Pi, y, q)
	v.Round(0, q, q)
	v.Op(emit.VMOVAPS, y, r)
	for _, part := range halfPi {
		v.OpF(emit.VFNMADD231PS, part, q, r)
	}
	v.Op(emit.VCVTPS2DQ, q, q)

	near := v.NewLabel()
	far := Lanes{2, temps[7]}
	v.CompareC(greater, y, bitsOf(farArgument), far)
	v.JumpIfNone(far, near)
	farRemainder(v, d, y, x, far, temps[3:7])
	if v.W == 8 {
		v.isFar(x, far)
	}
	v.Choose(far, d, r)
	v.Choose(far, y, q)
	v.Bind(near)

	c := temps[3]
	v.Op(emit.VMULPS, r, r, y)
	horner(v, sinPoly, y, d)
	v.Op(emit.VMULPS, y, d, d)
	v.Op(emit.VFMADD213PS, r, r, d)
	horner(v, cosPoly, y, c)
	if cos {
		v.OpC(emit.VPADDD, 1, q, q)
	}
	v.OpI(emit.VPSLLD, 31, q, y)
	odd := Lanes{2, y}
	if v.wide() {
		v.I(emit.VPMOVD2M, v.Reg(y), emit.K(2))
	}
	v.Choose(odd, c, d)
	v.OpI(emit.VPSLLD, 30, q, q)
	v.OpC(emit.VANDPS, signBit, q, q)
	v.Op(emit.VXORPS, q, d, d)
	if !cos {
		v.OpC(emit.VANDPS, signBit, x, q)
		v.Op(emit.VXORPS, q, d, d)
	}
}

// isFar is the lanes where |x| is above farArgument.
func (v *V) isFar(x int, b Lanes) {
	v.OpC(emit.VANDPS, absBits, x, b.R)
	v.CompareC(greater, b.R, bitsOf(farArgument), b)
}

// farRemainder is r and q of circular in the lanes where |x| is far; the others may
// become anything. It computes in float64, a half of the lanes at a time. x is M·2^e
// with an integer M of 24 bits, and M times the multiple of 2/π that a table has for
// e is x·2/π but for a multiple of 4. The product with the table's higher parts is
// exact, and still so without q; then the product with the lower parts is added.
func farRemainder(v *V, r, q, x int, far Lanes, temps []int) {
	m, e, p, t := temps[0], temps[1], temps[2], temps[3]
	extract, insert := emit.VEXTRACTI64X4, emit.VINSERTI64X4
	if v.W == 8 {
		extract, insert = emit.VEXTRACTI128, emit.VINSERTI128
	}
	for half := range 2 {
		upper := func(r int) {
			if half == 1 {
				v.I(extract, emit.Imm(1), v.Reg(r), v.half(r))
			}
		}
		v.OpC(emit.VANDPS, 0x7fffff, x, m)
		v.OpC(emit.VORPS, 0x800000, m, m)
		upper(m)
		v.I(emit.VCVTDQ2PD, v.half(m), v.Reg(m))
		v.OpC(emit.VANDPS, absBits, x, e)
		v.OpI(emit.VPSRLD, 23, e, e)
		upper(e)
		gather := func(table []uint32, r int) {
			v.Op(emit.VXORPS, r, r, r)
			from := emit.Mem{Base: emit.R15, Index: v.half(e), Scale: 8, Disp: -8 * farExponent}
			v.I(emit.LEAQ, v.Words(table...), emit.R15)
			if v.wide() {
				v.I(emit.KSHIFTRW, emit.Imm(8*half), emit.K(far.K), emit.K(3))
				v.I(emit.VGATHERDPD, from, emit.K(3), v.Reg(r))
				return
			}
			v.isFar(x, far)
			upper(far.R)
			v.I(emit.VPMOVSXDQ, v.half(far.R), v.Reg(far.R))
			v.I(emit.VGATHERDPD, v.Reg(far.R), from, v.Reg(r))
		}
		high, low := farTable()
		gather(high, p)
		gather(low, t)
		v.Op(emit.VMULPD, m, p, p)
		v.Op(emit.VMOVAPD, p, e)
		v.Op(emit.VFMADD231PD, t, m, e)
		v.roundD(e, e)
		v.Op(emit.VSUBPD, e, p, p)
		v.Op(emit.VFMADD231PD, t, m, p)
		v.I(emit.VCVTPD2DQ, v.Reg(e), v.half(e))
		v.I(insert, emit.Imm(half), v.half(e), v.Reg(q), v.Reg(q))
		v.opD(emit.VMULPD, math.Pi/2, p, p)
		v.I(emit.VCVTPD2PS, v.Reg(p), v.half(p))
		v.I(insert, emit.Imm(half), v.half(p), v.Reg(r), v.Reg(r))
	}
	v.Op(emit.VXORPS, t, t, t)
	v.Op(emit.VFMADD231PS, t, x, r) // ∞ gives NaN
}

// roundD rounds float64 to integers.
func (v *V) roundD(x, d int) {
	op := emit.VROUNDPD
	if v.wide() {
		op = emit.VRNDSCALEPD
	}
	v.OpI(op, 8, x, d)
}

// opD is OpC for float64 in lanes of 8 bytes.
func (v *V) opD(op emit.Op, c float64, regs ...int) {
	if v.wide() {
		op |= emit.Bcst
	}
	bits := math.Float64bits(c)
	v.I(op, v.regs([]emit.Operand{v.repeated(uint32(bits), uint32(bits>>32))}, regs)...)
}

// farTable has 2^e·2/π modulo 4 for the exponents of farRemainder, in two float64:
// the higher one ends at 2^-26, so that its product with 24 bits is exact. What is
// for infinity is zero.
var farTable = sync.OnceValues(func() (high, low []uint32) {
	const fraction = 320 // bits of 2/π
	twoByPi, _ := new(big.Int).SetString("a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e0", 16)
	for e := farExponent; e <= 255; e++ {
		var h, l float64
		if e < 255 {
			// x is its mantissa times 2^(e-150); the least such exponent is -8.
			x := new(big.Int).Lsh(twoByPi, uint(e-farExponent))
			const point = fraction + 150 - farExponent
			mask := new(big.Int).Lsh(big.NewInt(1), point+2)
			x.And(x, mask.Sub(mask, big.NewInt(1)))
			top := new(big.Int).Rsh(x, point-26)
			h = math.Ldexp(float64(top.Int64()), -26)
			x.Sub(x, top.Lsh(top, point-26))
			l, _ = new(big.Float).SetInt(x).Float64()
			l = math.Ldexp(l, -point)
		}
		for _, p := range []struct {
			list *[]uint32
			f    float64
		}{{&high, h}, {&low, l}} {
			bits := math.Float64bits(p.f)
			*p.list = append(*p.list, uint32(bits), uint32(bits>>32))
		}
	}
	return high, low
})
