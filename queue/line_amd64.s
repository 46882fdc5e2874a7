//go:build !race

#include "textflag.h"

// Two slots at a time with SSE2, which every amd64 processor has. Loads and stores of 16 aligned bytes are one
// access on processors that have AVX; on older ones each half is. Loads are not reordered with one another, nor
// stores, nor a store with a load before it.

// BOTH puts a word into both halves of a register.
#define BOTH(word, x) \
	MOVQ word, x \
	PUNPCKLQDQ x, x

// COUNT leaves in CX how many lines both slices have, given the lengths in CX and R8.
#define COUNT \
	CMPQ CX, R8 \
	CMOVQGT R8, CX \
	SHRQ $3, CX

// CHECK adds to X9 the signs of at = x - first and of last - at, one of which is negative where x is outside.
// It needs first in X13 and last in X12, and uses X4 and X5.
#define CHECK(x) \
	MOVO x, X4 \
	PSUBQ X13, X4 \
	MOVO X12, X5 \
	PSUBQ X4, X5 \
	POR X4, X9 \
	POR X5, X9

// CLEAN leaves 0xffff in DX if no sign is set in X9, and of X10 no bit that is in X11. It needs 0 in X8.
#define CLEAN \
	PAND X11, X10 \
	PSRLQ $63, X9 \
	POR X9, X10 \
	PCMPEQB X8, X10 \
	PMOVMSKB X10, DX

#define TAKE(offset, x) \
	MOVO offset(SI), x \
	PXOR X15, x \
	POR x, X10 \
	PSLLQ $3, x \
	CHECK(x)

#define FILL(offset, x) \
	MOVOU offset(DI), x \
	POR x, X10 \
	CHECK(x) \
	PSRLQ $3, x \
	POR X15, x

// func takeLines(slots []mem.Word, offsets []uint64, full, empty, first, last uint64) int
TEXT ·takeLines(SB), NOSPLIT, $0-88
	MOVQ slots_base+0(FP), SI
	MOVQ slots_len+8(FP), CX
	MOVQ offsets_base+24(FP), DI
	MOVQ offsets_len+32(FP), R8
	COUNT
	BOTH(full+48(FP), X15)
	BOTH(empty+56(FP), X14)
	BOTH(first+64(FP), X13)
	BOTH(last+72(FP), X12)
	MOVQ $~0x7ffffffffff, AX // all but valueMask
	BOTH(AX, X11)
	PXOR X8, X8
	XORL AX, AX
loop:
	CMPQ AX, CX
	JGE done
	PXOR X10, X10
	PXOR X9, X9
	TAKE(0, X0)
	TAKE(16, X1)
	TAKE(32, X2)
	TAKE(48, X3)
	CLEAN
	CMPL DX, $0xffff
	JNE done
	MOVOU X0, 0(DI)
	MOVOU X1, 16(DI)
	MOVOU X2, 32(DI)
	MOVOU X3, 48(DI)
	MOVO X14, 0(SI)
	MOVO X14, 16(SI)
	MOVO X14, 32(SI)
	MOVO X14, 48(SI)
	ADDQ $64, SI
	ADDQ $64, DI
	INCQ AX
	JMP loop
done:
	MOVQ AX, ret+80(FP)
	RET

// func fillLines(slots []mem.Word, offsets []uint64, full, first, last uint64) int
TEXT ·fillLines(SB), NOSPLIT, $0-80
	MOVQ slots_base+0(FP), SI
	MOVQ slots_len+8(FP), CX
	MOVQ offsets_base+24(FP), DI
	MOVQ offsets_len+32(FP), R8
	COUNT
	BOTH(full+48(FP), X15)
	BOTH(first+56(FP), X13)
	BOTH(last+64(FP), X12)
	MOVQ $7, AX // what no multiple of Unit has
	BOTH(AX, X11)
	PXOR X8, X8
	XORL AX, AX
loop:
	CMPQ AX, CX
	JGE done
	PXOR X10, X10
	PXOR X9, X9
	FILL(0, X0)
	FILL(16, X1)
	FILL(32, X2)
	FILL(48, X3)
	CLEAN
	CMPL DX, $0xffff
	JNE done
	MOVO X0, 0(SI)
	MOVO X1, 16(SI)
	MOVO X2, 32(SI)
	MOVO X3, 48(SI)
	ADDQ $64, SI
	ADDQ $64, DI
	INCQ AX
	JMP loop
done:
	MOVQ AX, ret+72(FP)
	RET
