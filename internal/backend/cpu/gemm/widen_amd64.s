#include "textflag.h"

// func widen32(dst, src unsafe.Pointer, rows, stride int, mask uint64)
TEXT ·widen32(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	MOVQ stride+24(FP), R8
	KMOVQ mask+32(FP), K1
	KSHIFTRQ $16, K1, K2
	TESTQ CX, CX
	JLE done
loop:
	VPMOVZXWD.Z (SI), K1, Z0
	VPMOVZXWD.Z 32(SI), K2, Z1
	VPSLLD $16, Z0, Z0
	VPSLLD $16, Z1, Z1
	VMOVDQU32 Z0, (DI)
	VMOVDQU32 Z1, 64(DI)
	ADDQ R8, SI
	ADDQ $128, DI
	DECQ CX
	JNZ loop
	VZEROUPPER
done:
	RET

// func widen16(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)
TEXT ·widen16(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	MOVQ srcStride+24(FP), R8
	MOVQ dstStride+32(FP), R9
	KMOVQ mask+40(FP), K1
	TESTQ CX, CX
	JLE done
loop:
	VPMOVZXWD.Z (SI), K1, Z0
	VPSLLD $16, Z0, Z0
	VMOVDQU32 Z0, K1, (DI)
	ADDQ R8, SI
	ADDQ R9, DI
	DECQ CX
	JNZ loop
	VZEROUPPER
done:
	RET

// func unzip32(dst, src unsafe.Pointer, rows int)
TEXT ·unzip32(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	MOVL $0xffff0000, AX
	VPBROADCASTD AX, Z31
loop:
	VMOVDQU32 (SI), Z0
	VMOVDQU32 64(SI), Z1
	VPSLLD $16, Z0, Z2
	VPSLLD $16, Z1, Z3
	VPANDD Z31, Z0, Z0
	VPANDD Z31, Z1, Z1
	VMOVDQU32 Z2, (DI)
	VMOVDQU32 Z3, 64(DI)
	VMOVDQU32 Z0, 128(DI)
	VMOVDQU32 Z1, 192(DI)
	ADDQ $128, SI
	ADDQ $256, DI
	DECQ CX
	JNZ loop
	VZEROUPPER
	RET

// func vendor() (b, d, c uint32)
TEXT ·vendor(SB), NOSPLIT, $0-12
	XORL AX, AX
	XORL CX, CX
	CPUID
	MOVL BX, b+0(FP)
	MOVL DX, d+4(FP)
	MOVL CX, c+8(FP)
	RET
