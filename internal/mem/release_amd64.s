//go:build !race

#include "textflag.h"

// func storeRelease(p *uint64, v uint64)
//
// Total store order makes every amd64 store a release store.
TEXT ·storeRelease(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ p+0(FP), AX
	MOVQ v+8(FP), CX
	MOVQ CX, (AX)
	RET
