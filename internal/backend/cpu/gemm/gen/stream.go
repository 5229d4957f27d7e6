package main

import (
	"fmt"

	. "github.com/sinter-dl/sinter/internal/backend/cpu/emit"
)

// Byte offsets of the fields of gemm.streamArgs, which a test compares with the
// struct.
const (
	sY = 8 * iota
	sX
	sW
	sLdy
	sLdx
	sLdw
	sStep
	sN
	sMask
	sGroups
	sAcc
)

// stream is a kernel for products of a large matrix W with few vectors x, which are
// bound by reading W once.
//
// In a dot kernel the values along k are adjacent in W. It takes rows of W at a time
// and sums, for each of them and each x, the products in the lanes of a vector; the
// lanes are added at the end, always in the same order.
//
// In an axpy kernel the values across k are adjacent. It takes rows of W, each
// multiplied by an element of each x, and adds them to the results, which stay in the
// first level cache.
//
// Values of bfloat16 become float32 by a shift. A dot kernel takes 32 of them as 16
// in even places and 16 in odd ones, and x has that order too.
type stream struct {
	dot    bool
	narrow bool // W is bfloat16
	vecs   int  // number of x
	rows   int  // rows of W at a time
}

func (s stream) name() string {
	return fmt.Sprintf("%sx%dx%d", s.table(), s.vecs, s.rows)
}

// table is the name of the table of such kernels.
func (s stream) table() string {
	form, elem := "axpy", "32"
	if s.dot {
		form = "dot"
	}
	if s.narrow {
		elem = "16"
	}
	return form + elem
}

// rowsAt are the addresses of up to eight rows behind a register, the strides being
// in stride and its multiples ×3, ×5 and ×7.
func rowsAt(base, stride, x3, x5, x7 Reg) [8]Mem {
	return [8]Mem{
		at(base, 0), indexed(base, stride, 1, 0), indexed(base, stride, 2, 0), indexed(base, x3, 1, 0),
		indexed(base, stride, 4, 0), indexed(base, x5, 1, 0), indexed(base, x3, 2, 0), indexed(base, x7, 1, 0),
	}
}

func (s stream) code() *Asm {
	a := New()
	a.Args(DI)
	a.I(MOVQ, field(sW), SI)
	a.I(MOVQ, field(sLdw), R9)
	a.I(MOVQ, field(sY), DX)
	a.I(KMOVQ, field(sMask), K(1))
	group := a.NewLabel()
	if s.dot {
		s.dots(a, group)
	} else {
		s.axpys(a, group)
	}
	a.I(SUBQ, Imm(1), field(sGroups))
	a.I(JNZ, group)
	a.Return()
	return a
}

func (s stream) dots(a *Asm, group Label) {
	w := rowsAt(AX, R9, R10, 0, 0) // no more than four
	x := rowsAt(BX, R8, R11, R12, R13)
	acc := func(r, m int) int { return r*s.vecs + m }
	const wide, temp, upper = 20, 28, 31 // registers: values of W, of x, mask of the upper halves
	a.I(MOVQ, field(sLdx), R8)
	a.I(LEAQ, indexed(R9, R9, 2, 0), R10)
	a.I(LEAQ, indexed(R8, R8, 2, 0), R11)
	a.I(LEAQ, indexed(R8, R8, 4, 0), R12)
	a.I(LEAQ, indexed(R11, R8, 4, 0), R13)
	if s.narrow {
		upperHalves(a, upper)
	}
	a.Bind(group)
	for i := range s.rows * s.vecs {
		a.I(VPXORQ, Z(i), Z(i), Z(i))
	}
	a.I(MOVQ, SI, AX)
	a.I(MOVQ, field(sX), BX)
	a.I(MOVQ, field(sN), CX)
	multiply := func(masked bool) {
		parts := 1
		if s.narrow {
			parts = 2
		}
		for r := range s.rows {
			v := wide + r*parts
			switch {
			case masked && s.narrow:
				a.I(VMOVDQU16|Zero, w[r], K(1), Z(v+1))
				a.I(VPSLLD, Imm(16), Z(v+1), Z(v))
				a.I(VPANDD, Z(upper), Z(v+1), Z(v+1))
			case masked:
				a.I(VMOVUPS|Zero, w[r], K(1), Z(v))
			case s.narrow:
				a.I(VPSLLD, Imm(16), w[r], Z(v))
				a.I(VPANDD, w[r], Z(upper), Z(v+1))
			default:
				a.I(VMOVUPS, w[r], Z(v))
			}
			if !masked {
				a.I(PREFETCHT0, moved(w[r], 1024))
			}
		}
		for m := range s.vecs {
			for part := range parts {
				t := temp + (m*parts+part)%3
				if masked && !s.narrow {
					a.I(VMOVUPS|Zero, x[m], K(1), Z(t))
				} else {
					a.I(VMOVUPS, moved(x[m], int32(64*part)), Z(t))
				}
				for r := range s.rows {
					a.I(VFMADD231PS, Z(t), Z(wide+r*parts+part), Z(acc(r, m)))
				}
			}
		}
		if !masked {
			a.I(ADDQ, Imm(64), AX)
			a.I(ADDQ, Imm(64*parts), BX)
		}
	}
	loop, tail, sums := a.NewLabel(), a.NewLabel(), a.NewLabel()
	a.I(TESTQ, CX, CX)
	a.I(JZ, tail)
	a.Bind(loop)
	multiply(false)
	a.I(SUBQ, Imm(1), CX)
	a.I(JNZ, loop)
	a.Bind(tail)
	a.I(CMPQ, field(sMask), Imm(0))
	a.I(JEQ, sums)
	multiply(true)
	a.Bind(sums)
	a.I(MOVQ, field(sLdy), BX)
	a.I(MOVQ, field(sStep), CX)
	for r := range s.rows {
		a.I(MOVQ, DX, AX)
		for m := range s.vecs {
			i := acc(r, m)
			store := a.NewLabel()
			a.I(VEXTRACTF64X4, Imm(1), Z(i), Y(28))
			a.I(VADDPS, Y(28), Y(i), Y(i))
			a.I(VEXTRACTF32X4, Imm(1), Y(i), X(28))
			a.I(VADDPS, X(28), X(i), X(i))
			a.I(VPERMILPS, Imm(0x4e), X(i), X(28))
			a.I(VADDPS, X(28), X(i), X(i))
			a.I(VPERMILPS, Imm(0xb1), X(i), X(28))
			a.I(VADDSS, X(28), X(i), X(i))
			a.I(CMPQ, field(sAcc), Imm(0))
			a.I(JEQ, store)
			a.I(VADDSS, at(AX, 0), X(i), X(i))
			a.Bind(store)
			a.I(VMOVSS, X(i), at(AX, 0))
			a.I(ADDQ, BX, AX)
		}
		a.I(ADDQ, CX, DX)
	}
	a.I(LEAQ, indexed(SI, R9, uint8(s.rows), 0), SI)
}

func (s stream) axpys(a *Asm, group Label) {
	nv := 4 // vectors of columns at a time
	if s.vecs > 4 {
		nv = 2
	}
	bytes := 64 // of W in a vector of columns
	if s.narrow {
		bytes = 32
	}
	acc := func(m, v int) int { return m*nv + v }
	const temp, wide = 16, 24
	w := rowsAt(AX, R9, R10, R12, R13)
	ahead := rowsAt(R14, R9, R10, R12, R13)
	a.I(MOVQ, field(sLdy), R8)
	a.I(MOVQ, field(sX), BX)
	a.I(LEAQ, indexed(R9, R9, 2, 0), R10)
	a.I(LEAQ, indexed(R9, R9, 4, 0), R12)
	a.I(LEAQ, indexed(R10, R9, 4, 0), R13)
	for v := 1; v < nv; v++ {
		a.I(KSHIFTRQ, Imm(16*v), K(1), K(v+1))
	}
	a.Bind(group)
	a.I(MOVQ, SI, AX)
	a.I(MOVQ, DX, R11)
	a.I(MOVQ, field(sN), CX)
	block := func(masked bool) {
		// with puts the mask of vector v before the destination.
		with := func(v int, l ...Operand) []Operand {
			if !masked {
				return l
			}
			n := len(l) - 1
			return append(l[:n:n], K(v+1), l[n])
		}
		var zero Op
		if masked {
			zero = Zero
		}
		for i := range s.vecs * nv {
			a.I(VPXORQ, Z(i), Z(i), Z(i))
		}
		a.I(LEAQ, indexed(AX, R9, 8, 0), R14)
		for k := range s.rows {
			for v := range nv {
				t := Z(wide + v + 4*(k%2))
				from := moved(w[k], int32(bytes*v))
				if s.narrow {
					a.I(VPMOVZXWD|zero, with(v, from, t)...)
					a.I(VPSLLD, Imm(16), t, t)
				} else {
					a.I(VMOVUPS|zero, with(v, from, t)...)
				}
			}
			if s.rows == 8 && !masked {
				for at := 0; at < bytes*nv; at += 64 {
					a.I(PREFETCHT0, moved(ahead[k], int32(at)))
				}
			}
			for m := range s.vecs {
				t := Z(temp + m)
				a.I(VBROADCASTSS, at(BX, int32((k*s.vecs+m)*4)), t)
				for v := range nv {
					a.I(VFMADD231PS, t, Z(wide+v+4*(k%2)), Z(acc(m, v)))
				}
			}
		}
		results := func(f func(m, v int, y Mem)) {
			a.I(MOVQ, R11, R14)
			for m := range s.vecs {
				for v := range nv {
					f(m, v, at(R14, int32(64*v)))
				}
				if m < s.vecs-1 {
					a.I(ADDQ, R8, R14)
				}
			}
		}
		// What was summed before is added last: a chain of all K additions would
		// lose accuracy.
		store := a.NewLabel()
		a.I(CMPQ, field(sAcc), Imm(0))
		a.I(JEQ, store)
		results(func(m, v int, y Mem) { a.I(VADDPS, with(v, y, Z(acc(m, v)), Z(acc(m, v)))...) })
		a.Bind(store)
		results(func(m, v int, y Mem) { a.I(VMOVUPS, with(v, Z(acc(m, v)), y)...) })
	}
	loop, tail, next := a.NewLabel(), a.NewLabel(), a.NewLabel()
	a.I(TESTQ, CX, CX)
	a.I(JZ, tail)
	a.Bind(loop)
	block(false)
	a.I(ADDQ, Imm(bytes*nv), AX)
	a.I(ADDQ, Imm(64*nv), R11)
	a.I(SUBQ, Imm(1), CX)
	a.I(JNZ, loop)
	a.Bind(tail)
	a.I(CMPQ, field(sMask), Imm(0))
	a.I(JEQ, next)
	block(true)
	a.Bind(next)
	a.I(MOVQ, Imm(1), field(sAcc))
	a.I(ADDQ, Imm(s.rows*s.vecs*4), BX)
	a.I(LEAQ, indexed(SI, R9, uint8(s.rows), 0), SI)
}

// streams adds all kernels for one to eight x, and the table of each form, by the
// number of x, of those for several rows of W and for one.
func (f *file) streams() {
	for _, s := range []stream{{dot: true}, {dot: true, narrow: true}, {}, {narrow: true}} {
		fmt.Fprintf(&f.tables, "var %s = [...][2]streamKernel{\n\t{}", s.table())
		for s.vecs = 1; s.vecs <= 8; s.vecs++ {
			for _, s.rows = range []int{s.several(), 1} {
				f.add(s.code(), s.name(), "streamArgs")
			}
			fmt.Fprintf(&f.tables, ", {{%d, %[2]sx%[3]dx%[1]d}, {1, %[2]sx%[3]dx1}}", s.several(), s.table(), s.vecs)
		}
		f.tables.WriteString(",\n}\n\n")
	}
}

// several is how many rows of W a kernel takes at a time, as registers allow.
func (s stream) several() int {
	switch {
	case !s.dot:
		return 8
	case s.vecs <= 4:
		return 4
	}
	return 2
}
