package main

import (
	"fmt"
	"strings"

	. "github.com/sinter-dl/sinter/internal/backend/cpu/emit"
)

// packing adds the routines that pack operands: copies of rows with masks, the
// transpose of sixteen rows, and what is done with bfloat16.
func (f *file) packing() {
	f.copyRows(1)
	f.copyRows(2)
	f.transpose("transpose16", nil)
	f.pairRows(1)
	f.pairRows(2)
	for _, h := range halves {
		f.transpose("transpose"+h.name+"Pairs16", h)
		f.widenRows(h, 1)
		f.widenRows(h, 2)
		f.widenY(h)
	}
}

// half is a type of 16 bits whose values become float32: a bfloat16 by a shift, for it
// is the upper half of the float32 of the same value, a float16 by an instruction.
type half struct {
	name string // in those of routines
	f16  bool
}

var halves = []*half{{name: ""}, {name: "F16", f16: true}}

// load converts what lies at m to register d.
func (h *half) load(a *Asm, m Mem, zero Op, mask []Operand, d Operand) {
	with := append([]Operand{m}, append(mask, d)...)
	if h.f16 {
		a.I(VCVTPH2PS|zero, with...)
		return
	}
	a.I(VPMOVZXWD|zero, with...)
	a.I(VPSLLD, Imm(16), d, d)
}

// routine adds a function of several parameters, which are moved to registers in
// their order. What package gemm declares has the same order.
func (f *file) routine(name string, parameters string, registers []Reg, body func(a *Asm)) {
	a := New()
	for i, r := range registers {
		a.Parameter(names(parameters)[i], 8*i, r)
	}
	body(a)
	a.Return()
	a.Text(&f.text, name, fmt.Sprintf("func %s(%s)", name, parameters))
}

// loop repeats body while its counter, of which it takes n at a time, lasts; what is
// left of it stays there.
func loop(a *Asm, counter Reg, n int, body func()) {
	again, done := a.NewLabel(), a.NewLabel()
	a.I(SUBQ, Imm(n), counter)
	a.I(JLT, done)
	a.Bind(again)
	body()
	a.I(SUBQ, Imm(n), counter)
	a.I(JGE, again)
	a.Bind(done)
	a.I(ADDQ, Imm(n), counter)
}

// repeat repeats body as often as its counter says, once at least.
func repeat(a *Asm, counter Reg, body func()) {
	again := a.NewLabel()
	a.Bind(again)
	body()
	a.I(SUBQ, Imm(1), counter)
	a.I(JNZ, again)
}

// masks moves the mask in r to K1, and its upper half to K2.
func masks(a *Asm, r Reg) {
	a.I(KMOVQ, r, K(1))
	a.I(KSHIFTRQ, Imm(16), K(1), K(2))
}

// upperHalves sets register r to a mask of the upper half of each lane.
func upperHalves(a *Asm, r int) {
	a.I(VPTERNLOGD, Imm(0xff), Z(r), Z(r), Z(r))
	a.I(VPSLLD, Imm(16), Z(r), Z(r))
}

// names are the names of parameters.
func names(parameters string) []string {
	var l []string
	for _, p := range strings.Split(parameters, ", ") {
		name, _, _ := strings.Cut(p, " ")
		l = append(l, name)
	}
	return l
}

const (
	strided    = "dst, src unsafe.Pointer, rows, stride int, mask uint64"
	twoStrides = "dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64"
)

// copyRows copies rows of nv vectors, which become adjacent.
func (f *file) copyRows(nv int) {
	f.routine(fmt.Sprintf("copyRows%d", 16*nv), strided, []Reg{DI, SI, CX, R8, AX}, func(a *Asm) {
		masks(a, AX)
		a.I(LEAQ, indexed(R8, R8, 2, 0), R9)
		rows := []Mem{at(SI, 0), indexed(SI, R8, 1, 0), indexed(SI, R8, 2, 0), indexed(SI, R9, 1, 0)}
		for _, n := range []int{4, 1} {
			loop(a, CX, n, func() {
				for i := range n * nv {
					a.I(VMOVUPS|Zero, moved(rows[i/nv], int32(64*(i%nv))), K(1+i%nv), Z(i))
				}
				for i := range n * nv {
					a.I(VMOVUPS, Z(i), at(DI, int32(64*i)))
				}
				a.I(LEAQ, indexed(SI, R8, uint8(n), 0), SI)
				a.I(ADDQ, Imm(64*n*nv), DI)
			})
		}
	})
}

// transpose adds the transpose of 16 rows of 32-bit words. With a half type these are
// pairs of its values, of which it makes two rows of float32.
func (f *file) transpose(name string, pairs *half) {
	const parameters = "dst, src unsafe.Pointer, blocks, srcStride, dstStride int"
	const upper = 31
	f.routine(name, parameters, []Reg{DI, SI, CX, R8, DX}, func(a *Asm) {
		a.I(LEAQ, indexed(R8, R8, 2, 0), R9)
		a.I(LEAQ, indexed(R8, R8, 4, 0), R10)
		a.I(LEAQ, indexed(R9, R8, 4, 0), R11)
		a.I(LEAQ, indexed(SI, R8, 8, 0), BX)
		repeat(a, CX, func() {
			for i, base := range []Reg{SI, BX} {
				for r, m := range rowsAt(base, R8, R9, R10, R11) {
					a.I(VMOVUPS, m, Z(8*i+r))
				}
			}
			for r := 0; r < 16; r += 2 {
				a.I(VUNPCKLPS, Z(r+1), Z(r), Z(16+r))
				a.I(VUNPCKHPS, Z(r+1), Z(r), Z(17+r))
			}
			// Register 4g+c: in each lane of four, column c of rows 4g … 4g+3.
			for g := range 4 {
				x, y := 16+4*g, 18+4*g
				a.I(VUNPCKLPD, Z(y), Z(x), Z(4*g))
				a.I(VUNPCKHPD, Z(y), Z(x), Z(4*g+1))
				a.I(VUNPCKLPD, Z(y+1), Z(x+1), Z(4*g+2))
				a.I(VUNPCKHPD, Z(y+1), Z(x+1), Z(4*g+3))
			}
			// For each c the lanes of registers c, 4+c, 8+c, 12+c are a 4×4 transpose.
			shuffle := func(imm Imm, y, x, d int) { a.I(VSHUFF32X4, imm, Z(y), Z(x), Z(d)) }
			for c := range 4 {
				t := 16 + 4*c
				shuffle(0x88, 4+c, c, t)
				shuffle(0xdd, 4+c, c, t+1)
				shuffle(0x88, 12+c, 8+c, t+2)
				shuffle(0xdd, 12+c, 8+c, t+3)
				shuffle(0x88, t+2, t, c)
				shuffle(0x88, t+3, t+1, 4+c)
				shuffle(0xdd, t+2, t, 8+c)
				shuffle(0xdd, t+3, t+1, 12+c)
			}
			if pairs != nil && !pairs.f16 {
				upperHalves(a, upper)
			}
			for c := range 16 {
				if pairs != nil {
					t := 16 + c%8
					if pairs.f16 {
						a.I(VPMOVDW, Z(c), Y(t))
						a.I(VCVTPH2PS, Y(t), Z(t))
						a.I(VPSRLD, Imm(16), Z(c), Z(c))
						a.I(VPMOVDW, Z(c), Y(c))
						a.I(VCVTPH2PS, Y(c), Z(c))
					} else {
						a.I(VPSLLD, Imm(16), Z(c), Z(t))
						a.I(VPANDD, Z(upper), Z(c), Z(c))
					}
					a.I(VMOVUPS, Z(t), at(DI, 0))
					a.I(ADDQ, DX, DI)
				}
				a.I(VMOVUPS, Z(c), at(DI, 0))
				a.I(ADDQ, DX, DI)
			}
			a.I(ADDQ, Imm(64), SI)
			a.I(ADDQ, Imm(64), BX)
		})
	})
}

// halfRows adds a routine on rows of a half type, 16 values for each of nv vectors. With
// two vectors the rows of the destination are adjacent.
func (f *file) halfRows(name string, nv int, body func(a *Asm)) {
	name = fmt.Sprintf("%s%d", name, 16*nv)
	if nv == 1 {
		f.routine(name, twoStrides, []Reg{DI, SI, CX, R8, R9, AX}, func(a *Asm) {
			masks(a, AX)
			body(a)
		})
		return
	}
	f.routine(name, strided, []Reg{DI, SI, CX, R8, AX}, func(a *Asm) {
		masks(a, AX)
		a.I(MOVQ, Imm(128), R9)
		body(a)
	})
}

// loadHalves reads a row to the lower halves of the lanes of nv registers from r on.
func loadHalves(a *Asm, row Mem, nv, r int) {
	for j := range nv {
		a.I(VPMOVZXWD|Zero, moved(row, int32(32*j)), K(j+1), Z(r+j))
	}
}

// storeRow writes a row of words: of one vector those in its mask, of two all.
func storeRow(a *Asm, nv int) {
	if nv == 1 {
		a.I(VMOVDQU32, Z(0), K(1), at(DI, 0))
		return
	}
	for j := range nv {
		a.I(VMOVDQU32, Z(j), at(DI, int32(64*j)))
	}
}

// pairRows interleaves two rows of bfloat16.
func (f *file) pairRows(nv int) {
	f.halfRows("pairRows", nv, func(a *Asm) {
		loop(a, CX, 2, func() {
			loadHalves(a, at(SI, 0), nv, 0)
			loadHalves(a, indexed(SI, R8, 1, 0), nv, nv)
			for j := range nv {
				a.I(VPSLLD, Imm(16), Z(nv+j), Z(nv+j))
				a.I(VPORD, Z(nv+j), Z(j), Z(j))
			}
			storeRow(a, nv)
			a.I(LEAQ, indexed(SI, R8, 2, 0), SI)
			a.I(ADDQ, R9, DI)
		})
		done := a.NewLabel()
		a.I(JZ, done)
		loadHalves(a, at(SI, 0), nv, 0)
		storeRow(a, nv)
		a.Bind(done)
	})
}

// widenRows converts rows to float32.
func (f *file) widenRows(h *half, nv int) {
	f.halfRows("widen"+h.name+"Rows", nv, func(a *Asm) {
		repeat(a, CX, func() {
			for j := range nv {
				h.load(a, at(SI, int32(32*j)), Zero, []Operand{K(j + 1)}, Z(j))
			}
			storeRow(a, nv)
			a.I(ADDQ, R8, SI)
			a.I(ADDQ, R9, DI)
		})
	})
}

// widenY converts rows of whole vectors with AVX2.
func (f *file) widenY(h *half) {
	const parameters = "dst, src unsafe.Pointer, rows, vectors, srcStride, dstStride int"
	f.routine("widen"+h.name+"Rows8", parameters, []Reg{DI, SI, DX, R8, R9, R10}, func(a *Asm) {
		a.AVX2 = true
		repeat(a, DX, func() {
			a.I(MOVQ, SI, AX)
			a.I(MOVQ, DI, BX)
			a.I(MOVQ, R8, CX)
			repeat(a, CX, func() {
				h.load(a, at(AX, 0), 0, nil, Y(0))
				a.I(VMOVDQU, Y(0), at(BX, 0))
				a.I(ADDQ, Imm(16), AX)
				a.I(ADDQ, Imm(32), BX)
			})
			a.I(ADDQ, R9, SI)
			a.I(ADDQ, R10, DI)
		})
	})
}
