//go:build !race

#include "textflag.h"

// func setUnless(p, other *uint64, i uint64) bool
//
// Or with a result would be a load and a CMPXCHG, for both of which the line has to come.
TEXT ·setUnless(SB), NOSPLIT|NOFRAME, $0-25
	MOVQ p+0(FP), AX
	MOVQ other+8(FP), BX
	MOVQ i+16(FP), CX
	ANDQ $63, CX // or BTSQ would go to the word of bit CX
	MOVQ (BX), DX
	MOVB $0, ret+24(FP)
	BTQ CX, DX
	JCS done
	LOCK
	BTSQ CX, (AX)
	SETCC ret+24(FP)
done:
	RET
