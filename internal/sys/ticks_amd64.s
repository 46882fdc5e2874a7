#include "textflag.h"

// func Ticks() uint64
//
// The fences keep what is measured between two reads from leaking out on either side (Intel SDM, RDTSC;
// on AMD, LFENCE serializes dispatch wherever the kernel has set DE_CFG[1], which Linux does).
TEXT ·Ticks(SB), NOSPLIT|NOFRAME, $0-8
	LFENCE
	RDTSC
	LFENCE
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET
