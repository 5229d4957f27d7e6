package main

import (
	"fmt"
	"strings"
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
	form, elem := "axpy", "32"
	if s.dot {
		form = "dot"
	}
	if s.narrow {
		elem = "16"
	}
	return fmt.Sprintf("%s%sx%dx%d", form, elem, s.vecs, s.rows)
}

// rowsAt are the addresses of up to eight rows behind a register, the strides being
// in stride and its multiples ×3, ×5 and ×7.
func rowsAt(base, stride, x3, x5, x7 string) [8]string {
	return [8]string{
		fmt.Sprintf("(%s)", base), fmt.Sprintf("(%s)(%s*1)", base, stride), fmt.Sprintf("(%s)(%s*2)", base, stride),
		fmt.Sprintf("(%s)(%s*1)", base, x3), fmt.Sprintf("(%s)(%s*4)", base, stride), fmt.Sprintf("(%s)(%s*1)", base, x5),
		fmt.Sprintf("(%s)(%s*2)", base, x3), fmt.Sprintf("(%s)(%s*1)", base, x7),
	}
}

func (s stream) print(p func(string, ...any)) {
	p("TEXT ·%s(SB), NOSPLIT, $0-8", s.name())
	p("MOVQ args+0(FP), DI")
	p("MOVQ %d(DI), SI", sW)
	p("MOVQ %d(DI), R9", sLdw)
	p("MOVQ %d(DI), DX", sY)
	p("KMOVQ %d(DI), K1", sMask)
	if s.dot {
		s.printDot(p)
	} else {
		s.printAxpy(p)
	}
	p("SUBQ $1, %d(DI)", sGroups)
	p("JNZ group")
	p("VZEROUPPER")
	p("RET\n")
}

func (s stream) printDot(p func(string, ...any)) {
	w := rowsAt("AX", "R9", "R10", "", "")
	x := rowsAt("BX", "R8", "R11", "R12", "R13")
	acc := func(r, m int) int { return r*s.vecs + m }
	const wide, temp, upper = 20, 28, 31 // registers: values of W, of x, mask of the upper halves
	p("MOVQ %d(DI), R8", sLdx)
	p("LEAQ (R9)(R9*2), R10")
	p("LEAQ (R8)(R8*2), R11")
	p("LEAQ (R8)(R8*4), R12")
	p("LEAQ (R11)(R8*4), R13")
	if s.narrow {
		p("VPTERNLOGD $0xff, Z%d, Z%d, Z%d", upper, upper, upper)
		p("VPSLLD $16, Z%d, Z%d", upper, upper)
	}
	p("group:")
	for i := range s.rows * s.vecs {
		p("VPXORQ Z%d, Z%d, Z%d", i, i, i)
	}
	p("MOVQ SI, AX")
	p("MOVQ %d(DI), BX", sX)
	p("MOVQ %d(DI), CX", sN)
	multiply := func(masked bool) {
		parts := 1
		if s.narrow {
			parts = 2
		}
		for r := range s.rows {
			v := wide + r*parts
			switch {
			case masked && s.narrow:
				p("VMOVDQU16.Z %s, K1, Z%d", w[r], v+1)
				p("VPSLLD $16, Z%d, Z%d", v+1, v)
				p("VPANDD Z%d, Z%d, Z%d", upper, v+1, v+1)
			case masked:
				p("VMOVUPS.Z %s, K1, Z%d", w[r], v)
			case s.narrow:
				p("VPSLLD $16, %s, Z%d", w[r], v)
				p("VPANDD %s, Z%d, Z%d", w[r], upper, v+1)
			default:
				p("VMOVUPS %s, Z%d", w[r], v)
			}
			if !masked {
				p("PREFETCHT0 1024%s", w[r])
			}
		}
		for m := range s.vecs {
			for part := range parts {
				t := temp + (m*parts+part)%3
				if masked && !s.narrow {
					p("VMOVUPS.Z %s, K1, Z%d", x[m], t)
				} else {
					p("VMOVUPS %d%s, Z%d", 64*part, x[m], t)
				}
				for r := range s.rows {
					p("VFMADD231PS Z%d, Z%d, Z%d", t, wide+r*parts+part, acc(r, m))
				}
			}
		}
		if !masked {
			p("ADDQ $64, AX")
			p("ADDQ $%d, BX", 64*parts)
		}
	}
	p("TESTQ CX, CX")
	p("JZ tail")
	p("loop:")
	multiply(false)
	p("SUBQ $1, CX")
	p("JNZ loop")
	p("tail:")
	p("CMPQ %d(DI), $0", sMask)
	p("JEQ sums")
	multiply(true)
	p("sums:")
	p("MOVQ %d(DI), BX", sLdy)
	p("MOVQ %d(DI), CX", sStep)
	for r := range s.rows {
		p("MOVQ DX, AX")
		for m := range s.vecs {
			a := acc(r, m)
			p("VEXTRACTF64X4 $1, Z%d, Y28", a)
			p("VADDPS Y28, Y%d, Y%d", a, a)
			p("VEXTRACTF32X4 $1, Y%d, X28", a)
			p("VADDPS X28, X%d, X%d", a, a)
			p("VPERMILPS $0x4e, X%d, X28", a)
			p("VADDPS X28, X%d, X%d", a, a)
			p("VPERMILPS $0xb1, X%d, X28", a)
			p("VADDSS X28, X%d, X%d", a, a)
			p("CMPQ %d(DI), $0", sAcc)
			p("JEQ store%d", a)
			p("VADDSS (AX), X%d, X%d", a, a)
			p("store%d:", a)
			p("VMOVSS X%d, (AX)", a)
			p("ADDQ BX, AX")
		}
		p("ADDQ CX, DX")
	}
	p("LEAQ (SI)(R9*%d), SI", s.rows)
}

func (s stream) printAxpy(p func(string, ...any)) {
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
	w := rowsAt("AX", "R9", "R10", "R12", "R13")
	p("MOVQ %d(DI), R8", sLdy)
	p("MOVQ %d(DI), BX", sX)
	p("LEAQ (R9)(R9*2), R10")
	p("LEAQ (R9)(R9*4), R12")
	p("LEAQ (R10)(R9*4), R13")
	for v := 1; v < nv; v++ {
		p("KSHIFTRQ $%d, K1, K%d", 16*v, v+1)
	}
	p("group:")
	p("MOVQ SI, AX")
	p("MOVQ DX, R11")
	p("MOVQ %d(DI), CX", sN)
	block := func(label string, masked bool) {
		mask := func(v int) string {
			if masked {
				return fmt.Sprintf("K%d, ", v+1)
			}
			return ""
		}
		zero := ""
		if masked {
			zero = ".Z"
		}
		for i := range s.vecs * nv {
			p("VPXORQ Z%d, Z%d, Z%d", i, i, i)
		}
		p("LEAQ (AX)(R9*8), R14")
		for k := range s.rows {
			for v := range nv {
				t := wide + v + 4*(k%2)
				if s.narrow {
					p("VPMOVZXWD%s %d%s, %sZ%d", zero, bytes*v, w[k], mask(v), t)
					p("VPSLLD $16, Z%d, Z%d", t, t)
				} else {
					p("VMOVUPS%s %d%s, %sZ%d", zero, bytes*v, w[k], mask(v), t)
				}
			}
			if s.rows == 8 && !masked {
				for at := 0; at < bytes*nv; at += 64 {
					p("PREFETCHT0 %d%s", at, rowsAt("R14", "R9", "R10", "R12", "R13")[k])
				}
			}
			for m := range s.vecs {
				t := temp + m
				p("VBROADCASTSS %d(BX), Z%d", (k*s.vecs+m)*4, t)
				for v := range nv {
					p("VFMADD231PS Z%d, Z%d, Z%d", t, wide+v+4*(k%2), acc(m, v))
				}
			}
		}
		// What was summed before is added last: a chain of all K additions would
		// lose accuracy.
		p("CMPQ %d(DI), $0", sAcc)
		p("JEQ store%s", label)
		p("MOVQ R11, R14")
		for m := range s.vecs {
			for v := range nv {
				p("VADDPS %d(R14), Z%d, %sZ%d", 64*v, acc(m, v), mask(v), acc(m, v))
			}
			if m < s.vecs-1 {
				p("ADDQ R8, R14")
			}
		}
		p("store%s:", label)
		p("MOVQ R11, R14")
		for m := range s.vecs {
			for v := range nv {
				p("VMOVUPS Z%d, %s%d(R14)", acc(m, v), mask(v), 64*v)
			}
			if m < s.vecs-1 {
				p("ADDQ R8, R14")
			}
		}
	}
	p("TESTQ CX, CX")
	p("JZ tail")
	p("loop:")
	block("Loop", false)
	p("ADDQ $%d, AX", bytes*nv)
	p("ADDQ $%d, R11", 64*nv)
	p("SUBQ $1, CX")
	p("JNZ loop")
	p("tail:")
	p("CMPQ %d(DI), $0", sMask)
	p("JEQ next")
	block("Tail", true)
	p("next:")
	p("MOVQ $1, %d(DI)", sAcc)
	p("ADDQ $%d, BX", s.rows*s.vecs*4)
	p("LEAQ (SI)(R9*%d), SI", s.rows)
}

// streams prints all kernels for one to eight x, and the table of each form, by the
// number of x, of those for several rows of W and for one.
func streams(p func(string, ...any), g *strings.Builder, decls *[]string) {
	for _, f := range []struct {
		table string
		stream
	}{
		{"dot32", stream{dot: true}},
		{"dot16", stream{dot: true, narrow: true}},
		{"axpy32", stream{}},
		{"axpy16", stream{narrow: true}},
	} {
		s := f.stream
		fmt.Fprintf(g, "var %s = [...][2]streamKernel{\n\t{}", f.table)
		for s.vecs = 1; s.vecs <= 8; s.vecs++ {
			for _, s.rows = range []int{s.several(), 1} {
				s.print(p)
				*decls = append(*decls, s.name()+"(args *streamArgs)")
			}
			fmt.Fprintf(g, ", {{%d, %[2]sx%[3]dx%[1]d}, {1, %[2]sx%[3]dx1}}", s.several(), f.table, s.vecs)
		}
		g.WriteString(",\n}\n\n")
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
