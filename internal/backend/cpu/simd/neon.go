package simd

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/backend/cpu/neon"
	"github.com/sinter-dl/sinter/internal/ir"
)

// With vectors of 4 lanes a V is for arm64: what follows says the instructions of AVX
// that the functions are made of in those of NEON. They compute the same bits. Only
// Op, OpI, OpC and what is made of them can be used, and not registers 30 and 31.
//
// What computes in float64 or gathers there is not: Pow, and what NotNEON lists.

// NotNEON is what Unary has for AVX only.
var NotNEON = []ir.Op{ir.Sin, ir.Cos}

const (
	scratch  = 31
	constant = 30 // where a constant is put that stands in an operand's place
)

// three are the instructions on two sources and a destination, in the same order.
var three = map[emit.Op]neon.Op{
	emit.VADDPS: neon.FADD, emit.VSUBPS: neon.FSUB, emit.VMULPS: neon.FMUL, emit.VDIVPS: neon.FDIV,
	emit.VMAXPS: neon.FMAX, emit.VMINPS: neon.FMIN, // of NaN and a number NEON takes NaN, which is not relied on
	emit.VFMADD231PS: neon.FMLA, emit.VFNMADD231PS: neon.FMLS,
	emit.VANDPS: neon.AND, emit.VORPS: neon.ORR, emit.VXORPS: neon.EOR,
	emit.VPADDD: neon.ADD, emit.VPSUBD: neon.SUB,
}

var two = map[emit.Op]neon.Op{emit.VSQRTPS: neon.FSQRT, emit.VCVTDQ2PS: neon.SCVTF, emit.VCVTPS2DQ: neon.FCVTNS}

var withImmediate = map[emit.Op]neon.Op{emit.VPSLLD: neon.SHL, emit.VPSRLD: neon.USHR, emit.VPSRAD: neon.SSHR}

// roundings are by the mode of Round.
var roundings = map[int]neon.Op{0: neon.FRINTN, 1: neon.FRINTM, 2: neon.FRINTP}

// neonOp is Op.
func (v *V) neonOp(op emit.Op, regs []int) {
	a := v.Neon
	if n, ok := three[op]; ok {
		a.V(n, regs...)
		return
	}
	if n, ok := two[op]; ok {
		a.V(n, regs...)
		return
	}
	switch op {
	case emit.VMOVAPS:
		a.V(neon.ORR, regs[0], regs[0], regs[1])
	case emit.VANDNPS:
		a.V(neon.BIC, regs[1], regs[0], regs[2])
	case emit.VFMADD213PS: // d = d·n + m
		m, n, d := regs[0], regs[1], regs[2]
		if m != constant {
			a.V(neon.ORR, m, m, constant)
		}
		a.V(neon.FMLA, n, d, constant)
		a.V(neon.ORR, constant, constant, d)
	case emit.VBLENDVPS: // d = mask ? y : x
		mask, y, x, d := regs[0], regs[1], regs[2], regs[3]
		switch d {
		case x:
			a.V(neon.BIT, mask, y, d)
		case y:
			a.V(neon.BIF, mask, x, d)
		case mask:
			a.V(neon.BSL, x, y, d)
		default:
			a.V(neon.ORR, x, x, d)
			a.V(neon.BIT, mask, y, d)
		}
	default:
		panic(fmt.Sprintf("simd: instruction %d has no counterpart", op))
	}
}

// neonOpI is OpI.
func (v *V) neonOpI(op emit.Op, imm int, regs []int) {
	a := v.Neon
	if n, ok := withImmediate[op]; ok {
		a.C(n, imm, regs...)
		return
	}
	switch op {
	case emit.VROUNDPS:
		a.V(roundings[imm&3], regs...)
	case emit.VCMPPS:
		y, x, d := regs[0], regs[1], regs[2]
		switch imm {
		case equal:
			a.V(neon.FCMEQ, y, x, d)
		case less:
			a.V(neon.FCMGT, x, y, d)
		case greater:
			a.V(neon.FCMGT, y, x, d)
		case notGreaterEq:
			a.V(neon.FCMGE, y, x, d)
			a.V(neon.MVN, d, d)
		case notEqual: // and neither is NaN: one is greater
			a.V(neon.FCMGT, y, x, scratch)
			a.V(neon.FCMGT, x, y, d)
			a.V(neon.ORR, scratch, d, d)
		case ordered, unordered:
			a.V(neon.FCMEQ, x, x, scratch)
			a.V(neon.FCMEQ, y, y, d)
			a.V(neon.AND, scratch, d, d)
			if imm == unordered {
				a.V(neon.MVN, d, d)
			}
		default:
			panic(fmt.Sprintf("simd: comparison %d has no counterpart", imm))
		}
	default:
		panic(fmt.Sprintf("simd: instruction %d has no counterpart", op))
	}
}

// neonOpC is OpC.
func (v *V) neonOpC(op emit.Op, bits uint32, regs []int) {
	v.Neon.Constant(bits, constant)
	v.neonOp(op, append([]int{constant}, regs...))
}
