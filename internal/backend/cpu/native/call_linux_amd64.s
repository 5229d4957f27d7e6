#include "textflag.h"

// func Call(entry uintptr, args unsafe.Pointer)
//
// The code returns to the caller of Call: there is no frame in between, and while
// the code runs the stack looks as in any leaf function.
TEXT ·Call(SB), NOSPLIT, $0-16
	MOVQ entry+0(FP), DX
	MOVQ args+8(FP), AX
	JMP DX
