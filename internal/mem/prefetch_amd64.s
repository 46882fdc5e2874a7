#include "textflag.h"

// func PrefetchWrite(p *Word, n uint64)
//
// The assembler has no PREFETCHW, 0F 0D /1. Processors without it take it for a NOP.
TEXT ·PrefetchWrite(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
	TESTQ CX, CX
	JEQ done
loop:
	BYTE $0x0F; BYTE $0x0D; BYTE $0x08 // PREFETCHW (AX)
	ADDQ $64, AX
	SUBQ $1, CX
	JNE loop
done:
	RET
