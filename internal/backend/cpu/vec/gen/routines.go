package main

import (
	"fmt"
	"math"
	"strings"
)

const (
	signBit = 0x80000000
	absBits = 0x7fffffff
	nanBits = 0x7fc00000
)

func routines(a *isa) {
	for _, op := range []struct{ name, ins string }{{"add", "VADDPS"}, {"sub", "VSUBPS"}, {"mul", "VMULPS"}, {"div", "VDIVPS"}, {"max", "VMAXPS"}, {"min", "VMINPS"}} {
		for form := range 3 {
			binary(a, op.name+[]string{"VV", "SV", "VS"}[form], form, func(x, y, d, t int) {
				if op.name == "max" || op.name == "min" {
					extreme(a, op.ins, x, y, d, t)
				} else {
					a.op(op.ins, y, x, d)
				}
			})
		}
	}
	for _, op := range []struct {
		name string
		imm  int
	}{{"eq", 0}, {"ne", 4}, {"lt", 1}, {"le", 2}} {
		for form := range 3 {
			compare(a, op.name+[]string{"VV", "SV", "VS"}[form], form, op.imm)
		}
	}
	for form := range 4 {
		choose(a, "select"+[]string{"VV", "SV", "VS", "SS"}[form], form)
	}
	if a.w == 16 {
		boolToFloat(a)
	}
	gather(a)

	simple := func(name string, f func(x, d int)) {
		unary(a, name, 4, func(x int) int { f(x, x+1); return x + 1 })
	}
	simple("neg", func(x, d int) { a.opb("VXORPS", signBit, x, d) })
	simple("abs", func(x, d int) { a.opb("VANDPS", absBits, x, d) })
	simple("sqrt", func(x, d int) { a.op("VSQRTPS", x, d) })
	simple("rsqrt", func(x, d int) {
		a.op("VSQRTPS", x, x)
		a.set(1, d)
		a.op("VDIVPS", x, d, d)
	})
	simple("floor", func(x, d int) { round(a, 1, x, d) })
	simple("ceil", func(x, d int) { round(a, 2, x, d) })
	simple("round", func(x, d int) { round(a, 0, x, d) })
	simple("intToFloat", func(x, d int) { a.op("VCVTDQ2PS", x, d) })
	simple("roundBF16", func(x, d int) { roundBF16(a, x, d) })

	unary(a, "exp", 2, func(x int) int { exp(a, x, x+1, x+2, x+3); return x + 1 })
	unary(a, "log", 2, func(x int) int { logarithm(a, x); return x + 1 })
	unary(a, "tanh", 1, func(x int) int { tanh(a, x); return x + 1 })
	unary(a, "logistic", 1, func(x int) int { logistic(a, x); return x + 1 })
	unary(a, "erf", 1, func(x int) int { erf(a, x); return x + 1 })

	for _, op := range []struct {
		name, ins string
		id        uint32
	}{{"Sum", "VADDPS", 0}, {"Max", "VMAXPS", 0xff800000}, {"Min", "VMINPS", 0x7f800000}} {
		rowReduce(a, "row"+op.name, op.ins, op.id)
		colReduce(a, "col"+op.name, op.ins)
	}
	widenBF16(a)
	narrowBF16(a)
	halves(a)
	for step := 1; step <= 2; step++ {
		window(a, "Sum", step)
		window(a, "Max", step)
		window(a, "ArgMax", step)
	}
	maxPairs(a)
}

func round(a *isa, mode, x, d int) {
	name := "VROUNDPS"
	if a.w == 16 {
		name = "VRNDSCALEPS"
	}
	a.p("%s $%d, %s, %s", name, mode|8, a.v(x), a.v(d))
}

// extreme is d = max or min of x and y, NaN if either is. The instruction returns
// its second source if one is NaN, which is right for y; for x it is mended.
func extreme(a *isa, ins string, x, y, d, t int) {
	a.op(ins, y, x, d)
	if a.w == 16 {
		a.p("VCMPPS $3, %s, %s, K2", a.v(x), a.v(x))
		a.p("VMOVAPS %s, K2, %s", a.v(x), a.v(d))
		return
	}
	a.p("VCMPPS $3, %s, %s, %s", a.v(x), a.v(x), a.v(t))
	a.op("VBLENDVPS", t, x, d, d)
}

// binary prints one form of a binary operation: 0 both vectors, 1 A a scalar,
// 2 B a scalar. f computes d from x and y and may use t.
func binary(a *isa, name string, form int, f func(x, y, d, t int)) {
	a.begin(name, "DAB")
	a.rows("DAB", func() {
		x, y := -1, -1
		if form == 1 {
			x = 13
			a.p("VBROADCASTSS (SI), %s", a.v(x))
		}
		if form == 2 {
			y = 13
			a.p("VBROADCASTSS (DX), %s", a.v(y))
		}
		unroll := 4
		if a.w == 8 {
			unroll = 3 // three registers each, and two are taken
		}
		a.columns(unroll, func(vectors int, masked bool) {
			for u := range vectors {
				x, y := x, y
				if x < 0 {
					x = 3 * u
					a.load('A', u, x, masked)
				}
				if y < 0 {
					y = 3*u + 1
					a.load('B', u, y, masked)
				}
				f(x, y, 3*u+2, 12)
				a.store(u, 3*u+2, masked)
			}
		})
	})
	a.end()
}

func unary(a *isa, name string, unroll int, f func(x int) int) {
	a.begin(name, "DA")
	a.rows("DA", func() {
		a.columns(unroll, func(vectors int, masked bool) {
			regs := 2
			if unroll < 4 {
				regs = 7
			}
			if unroll == 1 {
				regs = 0
			}
			for u := range vectors {
				a.load('A', u, regs*u, masked)
				a.store(u, f(regs*u), masked)
			}
		})
	})
	a.end()
}

// compare writes bytes. AVX2 has no masks for bytes: there the length must be a
// multiple of a vector, and the caller does the rest.
func compare(a *isa, name string, form, imm int) {
	a.begin(name, "DAB")
	a.setBits(0x01010101, 14)
	a.rows("DAB", func() {
		x, y := 0, 1
		if form == 1 {
			x = 13
			a.p("VBROADCASTSS (SI), %s", a.v(13))
		}
		if form == 2 {
			y = 13
			a.p("VBROADCASTSS (DX), %s", a.v(13))
		}
		a.columns(1, func(_ int, masked bool) {
			if masked && a.w == 8 {
				return
			}
			if form != 1 {
				a.load('A', 0, x, masked)
			}
			if form != 2 {
				a.load('B', 0, y, masked)
			}
			if a.w == 8 {
				a.p("VCMPPS $%d, Y%d, Y%d, Y2", imm, y, x)
				a.p("VEXTRACTI128 $1, Y2, X3")
				a.p("VPACKSSDW X3, X2, X2")
				a.p("VPACKSSWB X2, X2, X2")
				a.p("VPAND X14, X2, X2")
				a.p("VMOVQ X2, (DI)(BX*1)")
				return
			}
			a.p("VCMPPS $%d, Z%d, Z%d, K2", imm, y, x)
			a.p("VMOVDQU8.Z X14, K2, X2")
			if masked {
				a.p("VMOVDQU8 X2, K1, (DI)(BX*1)")
			} else {
				a.p("VMOVDQU X2, (DI)(BX*1)")
			}
		})
	})
	a.end()
}

// choose is Select with the condition in A; form says which of B and C are scalars.
// With AVX2 the length must be a multiple of a vector, as for compare.
func choose(a *isa, name string, form int) {
	a.begin(name, "DABC")
	a.rows("DABC", func() {
		if form&1 != 0 {
			a.p("VBROADCASTSS (DX), %s", a.v(1))
		}
		if form&2 != 0 {
			a.p("VBROADCASTSS (R8), %s", a.v(2))
		}
		if a.w == 8 {
			a.p("VPXOR Y5, Y5, Y5")
		}
		a.columns(1, func(_ int, masked bool) {
			if a.w == 8 {
				if masked {
					return
				}
				a.p("VPMOVZXBD (SI)(BX*1), Y0")
				a.p("VPCMPGTD Y5, Y0, Y0")
				if form&1 == 0 {
					a.load('B', 0, 1, false)
				}
				if form&2 == 0 {
					a.load('C', 0, 2, false)
				}
				a.p("VBLENDVPS Y0, Y1, Y2, Y3")
				a.store(0, 3, false)
				return
			}
			if masked {
				a.p("VMOVDQU8.Z (SI)(BX*1), K1, X0")
			} else {
				a.p("VMOVDQU (SI)(BX*1), X0")
			}
			a.p("VPTESTMB X0, X0, K2")
			if form&1 == 0 {
				a.load('B', 0, 1, masked)
			}
			if form&2 == 0 {
				a.load('C', 0, 2, masked)
			}
			a.p("VBLENDMPS Z1, Z2, K2, Z3")
			a.store(0, 3, masked)
		})
	})
	a.end()
}

// gather is Move of 4-byte elements to where they are adjacent.
func gather(a *isa) {
	a.begin("gather", "DA")
	a.p("MOVQ 88(AX), R11")
	a.p("VMOVQ R11, X4")
	a.p("VPBROADCASTD X4, %s", a.v(4))
	a.p("VPMULLD lanes%s<>(SB), %s, %s", a.suffix(), a.v(4), a.v(4))
	a.p("IMULQ $%d, R11", a.w)
	a.rows("DA", func() {
		a.p("MOVQ SI, R8")
		a.columns(1, func(_ int, masked bool) {
			switch {
			case a.w == 16:
				if masked {
					a.p("KMOVW K1, K2")
				} else {
					a.p("KXNORW K2, K2, K2")
				}
				a.p("VGATHERDPS (R8)(Z4*1), K2, Z0")
			default:
				if masked {
					a.p("VMOVAPS Y15, Y2")
				} else {
					a.p("VPCMPEQD Y2, Y2, Y2")
				}
				a.p("VGATHERDPS Y2, (R8)(Y4*1), Y0")
			}
			a.store(0, 0, masked)
			a.p("ADDQ R11, R8")
		})
	})
	a.end()
}

func boolToFloat(a *isa) {
	a.begin("byteToFloat", "DA")
	a.rows("DA", func() {
		a.columns(1, func(_ int, masked bool) {
			if masked {
				a.p("VMOVDQU8.Z (SI)(BX*1), K1, X0")
			} else {
				a.p("VMOVDQU (SI)(BX*1), X0")
			}
			a.p("VPMOVZXBD X0, Z0")
			a.p("VCVTDQ2PS Z0, Z0")
			a.store(0, 0, masked)
		})
	})
	a.end()
}

var expPoly = []float64{0.0013949782587587833, 0.008375970646739006, 0.04166619852185249, 0.16666404902935028, 0.5, 1, 1}
var logPoly = []float64{-0.052780695259571075, 0.11015022546052933, -0.13075661659240723, 0.14371387660503387, -0.16647514700889587, 0.19997148215770721, -0.25000178813934326, 0.33333346247673035}
var tanhPoly = []float64{-0.0066309962421655655, 0.021320771425962448, -0.05391135811805725, 0.13333123922348022, -0.3333333134651184}

// erf(x)/x - 1 in x², on |x| ≤ 1; the best polynomials in the sense of Remez.
var erfNear = []float64{7.8891231832952e-05, -0.0008020842373901771, 0.005189535462212088, -0.026854444655481213, 0.11283600177745412, -0.3761262713609387, 0.1283791659137692}

// -log(1 - erf(x)) on 1 ≤ x ≤ 4, weighted by 1 - erf(x).
var erfFar = []float64{-0.00018557393399485514, 0.0029396065635186167, -0.021805315392355706, 0.10303736268531559, 0.638225684140127, 1.1270400319476672, 0.0003537204703145669}

// horner evaluates a polynomial in x into p.
func horner(a *isa, c []float64, x, p int) {
	a.set(c[0], p)
	for _, c := range c[1:] {
		a.opc("VFMADD213PS", c, x, p)
	}
}

// exp is d = e^x; x and the temporaries t and u are destroyed. x is clamped to
// where the result is an infinity or zero; the bound is the first source, so that
// NaN passes. With n the multiple of log 2 next to x, what is left is at most
// 0.35 and a polynomial of degree 6 does it. The power of 2 is put on in two steps
// where there is no instruction for it, so that subnormal results come out right.
func exp(a *isa, x, d, t, u int) {
	a.set(88.8, t)
	a.op("VMINPS", x, t, x)
	a.set(-104, t)
	a.op("VMAXPS", x, t, x)
	a.opc("VMULPS", math.Log2E, x, t)
	round(a, 0, t, t)
	a.opc("VFNMADD231PS", 0.693359375, t, x)
	a.opc("VFNMADD231PS", -2.12194440e-4, t, x)
	horner(a, expPoly, x, d)
	if a.w == 16 {
		a.op("VSCALEFPS", t, d, d)
		return
	}
	a.op("VCVTPS2DQ", t, t)
	a.p("VPSRAD $1, %s, %s", a.v(t), a.v(u))
	a.op("VPSUBD", u, t, t)
	for _, r := range []int{u, t} {
		a.opb("VPADDD", 127, r, r)
		a.p("VPSLLD $23, %s, %s", a.v(r), a.v(r))
		a.op("VMULPS", r, d, d)
	}
}

// logarithm is x+1 = log x. With x = m·2^e and m in [3/4, 3/2), log m is a
// polynomial in m-1.
func logarithm(a *isa, x int) {
	d, e, m, t := x+1, x+2, x+3, x+4
	if a.w == 16 {
		// The exponent belongs to a fraction in [1, 2); one below 1 is half of it.
		// Both instructions know about subnormals, and log 0 is their e = -∞.
		a.op("VGETEXPPS", x, e)
		a.p("VGETMANTPS $11, %s, %s", a.v(x), a.v(m))
		less(a, m, 1, t)
		a.p("VADDPS %s, %s, K2, %s", a.v(t), a.v(e), a.v(e))
	} else {
		k := x + 5
		a.set(0, k)
		a.set(1.1754944e-38, t)
		a.p("VCMPPS $1, %s, %s, %s", a.v(t), a.v(x), a.v(t)) // x < least normal number
		a.opc("VMULPS", 1<<23, x, m)
		a.op("VBLENDVPS", t, m, x, m)
		a.opc("VANDPS", 23, t, k)
		a.opb("VPSUBD", 0x3f400000, m, m)
		a.p("VPSRAD $23, %s, %s", a.v(m), a.v(e))
		a.op("VCVTDQ2PS", e, e)
		a.op("VSUBPS", k, e, e)
		a.opb("VANDPS", 0x7fffff, m, m)
		a.opb("VPADDD", 0x3f400000, m, m)
	}
	a.opc("VSUBPS", 1, m, m)
	horner(a, logPoly, m, d)
	a.op("VMULPS", m, m, t)
	a.op("VMULPS", m, d, d)
	a.opc("VADDPS", -0.5, d, d)
	a.op("VFMADD213PS", m, t, d) // d·t + m
	a.opc("VFMADD231PS", math.Ln2, e, d)
	if a.w == 8 {
		a.set(math.Inf(1), t)
		a.p("VCMPPS $0, %s, %s, %s", a.v(t), a.v(x), a.v(e)) // ∞
		a.op("VBLENDVPS", e, t, d, d)
		a.op("VXORPS", t, t, t)
		a.p("VCMPPS $9, %s, %s, %s", a.v(t), a.v(x), a.v(e)) // not ≥ 0
		a.setBits(nanBits, m)
		a.op("VBLENDVPS", e, m, d, d)
		a.p("VCMPPS $0, %s, %s, %s", a.v(t), a.v(x), a.v(e)) // zero
		a.set(math.Inf(-1), m)
		a.op("VBLENDVPS", e, m, d, d)
	}
}

// less sets the lanes where r < c, in mask register K2 or vector register t.
func less(a *isa, r int, c float64, t int) {
	if a.w == 16 {
		a.p("VBROADCASTSS k%08x%s<>(SB), %s", math.Float32bits(float32(c)), a.suffix(), a.v(t))
		a.consts[math.Float32bits(float32(c))] = true
		a.p("VCMPPS $1, %s, %s, K2", a.v(t), a.v(r))
		return
	}
	a.set(c, t)
	a.p("VCMPPS $1, %s, %s, %s", a.v(t), a.v(r), a.v(t))
}

// take is d = y in the lanes that less found.
func take(a *isa, y, d, t int) {
	if a.w == 16 {
		a.p("VMOVAPS %s, K2, %s", a.v(y), a.v(d))
		return
	}
	a.op("VBLENDVPS", t, y, d, d)
}

// signed gives d, which is not negative, the sign of x.
func signed(a *isa, x, d, t int) {
	a.opb("VANDPS", signBit, x, t)
	a.op("VORPS", t, d, d)
}

// tanh: an odd polynomial below 1/2, above it (1-q)/(1+q) with q = e^(-2|x|).
func tanh(a *isa, x int) {
	d, y, t, u, q, z := x+1, x+2, x+3, x+4, x+5, x+6
	a.opb("VANDPS", absBits, x, y)
	a.opc("VMULPS", -2, y, t)
	exp(a, t, q, u, z)
	a.opc("VADDPS", 1, q, u)
	a.set(1, d)
	a.op("VSUBPS", q, d, d)
	a.op("VDIVPS", u, d, d)
	a.op("VMULPS", y, y, t)
	horner(a, tanhPoly, t, z)
	a.op("VMULPS", t, z, z)
	a.op("VFMADD213PS", y, y, z)
	less(a, y, 0.5, t)
	take(a, z, d, t)
	signed(a, x, d, t)
}

// logistic: with q = e^-|x| it is 1/(1+q), or q/(1+q) for negative x, so that
// small results keep all their digits.
func logistic(a *isa, x int) {
	d, y, t, u, q := x+1, x+2, x+3, x+4, x+5
	a.opb("VORPS", signBit, x, y)
	exp(a, y, q, t, u)
	a.opc("VADDPS", 1, q, u)
	a.set(1, d)
	less(a, x, 0, t)
	take(a, q, d, t)
	a.op("VDIVPS", u, d, d)
}

// erf: x·(1 + P(x²)) below 1, above it 1 - e^-Q(|x|).
func erf(a *isa, x int) {
	d, y, t, u, q, z := x+1, x+2, x+3, x+4, x+5, x+6
	a.opb("VANDPS", absBits, x, y)
	a.set(4, t)
	a.op("VMINPS", y, t, t)
	horner(a, erfFar, t, q)
	a.opb("VXORPS", signBit, q, q)
	exp(a, q, z, t, u)
	a.set(1, d)
	a.op("VSUBPS", z, d, d)
	a.op("VMULPS", y, y, t)
	horner(a, erfNear, t, z)
	a.op("VFMADD213PS", y, y, z)
	less(a, y, 1, t)
	take(a, z, d, t)
	signed(a, x, d, t)
}

// fold combines all lanes of register r into each of them, in a tree.
func fold(a *isa, r, t int, op func(x, y, d int)) {
	if a.w == 16 {
		a.p("VSHUFF32X4 $0x4e, Z%d, Z%d, Z%d", r, r, t)
		op(r, t, r)
		a.p("VSHUFF32X4 $0xb1, Z%d, Z%d, Z%d", r, r, t)
		op(r, t, r)
	} else {
		a.p("VPERM2F128 $1, Y%d, Y%d, Y%d", r, r, t)
		op(r, t, r)
	}
	for _, imm := range []int{0x4e, 0xb1} {
		a.p("VPERMILPS $%d, %s, %s", imm, a.v(r), a.v(t))
		op(r, t, r)
	}
}

// rowReduce keeps four accumulators and adds them up in a tree at the end. A
// maximum or minimum with NaN leaves the other operand in its accumulator, so NaN
// is watched for separately, in K3 or register 12.
func rowReduce(a *isa, name, ins string, id uint32) {
	watch := ins != "VADDPS"
	see := func(r int) {
		switch {
		case !watch:
		case a.w == 16:
			a.p("VCMPPS $3, Z%d, Z%d, K2", r, r)
			a.p("KORW K2, K3, K3")
		default:
			a.p("VCMPPS $3, Y%d, Y%d, Y11", r, r)
			a.p("VORPS Y11, Y12, Y12")
		}
	}
	a.begin(name, "DA")
	a.rows("DA", func() {
		for r := range 4 {
			a.setBits(id, r)
		}
		if watch {
			if a.w == 16 {
				a.p("KXORW K3, K3, K3")
			} else {
				a.p("VXORPS Y12, Y12, Y12")
			}
		}
		a.columns(4, func(vectors int, masked bool) {
			for u := range vectors {
				switch {
				case !masked:
					a.load('A', u, 4+u, false)
				case a.w == 16:
					a.setBits(id, 4)
					a.p("VMOVUPS %s, K1, Z4", a.addr('A', 0, 4))
				default:
					a.load('A', 0, 4, true)
					a.setBits(id, 5)
					a.op("VBLENDVPS", maskReg, 4, 5, 4)
				}
				see(4 + u)
				a.op(ins, 4+u, u, u)
			}
		})
		a.op(ins, 1, 0, 0)
		a.op(ins, 3, 2, 2)
		a.op(ins, 2, 0, 0)
		fold(a, 0, 1, func(x, y, d int) { a.op(ins, y, x, d) })
		a.p("VBROADCASTSS (DI), %s", a.v(1))
		see(1)
		a.op(ins, 0, 1, 0)
		a.p("VMOVSS X0, (DI)")
		if watch {
			ok := a.label("ok")
			if a.w == 16 {
				a.p("KORTESTW K3, K3")
			} else {
				a.p("VTESTPS Y12, Y12")
			}
			a.p("JZ %s", ok)
			a.p("MOVL $0x%08x, (DI)", nanBits)
			a.b.WriteString(ok + ":\n")
		}
	})
	a.end()
}

// colReduce goes down the rows with four vectors of columns at a time.
func colReduce(a *isa, name, ins string) {
	op := func(x, y, d, t int) {
		if ins == "VADDPS" {
			a.op(ins, y, x, d)
		} else {
			extreme(a, ins, x, y, d, t)
		}
	}
	a.begin(name, "DA")
	done := a.label("done")
	a.p("TESTQ R13, R13")
	a.p("JLE %s", done)
	a.columns(4, func(vectors int, masked bool) {
		load := func(u, r int) {
			// The rows are walked by a pointer of their own, R8.
			m := "(R8)"
			if u > 0 {
				m = []string{"", "64(R8)", "128(R8)", "192(R8)"}[u]
				if a.w == 8 {
					m = []string{"", "32(R8)", "64(R8)", "96(R8)"}[u]
				}
			}
			switch {
			case !masked:
				a.p("VMOVUPS %s, %s", m, a.v(r))
			case a.w == 16:
				a.p("VMOVUPS.Z %s, K1, %s", m, a.v(r))
			default:
				a.p("VMASKMOVPS %s, Y%d, %s", m, maskReg, a.v(r))
			}
		}
		a.p("LEAQ (SI)(BX*4), R8")
		a.p("MOVQ R13, R11")
		for u := range vectors {
			load(u, u)
		}
		row, last := a.label("row"), a.label("last")
		a.p("DECQ R11")
		a.p("JZ %s", last)
		a.b.WriteString(row + ":\n")
		a.p("ADDQ R10, R8")
		for u := range vectors {
			load(u, 4+u)
			op(u, 4+u, 8, 9)
			a.op("VMOVAPS", 8, u)
		}
		a.p("DECQ R11")
		a.p("JNZ %s", row)
		a.b.WriteString(last + ":\n")
		for u := range vectors {
			a.load('D', u, 4, masked)
			op(4, u, 8, 9)
			a.store(u, 8, masked)
		}
	})
	a.b.WriteString(done + ":\n")
	a.end()
}

// roundBF16 rounds to the values of bfloat16, ties to even; NaN stays, quiet.
func roundBF16(a *isa, x, d int) {
	t := 14
	a.p("VPSRLD $16, %s, %s", a.v(x), a.v(d))
	a.opb("VANDPS", 1, d, d)
	a.opb("VPADDD", 0x7fff, d, d)
	a.op("VPADDD", d, x, d)
	nan := func(y int) {
		if a.w == 16 {
			a.p("VCMPPS $3, Z%d, Z%d, K2", x, x)
			a.p("VMOVAPS Z%d, K2, Z%d", y, d)
		} else {
			a.p("VCMPPS $3, Y%d, Y%d, Y13", x, x)
			a.op("VBLENDVPS", 13, y, d, d)
		}
	}
	a.opb("VORPS", 0x400000, x, t)
	nan(t)
	a.opb("VANDPS", 0xffff0000, d, d)
}

// widenBF16 and narrowBF16 convert between memory and registers. They read and
// write 2-byte elements, which only AVX-512 can mask, so the AVX2 versions take
// whole vectors and leave the rest to Go.
func widenBF16(a *isa) {
	if a.w == 8 {
		return
	}
	a.begin("bf16ToFloat", "DA")
	a.rows("DA", func() {
		a.columns(1, func(_ int, masked bool) {
			load16(a, masked)
			a.p("VPMOVZXWD Y0, Z0")
			a.p("VPSLLD $16, Z0, Z0")
			a.store(0, 0, masked)
		})
	})
	a.end()
}

func narrowBF16(a *isa) {
	if a.w == 8 {
		return
	}
	a.begin("floatToBF16", "DA")
	a.rows("DA", func() {
		a.columns(1, func(_ int, masked bool) {
			a.load('A', 0, 0, masked)
			roundBF16(a, 0, 1)
			a.p("VPSRLD $16, Z1, Z1")
			a.p("VPMOVDW Z1, Y1")
			store16(a, masked)
		})
	})
	a.end()
}

// halves converts binary16, for which there are instructions.
func halves(a *isa) {
	if a.w == 8 {
		return
	}
	a.begin("f16ToFloat", "DA")
	a.rows("DA", func() {
		a.columns(1, func(_ int, masked bool) {
			load16(a, masked)
			a.p("VCVTPH2PS Y0, Z0")
			a.store(0, 0, masked)
		})
	})
	a.end()
	a.begin("floatToF16", "DA")
	a.rows("DA", func() {
		a.columns(1, func(_ int, masked bool) {
			a.load('A', 0, 0, masked)
			a.p("VCVTPS2PH $0, Z0, Y1")
			store16(a, masked)
		})
	})
	a.end()
	unary(a, "roundF16", 1, func(x int) int {
		a.p("VCVTPS2PH $0, Z0, Y1")
		a.p("VCVTPH2PS Y1, Z1")
		return 1
	})
}

func load16(a *isa, masked bool) {
	if masked {
		a.p("VMOVDQU16.Z (SI)(BX*2), K1, Y0")
	} else {
		a.p("VMOVDQU (SI)(BX*2), Y0")
	}
}

func store16(a *isa, masked bool) {
	if masked {
		a.p("VMOVDQU16 Y1, K1, (DI)(BX*2)")
	} else {
		a.p("VMOVDQU Y1, (DI)(BX*2)")
	}
}

// pairs loads the 2·w floats at m, or as many as pairMask has said, into registers
// lo and hi. Without the last, the float behind the last even one is not touched.
func pairs(a *isa, m string, lo, hi int, last, masked bool) {
	next := strings.Replace(m, "(", fmt.Sprintf("%d(", 4*a.w), 1)
	switch {
	case masked && a.w == 16:
		a.p("VMOVUPS.Z %s, K4, Z%d", m, lo)
		a.p("VMOVUPS.Z %s, K5, Z%d", next, hi)
	case masked:
		a.p("VMASKMOVPS %s, Y12, Y%d", m, lo)
		a.p("VMASKMOVPS %s, Y13, Y%d", next, hi)
	case last:
		a.p("VMOVUPS %s, %s", m, a.v(lo))
		a.p("VMOVUPS %s, %s", next, a.v(hi))
	case a.w == 16:
		a.p("VMOVUPS %s, Z%d", m, lo)
		a.p("VMOVUPS.Z %s, K6, Z%d", next, hi)
	default:
		a.p("VMOVUPS %s, Y%d", m, lo)
		a.p("VMASKMOVPS %s, Y14, Y%d", next, hi)
	}
}

// allButLast makes the mask of pairs for a whole vector without the last float.
func allButLast(a *isa) {
	if a.w == 16 {
		a.p("MOVL $0x7fff, R15")
		a.p("KMOVW R15, K6")
		return
	}
	a.p("VMOVDQU tailavx2<>+36(SB), Y14")
}

// pairMask makes the masks of pairs for the elements that are left: twice as many
// floats as mask has counted, the last of them or not.
func pairMask(a *isa, last bool) {
	less := 1
	if last {
		less = 0
	}
	if a.w == 16 {
		a.p("LEAQ -%d(CX)(CX*1), CX", less)
		a.p("MOVL $1, R15")
		a.p("SHLL CX, R15")
		a.p("DECL R15")
		a.p("KMOVW R15, K4")
		a.p("SHRL $16, R15")
		a.p("KMOVW R15, K5")
		return
	}
	a.p("LEAQ %d(CX)(CX*1), CX", less) // CX counts down from zero here
	a.p("VMOVDQU (R15)(CX*4), Y12")
	a.p("VMOVDQU 32(R15)(CX*4), Y13")
}

// window combines the taps of windows that lie step floats apart: taps are byte
// offsets in B, DstCol of them. A sum begins with the element at C; a position is
// counted from C.
func window(a *isa, op string, step int) {
	const best, v, t, pos, at, lanes, start, evens = 0, 1, 2, 3, 4, 11, 10, 9
	a.begin(fmt.Sprintf("window%s%d", op, step), "DA")
	a.p("MOVQ 16(AX), DX")
	switch op {
	case "Sum":
		a.p("MOVQ 24(AX), R8")
		a.p("VBROADCASTSS (R8), %s", a.v(start))
	case "ArgMax":
		a.p("MOVQ 24(AX), R8")
		a.p("VMOVUPS %s%s<>(SB), %s", []string{"lanes", "evens"}[step-1], a.suffix(), a.v(lanes))
	}
	if step == 2 {
		allButLast(a)
		if a.w == 16 {
			a.p("VMOVUPS evensavx512<>(SB), Z%d", evens)
		}
	}
	a.rows("DA", func() {
		a.columns(1, func(_ int, masked bool) {
			tap := func(r int) {
				m := "(R12)(R11*1)"
				switch {
				case step == 1 && !masked:
					a.p("VMOVUPS %s, %s", m, a.v(r))
				case step == 1 && a.w == 16:
					a.p("VMOVUPS.Z %s, K1, Z%d", m, r)
				case step == 1:
					a.p("VMASKMOVPS %s, Y%d, Y%d", m, maskReg, r)
				case a.w == 16:
					pairs(a, m, r, t, false, masked)
					a.p("VPERMT2PS Z%d, Z%d, Z%d", t, evens, r)
				default:
					pairs(a, m, r, t, false, masked)
					a.p("VSHUFPS $0x88, Y%d, Y%d, Y%d", t, r, r)
					a.p("VPERMPD $0xd8, Y%d, Y%d", r, r)
				}
			}
			place := func(r int) {
				a.p("ADDQ R12, R11")
				a.p("SUBQ R8, R11")
				a.p("SHRQ $2, R11")
				if a.w == 16 {
					a.p("VPBROADCASTD R11, Z%d", r)
				} else {
					a.p("VMOVD R11, X%d", r)
					a.p("VPBROADCASTD X%d, Y%d", r, r)
				}
				a.op("VPADDD", lanes, r, r)
			}
			if masked && step == 2 {
				pairMask(a, false)
			}
			a.p("LEAQ (SI)(BX*%d), R12", 4*step)
			a.p("MOVQ (DX), R11")
			tap(best)
			switch op {
			case "Sum":
				a.op("VADDPS", best, start, best)
			case "ArgMax":
				place(pos)
			}
			next, done := a.label("tap"), a.label("taps")
			a.p("MOVQ $1, R14")
			a.p("CMPQ R14, 80(AX)")
			a.p("JGE %s", done)
			fmt.Fprintf(&a.b, "%s:\n", next)
			a.p("MOVQ (DX)(R14*8), R11")
			tap(v)
			switch {
			case op == "Sum":
				a.op("VADDPS", v, best, best)
			case op == "Max": // of equals the first
				extreme(a, "VMAXPS", v, best, t, 8)
				a.op("VMOVAPS", t, best)
			case a.w == 16: // where best is a number, and v is larger or none
				place(at)
				a.p("VCMPPS $7, Z%d, Z%d, K2", best, best)
				a.p("VCMPPS $6, Z%d, Z%d, K2, K3", best, v)
				a.p("VMOVAPS Z%d, K3, Z%d", v, best)
				a.p("VMOVDQA32 Z%d, K3, Z%d", at, pos)
			default:
				place(at)
				a.p("VCMPPS $7, Y%d, Y%d, Y%d", best, best, t)
				a.p("VCMPPS $6, Y%d, Y%d, Y8", best, v)
				a.op("VANDPS", 8, t, t)
				a.op("VBLENDVPS", t, v, best, best)
				a.op("VBLENDVPS", t, at, pos, pos)
			}
			a.p("INCQ R14")
			a.p("CMPQ R14, 80(AX)")
			a.p("JLT %s", next)
			fmt.Fprintf(&a.b, "%s:\n", done)
			if op == "ArgMax" {
				a.store(0, pos, masked)
			} else {
				a.store(0, best, masked)
			}
		})
	})
	a.end()
}

// maxPairs is the maximum of 2×2 elements, the upper ones in A and the lower ones
// in B. It does not depend on their order: NaN if one is, of zeros the positive.
func maxPairs(a *isa) {
	top := func(x, y, d int) {
		if a.w == 16 {
			a.p("VRANGEPS $5, Z%d, Z%d, Z%d", y, x, d)
			a.p("VCMPPS $3, Z%d, Z%d, K2", y, x)
			a.p("VADDPS Z%d, Z%d, K2, Z%d", y, x, d)
			return
		}
		a.op("VMAXPS", y, x, 8)
		a.op("VMAXPS", x, y, d)
		a.op("VANDPS", 8, d, d)
		a.p("VCMPPS $3, Y%d, Y%d, Y8", y, x)
		a.op("VADDPS", y, x, 9)
		a.op("VBLENDVPS", 8, 9, d, d)
	}
	a.begin("maxPairs", "DAB")
	if a.w == 16 {
		a.p("VMOVUPS evensavx512<>(SB), Z10")
		a.p("VMOVUPS oddsavx512<>(SB), Z11")
	}
	a.rows("DAB", func() {
		a.columns(1, func(_ int, masked bool) {
			if masked {
				pairMask(a, true)
			}
			pairs(a, "(SI)(BX*8)", 0, 1, true, masked)
			pairs(a, "(DX)(BX*8)", 2, 3, true, masked)
			top(0, 2, 4)
			top(1, 3, 5)
			if a.w == 16 {
				a.op("VMOVAPS", 4, 6)
				a.op("VPERMT2PS", 5, 10, 4)
				a.op("VPERMT2PS", 5, 11, 6)
				top(4, 6, 0)
			} else {
				a.p("VSHUFPS $0x88, Y5, Y4, Y0")
				a.p("VSHUFPS $0xdd, Y5, Y4, Y1")
				top(0, 1, 2)
				a.p("VPERMPD $0xd8, Y2, Y0")
			}
			a.store(0, 0, masked)
		})
	})
	a.end()
}
