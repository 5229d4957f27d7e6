// Command gen prints the assembly of package conv. Run it through go generate.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
)

// maxTapSums is how many taps TapSums does in one go.
const maxTapSums = 10

var text, decls strings.Builder

// p prints a line of assembly.
func p(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if !strings.HasPrefix(line, "TEXT") && !strings.HasSuffix(line, ":") {
		line = "\t" + line
	}
	text.WriteString(line + "\n")
}

// begin starts a routine that takes a pointer to a record, in DI.
func begin(name, record string) {
	fmt.Fprintf(&decls, "//go:noescape\nfunc %s(a *%s)\n\n", name, record)
	p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	p("MOVQ a+0(FP), DI")
}

func end() {
	p("VZEROUPPER")
	p("RET\n")
}

// tail sets mask k to the n lowest of 16 bits, n being in CX, and spoils R9.
func tail(k string) {
	p("MOVL $1, R9")
	p("SHLL CX, R9")
	p("DECL R9")
	p("KMOVW R9, %s", k)
}

// unfold prints a copy by masks; bytes 0 to 88 are the fields of Unfold in order. A
// plane of one row is gone through from left to right. Of one with several rows, each
// column of vectors is done from top to bottom, with its masks in registers, and the
// columns from the right to the left, because a row's last vector may cover the
// beginning of the next row.
func unfold(name string, step, masks int, body func()) {
	begin(name, "Unfold")
	p("MOVQ 0(DI), R8")
	p("MOVQ 8(DI), R9")
	p("ADDQ 16(DI), R9")
	p("MOVQ 24(DI), R12") // planes
	p("MOVQ 80(DI), SI")
	p("MOVQ 88(DI), R14") // from point to point
	p("LEAQ (R14)(R14*2), R15")
	p("MOVQ 56(DI), R10")
	p("MOVQ 64(DI), R11")
	load := func() {
		for m := range masks {
			p("KMOVD %d(DX), K%d", 4*m, 2*m+1)
			if step == 2 {
				p("KSHIFTRD $16, K%d, K%d", 2*m+1, 2*m+2)
			}
		}
	}
	next := func() {
		p("ADDQ 32(DI), R8")
		p("ADDQ 40(DI), R9")
		p("DECQ R12")
	}
	p("CMPQ 48(DI), $1")
	p("JNE columns")
	p("long:")
	p("MOVQ R8, AX")
	p("MOVQ R9, BX")
	p("MOVQ SI, DX")
	p("MOVQ 72(DI), CX")
	p("vector:")
	load()
	body()
	p("ADDQ $64, AX")
	p("ADDQ $%d, BX", 64*step)
	p("ADDQ $%d, DX", 4*masks)
	p("DECQ CX")
	p("JNZ vector")
	next()
	p("JNZ long")
	p("VZEROUPPER")
	p("RET")
	p("columns:")
	p("MOVQ 72(DI), CX")
	p("column:")
	p("MOVQ CX, AX")
	p("SHLQ $6, AX")
	p("LEAQ -64(R8)(AX*1), AX")
	p("MOVQ CX, BX")
	p("SHLQ $%d, BX", 5+step)
	p("LEAQ -%d(R9)(BX*1), BX", 64*step)
	p("LEAQ -%d(SI)(CX*%d), DX", 4*masks, 4*masks)
	load()
	p("MOVQ 48(DI), R13")
	p("row:")
	body()
	p("ADDQ R10, AX")
	p("ADDQ R11, BX")
	p("DECQ R13")
	p("JNZ row")
	p("DECQ CX")
	p("JNZ column")
	next()
	p("JNZ columns")
	end()
}

func unfolds() {
	unfold("unfold1", 1, 1, func() {
		p("VMOVUPS.Z (BX), K1, Z0")
		p("VMOVUPS Z0, (AX)")
	})
	unfold("unfold2", 2, 1, func() {
		p("VMOVUPS.Z (BX), K1, Z0")
		p("VMOVUPS.Z 64(BX), K2, Z1")
		p("VMOVDQU32 ·even(SB), Z2")
		p("VPERMT2PS Z1, Z2, Z0")
		p("VMOVUPS Z0, (AX)")
	})
	unfold("pairs512", 2, 2, func() {
		p("VMOVUPS.Z (BX), K1, Z0")
		p("VMOVUPS.Z 64(BX), K2, Z1")
		p("VMOVUPS.Z 8(BX), K3, Z2")
		p("VMOVUPS.Z 72(BX), K4, Z3")
		p("VMOVDQU32 ·even(SB), Z4")
		p("VMOVDQU32 ·odd(SB), Z6")
		p("VMOVAPS Z4, Z5")
		p("VMOVAPS Z6, Z7")
		p("VPERMI2PS Z1, Z0, Z4") // d0
		p("VPERMI2PS Z3, Z2, Z5") // d2
		p("VPERMI2PS Z1, Z0, Z6") // d1
		p("VPERMI2PS Z3, Z2, Z7") // d3
		p("VSUBPS Z5, Z4, Z0")
		p("VADDPS Z5, Z6, Z1")
		p("VSUBPS Z6, Z5, Z2")
		p("VSUBPS Z7, Z6, Z3")
		p("VMOVUPS Z0, (AX)")
		p("VMOVUPS Z1, (AX)(R14*1)")
		p("VMOVUPS Z2, (AX)(R14*2)")
		p("VMOVUPS Z3, (AX)(R15*1)")
	})
}

// join prints the last step of pairs; bytes 0 to 48 are the fields of Join in order.
func join() {
	begin("join512", "Join")
	p("VMOVDQU32 ·zipLow(SB), Z16")
	p("VMOVDQU32 ·zipHigh(SB), Z17")
	p("MOVQ 0(DI), R10")
	p("MOVQ 8(DI), R11")
	p("MOVQ 24(DI), R13")
	p("MOVQ 48(DI), R14")
	p("LEAQ (R14)(R14*2), R15")
	load := func(z, mask string) {
		for i, at := range []string{"(BX)", "(BX)(R14*1)", "(BX)(R14*2)", "(BX)(R15*1)"} {
			p("VMOVUPS%s %s, %sZ%d", z, at, mask, i)
		}
		p("VADDPS Z1, Z0, Z0")
		p("VADDPS Z2, Z0, Z0")
		p("VSUBPS Z2, Z1, Z1")
		p("VSUBPS Z3, Z1, Z1")
		p("VMOVAPS Z16, Z4")
		p("VMOVAPS Z17, Z5")
		p("VPERMI2PS Z1, Z0, Z4")
		p("VPERMI2PS Z1, Z0, Z5")
	}
	p("row:")
	p("MOVQ R10, AX")
	p("MOVQ R11, BX")
	p("MOVQ 16(DI), CX")
	p("SUBQ $16, CX")
	p("JLT rest")
	p("vector:")
	load("", "")
	p("VMOVUPS Z4, (AX)")
	p("VMOVUPS Z5, 64(AX)")
	p("ADDQ $128, AX")
	p("ADDQ $64, BX")
	p("SUBQ $16, CX")
	p("JGE vector")
	p("rest:")
	p("ADDQ $16, CX")
	p("JZ next")
	tail("K1")
	load(".Z", "K1, ")
	p("MOVL $1, R9")
	p("SHLQ CX, R9")
	p("SHLQ CX, R9")
	p("DECQ R9")
	p("KMOVD R9, K1")
	p("KSHIFTRD $16, K1, K2")
	p("VMOVUPS Z4, K1, (AX)")
	p("VMOVUPS Z5, K2, 64(AX)")
	p("next:")
	p("ADDQ 32(DI), R10")
	p("ADDQ 40(DI), R11")
	p("DECQ R13")
	p("JNZ row")
	end()
}

// part prints sums and differences of neighbouring rows; bytes 0 to 32 are the fields
// of Part in order.
func part() {
	begin("part512", "Part")
	p("MOVQ 0(DI), AX")
	p("MOVQ 8(DI), BX")
	p("MOVQ 16(DI), SI")
	p("MOVQ 24(DI), CX")
	p("MOVQ 32(DI), R8")
	p("SHLQ $2, R8")
	p("pair:")
	p("MOVQ R8, DX")
	p("vector:")
	p("VMOVUPS (SI), Z0")
	p("VMOVUPS (SI)(R8*1), Z1")
	p("VADDPS Z1, Z0, Z2")
	p("VSUBPS Z1, Z0, Z3")
	p("VMOVUPS Z2, (AX)")
	p("VMOVUPS Z3, (BX)")
	p("ADDQ $64, SI")
	p("ADDQ $64, AX")
	p("ADDQ $64, BX")
	p("SUBQ $64, DX")
	p("JNZ vector")
	p("ADDQ R8, SI")
	p("DECQ CX")
	p("JNZ pair")
	end()
}

func spread() {
	begin("spread2", "Spread")
	p("VMOVDQU32 ·low(SB), Z2")
	p("VMOVDQU32 ·high(SB), Z3")
	p("MOVL $0x5555, R9")
	p("KMOVW R9, K3")
	p("MOVQ 0(DI), R10")
	p("MOVQ 8(DI), R11")
	p("MOVQ 24(DI), R13")
	p("row:")
	p("MOVQ R10, AX")
	p("MOVQ R11, BX")
	p("MOVQ 16(DI), CX")
	p("SUBQ $16, CX")
	p("JLT rest")
	p("vector:")
	p("VMOVUPS (BX), Z0")
	p("VPERMPS Z0, Z2, Z1")
	p("VMOVUPS Z1, K3, (AX)")
	p("VPERMPS Z0, Z3, Z1")
	p("VMOVUPS Z1, K3, 64(AX)")
	p("ADDQ $128, AX")
	p("ADDQ $64, BX")
	p("SUBQ $16, CX")
	p("JGE vector")
	p("rest:")
	p("ADDQ $16, CX")
	p("JZ next")
	tail("K1")
	p("VMOVUPS.Z (BX), K1, Z0")
	// Element i goes to bit 2i.
	p("MOVL $1, R9")
	p("SHLQ CX, R9")
	p("SHLQ CX, R9")
	p("DECQ R9")
	p("KMOVD R9, K1")
	p("KSHIFTRD $16, K1, K2")
	p("KANDW K1, K3, K1")
	p("KANDW K2, K3, K2")
	p("VPERMPS Z0, Z2, Z1")
	p("VMOVUPS Z1, K1, (AX)")
	p("VPERMPS Z0, Z3, Z1")
	p("VMOVUPS Z1, K2, 64(AX)")
	p("next:")
	p("ADDQ 32(DI), R10")
	p("ADDQ 40(DI), R11")
	p("DECQ R13")
	p("JNZ row")
	end()
}

// taps keeps a block of the result in registers while it goes through the taps.
func taps() {
	begin("taps512", "Taps")
	p("MOVQ 0(DI), AX")
	p("MOVQ 8(DI), BX")
	p("MOVQ 16(DI), CX")
	body := func(label string, vectors int) {
		for i := range vectors {
			p("VPXORQ Z%d, Z%d, Z%d", i, i, i)
		}
		p("MOVQ 24(DI), R10")
		p("MOVQ 32(DI), R11")
		p("MOVQ 40(DI), R12")
		p("%s:", label)
		p("MOVQ (R10), R8")
		p("VBROADCASTSS (R11), Z8")
		for i := range vectors {
			p("VFMADD231PS %d(BX)(R8*1), Z8, Z%d", 64*i, i)
		}
		p("ADDQ $8, R10")
		p("ADDQ $4, R11")
		p("DECQ R12")
		p("JNZ %s", label)
	}
	for _, vectors := range []int{8, 1} {
		p("SUBQ $%d, CX", 16*vectors)
		p("JLT after%d", vectors)
		p("loop%d:", vectors)
		body(fmt.Sprintf("tap%d", vectors), vectors)
		for i := range vectors {
			p("VMOVUPS Z%d, %d(AX)", i, 64*i)
		}
		p("ADDQ $%d, AX", 64*vectors)
		p("ADDQ $%d, BX", 64*vectors)
		p("SUBQ $%d, CX", 16*vectors)
		p("JGE loop%d", vectors)
		p("after%d:", vectors)
		p("ADDQ $%d, CX", 16*vectors)
	}
	p("JZ done")
	tail("K1")
	body("rest", 1)
	p("VMOVUPS Z0, K1, (AX)")
	p("done:")
	end()
}

// tapSums keeps the sums of k taps in registers.
func tapSums(k int) {
	begin(fmt.Sprintf("tapSums%d", k), "Taps")
	p("MOVQ 0(DI), AX")
	p("MOVQ 8(DI), BX")
	p("MOVQ 16(DI), CX")
	p("MOVQ 24(DI), DX")
	p("MOVQ 32(DI), SI")
	registers := []string{"R8", "R9", "R10", "R11", "R12", "R13", "R15"}
	// Where a tap is read: some offsets stay in registers, the others are fetched
	// again every time.
	at := func(t int) string {
		if t < len(registers) {
			return fmt.Sprintf("(BX)(%s*1)", registers[t])
		}
		p("MOVQ %d(DX), DI", 8*t)
		return "(BX)(DI*1)"
	}
	for t := range min(k, len(registers)) {
		if registers[t] != "R9" {
			p("MOVQ %d(DX), %s", 8*t, registers[t])
		}
	}
	// R9 is also needed for the mask, which is made first.
	p("MOVQ CX, R14")
	p("ANDQ $15, CX")
	tail("K1")
	p("MOVQ R14, CX")
	if k > 1 {
		p("MOVQ 8(DX), R9")
	}
	for t := range k {
		p("VMOVUPS %d(SI), Z%d", 64*t, t)
	}
	p("SUBQ $16, CX")
	p("JLT rest")
	p("loop:")
	p("VMOVUPS (AX), Z30")
	for t := range k {
		p("VFMADD231PS %s, Z30, Z%d", at(t), t)
	}
	p("ADDQ $64, AX")
	p("ADDQ $64, BX")
	p("SUBQ $16, CX")
	p("JGE loop")
	p("rest:")
	p("ADDQ $16, CX")
	p("JZ done")
	p("VMOVUPS.Z (AX), K1, Z30")
	for t := range k {
		p("VMOVUPS.Z %s, K1, Z31", at(t))
		p("VFMADD231PS Z31, Z30, K1, Z%d", t)
	}
	p("done:")
	for t := range k {
		p("VMOVUPS Z%d, %d(SI)", t, 64*t)
	}
	end()
}

// maskedTaps is taps with a mask for every tap of every vector.
func maskedTaps() {
	begin("maskedTaps512", "Taps")
	p("MOVQ 0(DI), AX")
	p("MOVQ 8(DI), BX")
	p("MOVQ 16(DI), CX")
	p("MOVQ 48(DI), SI")
	p("MOVQ 56(DI), R13") // from the masks of a vector to those of the next
	p("LEAQ (R13)(R13*2), R14")
	masks := []string{"(DX)", "(DX)(R13*1)", "(DX)(R13*2)", "(DX)(R14*1)"}
	body := func(label string, vectors int) {
		for i := range vectors {
			p("VPXORQ Z%d, Z%d, Z%d", i, i, i)
		}
		p("MOVQ 24(DI), R10")
		p("MOVQ 32(DI), R11")
		p("MOVQ 40(DI), R12")
		p("MOVQ SI, DX")
		p("%s:", label)
		p("MOVQ (R10), R8")
		p("VBROADCASTSS (R11), Z8")
		for i := range vectors {
			p("KMOVW %s, K%d", masks[i], i+1)
			p("VFMADD231PS %d(BX)(R8*1), Z8, K%d, Z%d", 64*i, i+1, i)
		}
		p("ADDQ $8, R10")
		p("ADDQ $4, R11")
		p("ADDQ $2, DX")
		p("DECQ R12")
		p("JNZ %s", label)
	}
	for _, vectors := range []int{4, 1} {
		p("SUBQ $%d, CX", 16*vectors)
		p("JLT after%d", vectors)
		p("loop%d:", vectors)
		body(fmt.Sprintf("tap%d", vectors), vectors)
		for i := range vectors {
			p("VMOVUPS Z%d, %d(AX)", i, 64*i)
		}
		p("ADDQ $%d, AX", 64*vectors)
		p("ADDQ $%d, BX", 64*vectors)
		p("LEAQ (SI)(R13*%d), SI", vectors)
		p("SUBQ $%d, CX", 16*vectors)
		p("JGE loop%d", vectors)
		p("after%d:", vectors)
		p("ADDQ $%d, CX", 16*vectors)
	}
	p("JZ done")
	tail("K5")
	body("rest", 1)
	p("VMOVUPS Z0, K5, (AX)")
	p("done:")
	end()
}

// maskedSums is tapSums with a mask for every tap of every vector.
func maskedSums(k int) {
	begin(fmt.Sprintf("maskedSums%d", k), "Taps")
	p("MOVQ 0(DI), AX")
	p("MOVQ 8(DI), BX")
	p("MOVQ 16(DI), CX")
	p("MOVQ 24(DI), DX")
	p("MOVQ 32(DI), SI")
	p("MOVQ 48(DI), R14")
	p("MOVQ 56(DI), R15")
	registers := []string{"R8", "R9", "R10", "R11", "R12", "R13"}
	for t := range min(k, len(registers)) {
		p("MOVQ %d(DX), %s", 8*t, registers[t])
	}
	for t := range k {
		p("VMOVUPS %d(SI), Z%d", 64*t, t)
	}
	body := func() {
		for t := range k {
			at := "DI"
			if t < len(registers) {
				at = registers[t]
			} else {
				p("MOVQ %d(DX), DI", 8*t)
			}
			p("KMOVW %d(R14), K%d", 2*t, 1+t%6)
			p("VFMADD231PS (BX)(%s*1), Z30, K%d, Z%d", at, 1+t%6, t)
		}
	}
	p("SUBQ $16, CX")
	p("JLT rest")
	p("loop:")
	p("VMOVUPS (AX), Z30")
	body()
	p("ADDQ $64, AX")
	p("ADDQ $64, BX")
	p("ADDQ R15, R14")
	p("SUBQ $16, CX")
	p("JGE loop")
	p("rest:")
	p("ADDQ $16, CX")
	p("JZ done")
	p("MOVL $1, DI")
	p("SHLL CX, DI")
	p("DECL DI")
	p("KMOVW DI, K7")
	p("VMOVUPS.Z (AX), K7, Z30")
	body()
	p("done:")
	for t := range k {
		p("VMOVUPS Z%d, %d(SI)", t, 64*t)
	}
	end()
}

// rows3 computes one channel of a depthwise convolution of 3×3 taps, two vectors of
// columns at a time from top to bottom. A row of the source is loaded once and adds to
// three rows of the result, whose sums are in registers: sets 0 to 2 in turn are the
// row above, the one beside and the one below. Each sum is in two parts, because one
// chain of additions would take longer than the multiplications.
func rows3() {
	begin("rows3", "Rows3")
	p("MOVQ 32(DI), R9")
	p("MOVQ 40(DI), R10")
	weight := func(row, column int) int { return 23 + 3*row + column }
	for i := range 9 {
		p("VBROADCASTSS (R9), Z%d", 23+i)
		p("ADDQ R10, R9")
	}
	p("MOVQ 0(DI), R11")
	p("MOVQ 8(DI), R12")
	p("MOVQ 24(DI), R8")
	p("MOVQ 48(DI), SI")
	p("MOVQ 56(DI), DX")
	sum := func(set, block, half int) int { return set*4 + block*2 + half }
	// multiply adds a row of the source to a set, or begins it.
	multiply := func(set, row int, begins bool) {
		for column := range 3 {
			for block := range 2 {
				op, to := "VFMADD231PS", sum(set, block, column/2)
				if begins && column != 1 {
					op = "VMULPS"
				}
				p("%s Z%d, Z%d, Z%d", op, 12+3*block+column, weight(row, column), to)
			}
		}
	}
	store := func(set int) {
		for block := range 2 {
			p("VADDPS Z%d, Z%d, Z%d", sum(set, block, 1), sum(set, block, 0), sum(set, block, 0))
			p("VMOVUPS Z%d, K%d, %d(AX)", sum(set, block, 0), 2+3*block, 64*block)
		}
		p("ADDQ R8, AX")
	}
	load := func() {
		for block := range 2 {
			for column := range 3 {
				p("VMOVUPS.Z %d(BX), K%d, Z%d", 64*block+4*column-4, 1+3*block+column, 12+3*block+column)
			}
		}
		p("ADDQ R8, BX")
	}
	p("group:")
	for k := range 6 {
		p("KMOVW %d(SI), K%d", 2*k, k+1)
	}
	p("MOVQ R11, AX")
	p("MOVQ R12, BX")
	p("MOVQ 16(DI), CX")
	load()
	multiply(1, 1, true)
	multiply(2, 0, true)
	p("DECQ CX")
	p("JZ exit0")
	for _, s := range []int{1, 2, 0} {
		if s == 1 {
			p("loop:")
		}
		load()
		multiply(s, 2, false)
		multiply((s+1)%3, 1, false)
		multiply((s+2)%3, 0, true)
		store(s)
		p("DECQ CX")
		if s > 0 {
			p("JZ exit%d", s)
		} else {
			p("JNZ loop")
		}
	}
	for s := range 3 {
		p("exit%d:", s)
		store((s + 1) % 3)
		if s < 2 {
			p("JMP next")
		}
	}
	p("next:")
	p("ADDQ $128, R11")
	p("ADDQ $128, R12")
	p("ADDQ $12, SI")
	p("DECQ DX")
	p("JNZ group")
	end()
}

// sums3 adds up the gradients of 3×3 taps, one vector of columns at a time. A row of
// the source meets three rows of the gradient, which are in registers: sets 0 to 2 in
// turn are the row above, the one beside and the one below.
func sums3() {
	begin("sums3", "Rows3")
	p("MOVQ 32(DI), R9")
	for t := range 9 {
		p("VMOVUPS %d(R9), Z%d", 64*t, t)
	}
	p("MOVQ 0(DI), R11")
	p("MOVQ 8(DI), R12")
	p("MOVQ 24(DI), R8")
	p("MOVQ 48(DI), SI")
	p("MOVQ 56(DI), DX")
	p("SHLQ $1, DX")
	load := func() {
		for column := range 3 {
			p("VMOVUPS.Z %d(BX), K%d, Z%d", 4*column-4, 1+column, 12+column)
		}
		p("ADDQ R8, BX")
	}
	below := func(set int) {
		p("ADDQ R8, AX")
		p("VMOVUPS.Z (AX), K2, Z%d", 9+set)
	}
	multiply := func(set, row int) {
		for column := range 3 {
			p("VFMADD231PS Z%d, Z%d, Z%d", 12+column, 9+set, 3*row+column)
		}
	}
	p("column:")
	for k := range 3 {
		p("KMOVW %d(SI), K%d", 2*k, k+1)
	}
	p("MOVQ R11, AX")
	p("MOVQ R12, BX")
	p("MOVQ 16(DI), CX")
	p("VMOVUPS.Z (AX), K2, Z10")
	load()
	multiply(1, 1)
	p("DECQ CX")
	p("JZ next")
	below(2)
	multiply(2, 0)
	for _, s := range []int{1, 2, 0} {
		if s == 1 {
			p("loop:")
		}
		load()
		multiply(s, 2)
		multiply((s+1)%3, 1)
		p("DECQ CX")
		p("JZ next")
		below((s + 2) % 3)
		multiply((s+2)%3, 0)
	}
	p("JMP loop")
	p("next:")
	p("ADDQ $64, R11")
	p("ADDQ $64, R12")
	p("ADDQ $6, SI")
	p("DECQ DX")
	p("JNZ column")
	p("MOVQ 32(DI), R9")
	for t := range 9 {
		p("VMOVUPS Z%d, %d(R9)", t, 64*t)
	}
	end()
}

// turn16 transposes blocks of 16×16; rows and columns that are missing are left
// out by masks and branches.
func turn() {
	begin("turn16", "Turn")
	p("MOVQ 0(DI), DX")
	p("MOVQ 8(DI), SI")
	p("MOVQ 16(DI), CX")
	p("MOVQ 24(DI), R12") // rows
	p("MOVQ 40(DI), R10") // distance of the results
	p("MOVQ 48(DI), R8")
	p("MOVL $0xffff, R9")
	p("KMOVW R9, K1")
	p("block:")
	p("CMPQ CX, $16")
	p("JGE whole")
	tail("K1")
	p("whole:")
	p("MOVQ SI, AX")
	for r := range 16 {
		p("VPXORQ Z%d, Z%d, Z%d", r, r, r)
	}
	for r := range 16 {
		p("CMPQ R12, $%d", r)
		p("JLE loaded")
		p("VMOVUPS.Z (AX), K1, Z%d", r)
		if r < 15 {
			p("ADDQ R8, AX")
		}
	}
	p("loaded:")
	for r := 0; r < 16; r += 2 {
		p("VUNPCKLPS Z%d, Z%d, Z%d", r+1, r, 16+r)
		p("VUNPCKHPS Z%d, Z%d, Z%d", r+1, r, 17+r)
	}
	// Register 4g+c: in each lane of four, column c of rows 4g … 4g+3.
	for g := range 4 {
		a, b := 16+4*g, 18+4*g
		p("VUNPCKLPD Z%d, Z%d, Z%d", b, a, 4*g)
		p("VUNPCKHPD Z%d, Z%d, Z%d", b, a, 4*g+1)
		p("VUNPCKLPD Z%d, Z%d, Z%d", b+1, a+1, 4*g+2)
		p("VUNPCKHPD Z%d, Z%d, Z%d", b+1, a+1, 4*g+3)
	}
	// For each c the lanes of registers c, 4+c, 8+c, 12+c are a 4×4 transpose.
	for c := range 4 {
		p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 4+c, c, 16+c)
		p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 4+c, c, 20+c)
		p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 12+c, 8+c, 24+c)
		p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 12+c, 8+c, 28+c)
	}
	for c := range 4 {
		p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 24+c, 16+c, c)
		p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 28+c, 20+c, 4+c)
		p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 24+c, 16+c, 8+c)
		p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 28+c, 20+c, 12+c)
	}
	for c := range 16 {
		p("VMOVUPS Z%d, (DX)", c)
		p("ADDQ R10, DX")
		if c < 15 {
			p("DECQ CX")
			p("JZ done")
		}
	}
	p("ADDQ $64, SI")
	p("DECQ CX")
	p("JNZ block")
	p("done:")
	end()
}

func add() {
	p("TEXT ·add512(SB), NOSPLIT, $0-24")
	p("MOVQ dst+0(FP), DI")
	p("MOVQ src+8(FP), SI")
	p("MOVQ n+16(FP), CX")
	p("SUBQ $16, CX")
	p("JLT rest")
	p("loop:")
	p("VMOVUPS (DI), Z0")
	p("VADDPS (SI), Z0, Z0")
	p("VMOVUPS Z0, (DI)")
	p("ADDQ $64, SI")
	p("ADDQ $64, DI")
	p("SUBQ $16, CX")
	p("JGE loop")
	p("rest:")
	p("ADDQ $16, CX")
	p("JZ done")
	tail("K1")
	p("VMOVUPS.Z (DI), K1, Z0")
	p("VMOVUPS.Z (SI), K1, Z1")
	p("VADDPS Z1, Z0, Z0")
	p("VMOVUPS Z0, K1, (DI)")
	p("done:")
	end()
}

func main() {
	const head = "// Code generated by gen. DO NOT EDIT.\n\n"
	text.WriteString(head + "#include \"textflag.h\"\n\n")
	fmt.Fprintf(&decls, "%spackage conv\n\n", head)
	constant := func(name string, f func(i int) int) {
		for i := range 16 {
			p("DATA ·%s+%d(SB)/4, $%d", name, 4*i, f(i))
		}
		p("GLOBL ·%s(SB), RODATA|NOPTR, $64\n", name)
	}
	constant("even", func(i int) int { return 2 * i })
	constant("odd", func(i int) int { return 2*i + 1 })
	constant("zipLow", func(i int) int { return i/2 + i%2*16 })
	constant("zipHigh", func(i int) int { return 8 + i/2 + i%2*16 })
	constant("low", func(i int) int { return i / 2 })
	constant("high", func(i int) int { return 8 + i/2 })
	unfolds()
	join()
	part()
	spread()
	taps()
	maskedTaps()
	fmt.Fprintf(&decls, "const maxTapSums = %d\n\n", maxTapSums)
	for _, f := range []struct {
		name  string
		print func(k int)
	}{{"tapSums", tapSums}, {"maskedSums", maskedSums}} {
		fmt.Fprintf(&decls, "var %sOf = [...]func(*Taps){\n\tnil", f.name)
		for k := 1; k <= maxTapSums; k++ {
			fmt.Fprintf(&decls, ", %s%d", f.name, k)
		}
		decls.WriteString(",\n}\n\n")
		for k := 1; k <= maxTapSums; k++ {
			f.print(k)
		}
	}
	rows3()
	sums3()
	turn()
	add()
	write("kernels_amd64.s", text.String())
	write("kernels_amd64.go", strings.TrimSuffix(decls.String(), "\n"))
}

func write(name, s string) {
	if err := os.WriteFile(name, []byte(s), 0o666); err != nil {
		log.Fatal(err)
	}
}
