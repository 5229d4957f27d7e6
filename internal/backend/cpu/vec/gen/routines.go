package main

import (
	"fmt"

	. "github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/backend/cpu/simd"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Predicates of VCMPPS.
const (
	unordered = 3
	greater   = 6 // not ≤: greater, or one is NaN
	ordered   = 7
)

func (g *gen) routines() {
	for _, op := range []struct {
		name string
		ins  Op
	}{{"add", VADDPS}, {"sub", VSUBPS}, {"mul", VMULPS}, {"div", VDIVPS}, {"max", VMAXPS}, {"min", VMINPS}} {
		for form := range 3 {
			g.binary(op.name, form, 4, func(x, y, d, t int) { g.combine(op.ins, x, y, d, t) })
		}
	}
	for form := range 3 {
		g.binary("pow", form, 1, func(x, y, d, t int) {
			temps := make([]int, simd.PowTemps)
			for i := range temps {
				temps[i] = t - i
			}
			simd.Pow(g.V, d, x, y, temps)
		})
	}
	for _, op := range []struct {
		name string
		imm  int
	}{{"eq", 0}, {"ne", 4}, {"lt", 1}, {"le", 2}} {
		for form := range 3 {
			g.compare(op.name, form, op.imm)
		}
	}
	for form := range 4 {
		g.choose(form)
	}
	g.boolToFloat()
	g.byteToUnit()
	g.gather()

	for op := range ir.Op(255) {
		if m, ok := simd.Unary[op]; ok {
			g.unary(op.String(), m)
		}
	}
	g.unary("intToFloat", simd.Math{Emit: func(v *simd.V, d, x int, _ []int) { v.Op(VCVTDQ2PS, x, d) }})
	g.unary("roundBF16", simd.Math{Emit: func(v *simd.V, d, x int, _ []int) { v.RoundBF16(x, d, 14, 13) }})
	if g.w == 16 {
		g.unary("roundF16", simd.Math{Emit: func(v *simd.V, d, x int, _ []int) { v.RoundF16(x, d) }})
	}

	for _, op := range []struct {
		name string
		ins  Op
		id   uint32
	}{{"Sum", VADDPS, 0}, {"Max", VMAXPS, 0xff800000}, {"Min", VMINPS, 0x7f800000}} {
		g.rowReduce("row"+op.name, op.ins, op.id)
		g.colReduce("col"+op.name, op.ins)
	}
	g.halves()
	for step := 1; step <= 2; step++ {
		g.window("Sum", step)
		g.window("Max", step)
		g.window("ArgMax", step)
	}
	g.maxPairs()
	g.scale()
	g.softmaxColumns()
	g.softmaxGradColumns()
}

// combine is d = x op y; a maximum or minimum is NaN if either is.
func (g *gen) combine(op Op, x, y, d, t int) {
	switch op {
	case VMAXPS:
		g.Max(x, y, d, t)
	case VMINPS:
		g.Min(x, y, d, t)
	default:
		g.Op(op, y, x, d)
	}
}

// The forms of an operation on two operands, as their names' ends: both vectors, A a
// scalar, B a scalar; and of Select, of B and C, both scalars.
var forms = []string{"VV", "SV", "VS", "SS"}

// binary is one form of a binary operation, up to unroll vectors at a time. f
// computes d from x and y, which are below 3·unroll, and may use what is between
// these and register t, and t.
func (g *gen) binary(name string, form, unroll int, f func(x, y, d, t int)) {
	const scalar, temporary = 13, 12
	if g.w == 8 {
		unroll = min(unroll, 3) // three registers each, and two are taken
	}
	g.routine(name+forms[form], "DAB", func() {
		g.rows("DAB", func() {
			switch form {
			case 1:
				g.Broadcast(Mem{Base: SI}, scalar)
			case 2:
				g.Broadcast(Mem{Base: DX}, scalar)
			}
			g.columns(unroll, func(vectors int, masked bool) {
				for u := range vectors {
					x, y, d := 3*u, 3*u+1, 3*u+2
					if form == 1 {
						x = scalar
					} else {
						g.load('A', u, x, masked)
					}
					if form == 2 {
						y = scalar
					} else {
						g.load('B', u, y, masked)
					}
					f(x, y, d, temporary)
					g.store(u, d, masked)
				}
			})
		})
	})
}

// unary is a function of one operand; the shorter it is, the more vectors are taken
// at a time.
func (g *gen) unary(name string, m simd.Math) {
	unroll := 4
	if m.Temps > 1 {
		unroll = 2
	}
	if m.Temps > 4 {
		unroll = 1
	}
	g.routine(name, "DA", func() {
		g.rows("DA", func() {
			g.columns(unroll, func(vectors int, masked bool) {
				for u := range vectors {
					x := u * (m.Temps + 2)
					t := make([]int, m.Temps)
					for i := range t {
						t[i] = x + 2 + i
					}
					g.load('A', u, x, masked)
					m.Emit(g.V, x+1, x, t)
					g.store(u, x+1, masked)
				}
			})
		})
	})
}

// compare writes bytes. AVX2 has no masks for bytes: there the length must be a
// multiple of a vector, and the caller does the rest.
func (g *gen) compare(name string, form, imm int) {
	const ones = 14
	g.routine(name+forms[form], "DAB", func() {
		g.Set(0x01010101, ones)
		g.rows("DAB", func() {
			x, y := 0, 1
			if form == 1 {
				x = 13
				g.Broadcast(Mem{Base: SI}, x)
			}
			if form == 2 {
				y = 13
				g.Broadcast(Mem{Base: DX}, y)
			}
			g.columns(1, func(_ int, masked bool) {
				if masked && g.W == 8 {
					return
				}
				if form != 1 {
					g.load('A', 0, x, masked)
				}
				if form != 2 {
					g.load('B', 0, y, masked)
				}
				if g.W == 8 {
					g.OpI(VCMPPS, imm, y, x, 2)
					g.I(VEXTRACTI128, Imm(1), Y(2), X(3))
					g.I(VPACKSSDW, X(3), X(2), X(2))
					g.I(VPACKSSWB, X(2), X(2), X(2))
					g.I(VPAND, X(ones), X(2), X(2))
					g.I(VMOVQ, X(2), g.element('D', 0, 1))
					return
				}
				g.I(VCMPPS, Imm(imm), Z(y), Z(x), K(2))
				g.I(VMOVDQU8|Zero, X(ones), K(2), X(2))
				if masked {
					g.I(VMOVDQU8, X(2), K(1), g.element('D', 0, 1))
				} else {
					g.I(VMOVDQU, X(2), g.element('D', 0, 1))
				}
			})
		})
	})
}

// choose is Select with the condition in A; form says which of B and C are scalars.
// With AVX2 the length must be a multiple of a vector, as for compare.
func (g *gen) choose(form int) {
	g.routine("select"+forms[form], "DABC", func() {
		g.rows("DABC", func() {
			if form&1 != 0 {
				g.Broadcast(Mem{Base: DX}, 1)
			}
			if form&2 != 0 {
				g.Broadcast(Mem{Base: R8}, 2)
			}
			if g.W == 8 {
				g.Op(VPXOR, 5, 5, 5)
			}
			g.columns(1, func(_ int, masked bool) {
				if masked && g.W == 8 {
					return
				}
				if g.W == 8 {
					g.OpM(VPMOVZXBD, g.element('A', 0, 1), 0)
					g.Op(VPCMPGTD, 5, 0, 0)
				} else {
					g.loadBytes(0, masked)
					g.I(VPTESTMB, X(0), X(0), K(2))
				}
				if form&1 == 0 {
					g.load('B', 0, 1, masked)
				}
				if form&2 == 0 {
					g.load('C', 0, 2, masked)
				}
				if g.W == 8 {
					g.Op(VBLENDVPS, 0, 1, 2, 3)
				} else {
					g.I(VBLENDMPS, Z(1), Z(2), K(2), Z(3))
				}
				g.store(0, 3, masked)
			})
		})
	})
}

// loadBytes reads 16 bytes of A.
func (g *gen) loadBytes(r int, masked bool) {
	if masked {
		g.I(VMOVDQU8|Zero, g.element('A', 0, 1), K(1), X(r))
	} else {
		g.I(VMOVDQU, g.element('A', 0, 1), X(r))
	}
}

// gather is Move of 4-byte elements to where they are adjacent.
func (g *gen) gather() {
	const offsets = 4
	g.routine("gather", "DA", func() {
		g.I(MOVQ, arg(fieldACol), R11)
		g.I(VMOVQ, R11, X(offsets))
		g.I(VPBROADCASTD, X(offsets), g.Reg(offsets))
		g.OpM(VPMULLD, g.Series(0, 1), offsets, offsets)
		g.I(IMULQ, Imm(g.W), R11)
		g.rows("DA", func() {
			g.I(MOVQ, SI, R8)
			g.columns(1, func(_ int, masked bool) {
				from := at(R8, g.Reg(offsets), 1)
				if g.W == 16 {
					if masked {
						g.I(KMOVW, K(1), K(2))
					} else {
						g.I(KXNORW, K(2), K(2), K(2))
					}
					g.I(VGATHERDPS, from, K(2), Z(0))
				} else {
					if masked {
						g.Op(VMOVAPS, vectorMask, 2)
					} else {
						g.Op(VPCMPEQD, 2, 2, 2)
					}
					g.I(VGATHERDPS, Y(2), from, Y(0))
				}
				g.store(0, 0, masked)
				g.I(ADDQ, R11, R8)
			})
		})
	})
}

func (g *gen) boolToFloat() {
	g.onlyAVX512("byteToFloat", "DA", func() {
		g.rows("DA", func() {
			g.columns(1, func(_ int, masked bool) {
				g.loadBytes(0, masked)
				g.I(VPMOVZXBD, X(0), Z(0))
				g.I(VCVTDQ2PS, Z(0), Z(0))
				g.store(0, 0, masked)
			})
		})
	})
}

// byteToUnit divides bytes by 255: q = b·r with the rounded r = 1/255, and once more what
// is left, b - 255·q, which makes the quotient of every byte the right one.
func (g *gen) byteToUnit() {
	const reciprocal, divisor = 4, 5
	g.routine("byteToUnit", "DA", func() {
		g.SetF(1./255, reciprocal)
		g.SetF(255, divisor)
		g.rows("DA", func() {
			g.columns(1, func(_ int, masked bool) {
				if g.W == 8 {
					g.OpM(VPMOVZXBD, g.element('A', 0, 1), 0)
				} else {
					g.loadBytes(0, masked)
					g.I(VPMOVZXBD, X(0), Z(0))
				}
				g.Op(VCVTDQ2PS, 0, 0)
				g.Op(VMULPS, 0, reciprocal, 1)
				g.Op(VFNMADD231PS, 1, divisor, 0)
				g.Op(VFMADD231PS, 0, reciprocal, 1)
				g.store(0, 1, masked)
			})
		})
	})
}

// rowReduce keeps four accumulators and adds them up in a tree at the end. A
// maximum or minimum with NaN leaves the other operand in its accumulator, so NaN
// is watched for separately, in K3 or register 12.
func (g *gen) rowReduce(name string, op Op, id uint32) {
	watch := op != VADDPS
	see := func(r int) {
		switch {
		case !watch:
		case g.W == 16:
			g.I(VCMPPS, Imm(unordered), Z(r), Z(r), K(2))
			g.I(KORW, K(2), K(3), K(3))
		default:
			g.OpI(VCMPPS, unordered, r, r, 11)
			g.Op(VORPS, 11, 12, 12)
		}
	}
	g.routine(name, "DA", func() {
		g.rows("DA", func() {
			for r := range 4 {
				g.Set(id, r)
			}
			switch {
			case !watch:
			case g.W == 16:
				g.I(KXORW, K(3), K(3), K(3))
			default:
				g.Op(VXORPS, 12, 12, 12)
			}
			g.columns(4, func(vectors int, masked bool) {
				for u := range vectors {
					switch {
					case !masked:
						g.load('A', u, 4+u, false)
					case g.W == 16:
						g.Set(id, 4)
						g.I(VMOVUPS, g.element('A', 0, 4), K(1), Z(4))
					default:
						g.load('A', 0, 4, true)
						g.Set(id, 5)
						g.Op(VBLENDVPS, vectorMask, 4, 5, 4)
					}
					see(4 + u)
					g.Op(op, 4+u, u, u)
				}
			})
			g.Op(op, 1, 0, 0)
			g.Op(op, 3, 2, 2)
			g.Op(op, 2, 0, 0)
			g.Fold(func(x, y, d int) { g.Op(op, y, x, d) }, 0, 1)
			g.Broadcast(Mem{Base: DI}, 1)
			see(1)
			g.Op(op, 0, 1, 0)
			g.I(VMOVSS, X(0), Mem{Base: DI})
			if watch {
				ok := g.NewLabel()
				if g.W == 16 {
					g.I(KORTESTW, K(3), K(3))
				} else {
					g.Op(VTESTPS, 12, 12)
				}
				g.I(JZ, ok)
				g.I(MOVL, Imm(simd.NaN), Mem{Base: DI})
				g.Bind(ok)
			}
		})
	})
}

// colReduce goes down the rows with four vectors of columns at a time.
func (g *gen) colReduce(name string, op Op) {
	g.routine(name, "DA", func() {
		done := g.NewLabel()
		g.I(TESTQ, R13, R13)
		g.I(JLE, done)
		g.columns(4, func(vectors int, masked bool) {
			// The rows are walked by a pointer of their own, R8.
			load := func(u, r int) { g.Load(Mem{Base: R8, Disp: int32(4 * g.W * u)}, r, masked) }
			g.I(LEAQ, at(SI, BX, 4), R8)
			g.I(MOVQ, R13, R11)
			for u := range vectors {
				load(u, u)
			}
			row, last := g.NewLabel(), g.NewLabel()
			g.I(DECQ, R11)
			g.I(JZ, last)
			g.Bind(row)
			g.I(ADDQ, R10, R8)
			for u := range vectors {
				load(u, 4+u)
				g.combine(op, u, 4+u, 8, 9)
				g.Op(VMOVAPS, 8, u)
			}
			g.I(DECQ, R11)
			g.I(JNZ, row)
			g.Bind(last)
			for u := range vectors {
				g.load('D', u, 4, masked)
				g.combine(op, 4, u, 8, 9)
				g.store(u, 8, masked)
			}
		})
		g.Bind(done)
	})
}

// halves converts between memory of 2-byte elements and float32.
func (g *gen) halves() {
	load := func(masked bool) {
		if masked {
			g.I(VMOVDQU16|Zero, g.element('A', 0, 2), K(1), Y(0))
		} else {
			g.I(VMOVDQU, g.element('A', 0, 2), Y(0))
		}
	}
	convert := func(name string, widen bool, f func()) {
		g.onlyAVX512(name, "DA", func() {
			g.rows("DA", func() {
				g.columns(1, func(_ int, masked bool) {
					if widen {
						load(masked)
						f()
						g.store(0, 0, masked)
						return
					}
					g.load('A', 0, 0, masked)
					f()
					if masked {
						g.I(VMOVDQU16, Y(1), K(1), g.element('D', 0, 2))
					} else {
						g.I(VMOVDQU, Y(1), g.element('D', 0, 2))
					}
				})
			})
		})
	}
	convert("bf16ToFloat", true, func() {
		g.I(VPMOVZXWD, Y(0), Z(0))
		g.OpI(VPSLLD, 16, 0, 0)
	})
	convert("floatToBF16", false, func() {
		g.RoundBF16(0, 1, 14, 13)
		g.OpI(VPSRLD, 16, 1, 1)
		g.I(VPMOVDW, Z(1), Y(1))
	})
	convert("f16ToFloat", true, func() { g.I(VCVTPH2PS, Y(0), Z(0)) })
	convert("floatToF16", false, func() { g.I(VCVTPS2PH, Imm(0), Z(0), Y(1)) })
}

// pairs loads the 2·W floats at m, or as many as pairMask has said, into registers
// lo and hi. Without the last, the float behind the last even one is not touched.
func (g *gen) pairs(m Mem, lo, hi int, last, masked bool) {
	next := m
	next.Disp += int32(4 * g.W)
	load := func(m Mem, r int, k Reg, mask int) {
		if g.W == 16 {
			g.I(VMOVUPS|Zero, m, k, Z(r))
		} else {
			g.OpM(VMASKMOVPS, m, mask, r)
		}
	}
	if masked {
		load(m, lo, K(4), 12)
		load(next, hi, K(5), 13)
		return
	}
	g.Load(m, lo, false)
	if last {
		g.Load(next, hi, false)
	} else {
		load(next, hi, K(6), 14)
	}
}

// allButLast makes the mask of pairs for a whole vector without the last float.
func (g *gen) allButLast() {
	if g.W == 16 {
		g.I(MOVL, Imm(0x7fff), R15)
		g.I(KMOVW, R15, K(6))
		return
	}
	seven := g.Tail()
	seven.Disp -= 4 * 7
	g.OpM(VMOVDQU, seven, 14)
}

// pairMask makes the masks of pairs for the elements that are left: twice as many
// floats as mask has counted, the last of them or not. (simd.V.Mask has counted CX
// down from zero for AVX2, and keeps the middle of its table in R15.)
func (g *gen) pairMask(last bool) {
	less := int32(1)
	if last {
		less = 0
	}
	twice := at(CX, CX, 1)
	if g.W == 16 {
		twice.Disp = -less
		g.I(LEAQ, twice, CX)
		g.I(MOVL, Imm(1), R15)
		g.I(SHLL, CX, R15)
		g.I(DECL, R15)
		g.I(KMOVW, R15, K(4))
		g.I(SHRL, Imm(16), R15)
		g.I(KMOVW, R15, K(5))
		return
	}
	twice.Disp = less
	g.I(LEAQ, twice, CX)
	table := at(R15, CX, 4)
	g.OpM(VMOVDQU, table, 12)
	table.Disp = 32
	g.OpM(VMOVDQU, table, 13)
}

// window combines the taps of windows that lie step floats apart: taps are byte
// offsets in B, DstCol of them. A sum begins with the element at C; a position is
// counted from C.
func (g *gen) window(op string, step int) {
	const best, v, t, pos, place, u, evens, start, lanes = 0, 1, 2, 3, 4, 8, 9, 10, 11
	taps := arg(fieldDstC)
	g.routine(fmt.Sprintf("window%s%d", op, step), "DA", func() {
		g.I(MOVQ, arg(field['B']), DX)
		switch op {
		case "Sum":
			g.I(MOVQ, arg(field['C']), R8)
			g.Broadcast(Mem{Base: R8}, start)
		case "ArgMax":
			g.I(MOVQ, arg(field['C']), R8)
			g.Load(g.Series(0, step), lanes, false)
		}
		if step == 2 {
			g.allButLast()
			if g.W == 16 {
				g.Load(g.Series(0, 2), evens, false)
			}
		}
		g.rows("DA", func() {
			g.columns(1, func(_ int, masked bool) {
				tap := func(r int) {
					m := at(R12, R11, 1)
					switch {
					case step == 1:
						g.Load(m, r, masked)
					case g.W == 16:
						g.pairs(m, r, t, false, masked)
						g.Op(VPERMT2PS, t, evens, r)
					default:
						g.pairs(m, r, t, false, masked)
						g.OpI(VSHUFPS, 0x88, t, r, r)
						g.OpI(VPERMPD, 0xd8, r, r)
					}
				}
				number := func(r int) {
					g.I(ADDQ, R12, R11)
					g.I(SUBQ, R8, R11)
					g.I(SHRQ, Imm(2), R11)
					g.I(VMOVQ, R11, X(r))
					g.I(VPBROADCASTD, X(r), g.Reg(r))
					g.Op(VPADDD, lanes, r, r)
				}
				if masked && step == 2 {
					g.pairMask(false)
				}
				g.I(LEAQ, at(SI, BX, uint8(4*step)), R12)
				g.I(MOVQ, Mem{Base: DX}, R11)
				tap(best)
				switch op {
				case "Sum":
					g.Op(VADDPS, best, start, best)
				case "ArgMax":
					number(pos)
				}
				next, done := g.NewLabel(), g.NewLabel()
				g.I(MOVQ, Imm(1), R14)
				g.I(CMPQ, R14, taps)
				g.I(JGE, done)
				g.Bind(next)
				g.I(MOVQ, at(DX, R14, 8), R11)
				tap(v)
				switch {
				case op == "Sum":
					g.Op(VADDPS, v, best, best)
				case op == "Max": // of equals the first
					g.Max(v, best, t, u)
					g.Op(VMOVAPS, t, best)
				case g.W == 16: // where best is a number, and v is larger or none
					number(place)
					g.I(VCMPPS, Imm(ordered), Z(best), Z(best), K(2))
					g.I(VCMPPS, Imm(greater), Z(best), Z(v), K(2), K(3))
					g.I(VMOVAPS, Z(v), K(3), Z(best))
					g.I(VMOVDQA32, Z(place), K(3), Z(pos))
				default:
					number(place)
					g.OpI(VCMPPS, ordered, best, best, t)
					g.OpI(VCMPPS, greater, best, v, u)
					g.Op(VANDPS, u, t, t)
					g.Op(VBLENDVPS, t, v, best, best)
					g.Op(VBLENDVPS, t, place, pos, pos)
				}
				g.I(INCQ, R14)
				g.I(CMPQ, R14, taps)
				g.I(JLT, next)
				g.Bind(done)
				if op == "ArgMax" {
					g.store(0, pos, masked)
				} else {
					g.store(0, best, masked)
				}
			})
		})
	})
}

// maxPairs is the maximum of 2×2 elements, the upper ones in A and the lower ones
// in B. It does not depend on their order: NaN if one is, of zeros the positive.
func (g *gen) maxPairs() {
	top := func(x, y, d int) {
		if g.W == 16 {
			g.OpI(VRANGEPS, 5, y, x, d)
			g.I(VCMPPS, Imm(unordered), Z(y), Z(x), K(2))
			g.I(VADDPS, Z(y), Z(x), K(2), Z(d))
			return
		}
		g.Op(VMAXPS, y, x, 8)
		g.Op(VMAXPS, x, y, d)
		g.Op(VANDPS, 8, d, d)
		g.OpI(VCMPPS, unordered, y, x, 8)
		g.Op(VADDPS, y, x, 9)
		g.Op(VBLENDVPS, 8, 9, d, d)
	}
	const evens, odds = 10, 11
	g.routine("maxPairs", "DAB", func() {
		if g.W == 16 {
			g.Load(g.Series(0, 2), evens, false)
			g.Load(g.Series(1, 2), odds, false)
		}
		g.rows("DAB", func() {
			g.columns(1, func(_ int, masked bool) {
				if masked {
					g.pairMask(true)
				}
				g.pairs(at(SI, BX, 8), 0, 1, true, masked)
				g.pairs(at(DX, BX, 8), 2, 3, true, masked)
				top(0, 2, 4)
				top(1, 3, 5)
				if g.W == 16 {
					g.Op(VMOVAPS, 4, 6)
					g.Op(VPERMT2PS, 5, evens, 4)
					g.Op(VPERMT2PS, 5, odds, 6)
					top(4, 6, 0)
				} else {
					g.OpI(VSHUFPS, 0x88, 5, 4, 0)
					g.OpI(VSHUFPS, 0xdd, 5, 4, 1)
					top(0, 1, 2)
					g.OpI(VPERMPD, 0xd8, 2, 0)
				}
				g.store(0, 0, masked)
			})
		})
	})
}
