package main

import (
	"fmt"
	"strings"
)

// pairRows prints the routine that interleaves two rows of bfloat16, 16 values for
// each of nv vectors.
func pairRows(p func(string, ...any), nv int) {
	load := func(row int, address string) {
		for j := range nv {
			p("\tVPMOVZXWD.Z %d%s, K%d, Z%d", 32*j, address, j+1, row*nv+j)
		}
	}
	store := func() {
		for j := range nv {
			if nv == 1 {
				p("\tVMOVDQU32 Z0, K1, (DI)")
			} else {
				p("\tVMOVDQU32 Z%d, %d(DI)", j, 64*j)
			}
		}
	}
	if nv == 1 {
		p(`
// func pairRows16(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)
TEXT ·pairRows16(SB), NOSPLIT, $0-48
	MOVQ dstStride+32(FP), R9
	KMOVQ mask+40(FP), K1
	MOVQ srcStride+24(FP), R8`)
	} else {
		p(`
// func pairRows32(dst, src unsafe.Pointer, rows, stride int, mask uint64)
TEXT ·pairRows32(SB), NOSPLIT, $0-40
	MOVQ $128, R9
	KMOVQ mask+32(FP), K1
	KSHIFTRQ $16, K1, K2
	MOVQ stride+24(FP), R8`)
	}
	p(`	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	SUBQ $2, CX
	JLT odd
loop:`)
	load(0, "(SI)")
	load(1, "(SI)(R8*1)")
	for j := range nv {
		p("\tVPSLLD $16, Z%d, Z%d", nv+j, nv+j)
		p("\tVPORD Z%d, Z%d, Z%d", nv+j, j, j)
	}
	store()
	p(`	LEAQ (SI)(R8*2), SI
	ADDQ R9, DI
	SUBQ $2, CX
	JGE loop
odd:
	ADDQ $2, CX
	JZ done`)
	load(0, "(SI)")
	store()
	p(`done:
	VZEROUPPER
	RET`)
}

// widenRows prints the routine that converts rows of bfloat16, 16 values for each
// of nv vectors, to float32.
func widenRows(p func(string, ...any), nv int) {
	if nv == 1 {
		p(`
// func widenRows16(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)
TEXT ·widenRows16(SB), NOSPLIT, $0-48
	MOVQ dstStride+32(FP), R9
	KMOVQ mask+40(FP), K1
	MOVQ srcStride+24(FP), R8`)
	} else {
		p(`
// func widenRows32(dst, src unsafe.Pointer, rows, stride int, mask uint64)
TEXT ·widenRows32(SB), NOSPLIT, $0-40
	MOVQ $128, R9
	KMOVQ mask+32(FP), K1
	KSHIFTRQ $16, K1, K2
	MOVQ stride+24(FP), R8`)
	}
	p(`	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
loop:`)
	for j := range nv {
		p("\tVPMOVZXWD.Z %d(SI), K%d, Z%d", 32*j, j+1, j)
	}
	for j := range nv {
		p("\tVPSLLD $16, Z%d, Z%d", j, j)
	}
	if nv == 1 {
		p("\tVMOVDQU32 Z0, K1, (DI)")
	} else {
		for j := range nv {
			p("\tVMOVDQU32 Z%d, %d(DI)", j, 64*j)
		}
	}
	p(`	ADDQ R8, SI
	ADDQ R9, DI
	SUBQ $1, CX
	JNZ loop
	VZEROUPPER
	RET`)
}

// widenY prints the routine that converts rows of whole vectors with AVX2.
func widenY(p func(string, ...any)) {
	p(`
// func widenRows8(dst, src unsafe.Pointer, rows, vectors, srcStride, dstStride int)
TEXT ·widenRows8(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), DX
	MOVQ vectors+24(FP), R8
	MOVQ srcStride+32(FP), R9
	MOVQ dstStride+40(FP), R10
row:
	MOVQ SI, AX
	MOVQ DI, BX
	MOVQ R8, CX
loop:
	VPMOVZXWD (AX), Y0
	VPSLLD $16, Y0, Y0
	VMOVDQU Y0, (BX)
	ADDQ $16, AX
	ADDQ $32, BX
	SUBQ $1, CX
	JNZ loop
	ADDQ R9, SI
	ADDQ R10, DI
	SUBQ $1, DX
	JNZ row
	VZEROUPPER
	RET`)
}

// transpose prints the transpose of 16 rows of 32-bit words. If widen is set, these
// are pairs of bfloat16, of which it makes two rows of float32: a bfloat16 is the
// upper half of the float32 of the same value.
func transpose(p func(string, ...any), widen bool) {
	name := "transpose16"
	if widen {
		name = "transposePairs16"
	}
	p("\n// func %s(dst, src unsafe.Pointer, blocks, srcStride, dstStride int)", name)
	p("TEXT ·%s(SB), NOSPLIT, $0-40", name)
	p(`	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ blocks+16(FP), CX
	MOVQ srcStride+24(FP), R8
	MOVQ dstStride+32(FP), DX
	LEAQ (R8)(R8*2), R9
	LEAQ (R8)(R8*4), R10
	LEAQ (R9)(R8*4), R11
	LEAQ (SI)(R8*8), BX
loop:`)
	index := []string{"", "(R8*1)", "(R8*2)", "(R9*1)", "(R8*4)", "(R10*1)", "(R9*2)", "(R11*1)"}
	for r := range 16 {
		p("\tVMOVUPS (%s)%s, Z%d", []string{"SI", "BX"}[r/8], index[r%8], r)
	}
	for r := 0; r < 16; r += 2 {
		p("\tVUNPCKLPS Z%d, Z%d, Z%d", r+1, r, 16+r)
		p("\tVUNPCKHPS Z%d, Z%d, Z%d", r+1, r, 17+r)
	}
	// Register 4g+c: in each lane of four, column c of rows 4g … 4g+3.
	for g := range 4 {
		a, b := 16+4*g, 18+4*g
		p("\tVUNPCKLPD Z%d, Z%d, Z%d", b, a, 4*g)
		p("\tVUNPCKHPD Z%d, Z%d, Z%d", b, a, 4*g+1)
		p("\tVUNPCKLPD Z%d, Z%d, Z%d", b+1, a+1, 4*g+2)
		p("\tVUNPCKHPD Z%d, Z%d, Z%d", b+1, a+1, 4*g+3)
	}
	// For each c the lanes of registers c, 4+c, 8+c, 12+c are a 4×4 transpose.
	for c := range 4 {
		p("\tVSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 4+c, c, 16+c)
		p("\tVSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 4+c, c, 20+c)
		p("\tVSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 12+c, 8+c, 24+c)
		p("\tVSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 12+c, 8+c, 28+c)
	}
	for c := range 4 {
		p("\tVSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 24+c, 16+c, c)
		p("\tVSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 28+c, 20+c, 4+c)
		p("\tVSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 24+c, 16+c, 8+c)
		p("\tVSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 28+c, 20+c, 12+c)
	}
	if widen {
		p("\tVPTERNLOGD $0xff, Z31, Z31, Z31")
		p("\tVPSLLD $16, Z31, Z31") // the upper half
	}
	for c := range 16 {
		if widen {
			p("\tVPSLLD $16, Z%d, Z%d", c, 16+c%8)
			p("\tVMOVUPS Z%d, (DI)", 16+c%8)
			p("\tADDQ DX, DI")
			p("\tVPANDD Z31, Z%d, Z%d", c, c)
		}
		p("\tVMOVUPS Z%d, (DI)", c)
		p("\tADDQ DX, DI")
	}
	p(`	ADDQ $64, SI
	ADDQ $64, BX
	SUBQ $1, CX
	JNZ loop
	VZEROUPPER
	RET`)
}

// pack prints the packing routines for AVX-512: copies of rows with masks, the
// transpose of sixteen rows, and what is done with bfloat16.
func pack(s *strings.Builder) {
	p := func(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }
	p(`// func copyRows32(dst, src unsafe.Pointer, rows, stride int, mask uint64)
TEXT ·copyRows32(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	MOVQ stride+24(FP), R8
	KMOVQ mask+32(FP), K1
	KSHIFTRQ $16, K1, K2
	LEAQ (R8)(R8*2), R9
	SUBQ $4, CX
	JLT tail
loop:
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS.Z 64(SI), K2, Z1
	VMOVUPS.Z (SI)(R8*1), K1, Z2
	VMOVUPS.Z 64(SI)(R8*1), K2, Z3
	VMOVUPS.Z (SI)(R8*2), K1, Z4
	VMOVUPS.Z 64(SI)(R8*2), K2, Z5
	VMOVUPS.Z (SI)(R9*1), K1, Z6
	VMOVUPS.Z 64(SI)(R9*1), K2, Z7`)
	for i := range 8 {
		p("\tVMOVUPS Z%d, %d(DI)", i, 64*i)
	}
	p(`	LEAQ (SI)(R8*4), SI
	ADDQ $512, DI
	SUBQ $4, CX
	JGE loop
tail:
	ADDQ $4, CX
	JZ done
one:
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS.Z 64(SI), K2, Z1
	VMOVUPS Z0, (DI)
	VMOVUPS Z1, 64(DI)
	ADDQ R8, SI
	ADDQ $128, DI
	SUBQ $1, CX
	JNZ one
done:
	VZEROUPPER
	RET

// func copyRows16(dst, src unsafe.Pointer, rows, stride int, mask uint64)
TEXT ·copyRows16(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	MOVQ stride+24(FP), R8
	KMOVQ mask+32(FP), K1
	LEAQ (R8)(R8*2), R9
	SUBQ $4, CX
	JLT tail
loop:
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS.Z (SI)(R8*1), K1, Z1
	VMOVUPS.Z (SI)(R8*2), K1, Z2
	VMOVUPS.Z (SI)(R9*1), K1, Z3
	VMOVUPS Z0, (DI)
	VMOVUPS Z1, 64(DI)
	VMOVUPS Z2, 128(DI)
	VMOVUPS Z3, 192(DI)
	LEAQ (SI)(R8*4), SI
	ADDQ $256, DI
	SUBQ $4, CX
	JGE loop
tail:
	ADDQ $4, CX
	JZ done
one:
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS Z0, (DI)
	ADDQ R8, SI
	ADDQ $64, DI
	SUBQ $1, CX
	JNZ one
done:
	VZEROUPPER
	RET`)
	transpose(p, false)
	transpose(p, true)
	pairRows(p, 1)
	pairRows(p, 2)
	widenRows(p, 1)
	widenRows(p, 2)
	widenY(p)
}
