#include "textflag.h"

// func callers(pcs *[8]uintptr) int
//
// Go keeps frame pointers on this processor: BP points at the caller's saved BP, and
// the return address lies above it. Nothing can move the stack meanwhile, for
// assembly is not preempted.
TEXT ·callers(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ pcs+0(FP), DI
	MOVQ BP, AX
	XORQ CX, CX

next:
	TESTQ AX, AX
	JZ    done
	MOVQ  8(AX), DX
	MOVQ  DX, (DI)(CX*8)
	INCQ  CX
	MOVQ  (AX), AX
	CMPQ  CX, $8
	JLT   next

done:
	MOVQ CX, ret+8(FP)
	RET
