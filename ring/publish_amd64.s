//go:build !race && !ring_seqcst

#include "textflag.h"

// func publishAhead(p *uint64, v uint64, ahead unsafe.Pointer, n uint64)
//
// The assembler has no PREFETCHW. Processors without it take it for a NOP.
TEXT ·publishAhead(SB), NOSPLIT, $0-32
	MOVQ p+0(FP), AX
	MOVQ v+8(FP), CX
	MOVQ ahead+16(FP), DX
	MOVQ n+24(FP), BX
	MOVQ CX, (AX)
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0A             // PREFETCHW (DX)
	BYTE $0x0F; BYTE $0x0D; BYTE $0x4A; BYTE $0x40 // PREFETCHW 64(DX)
	SUBQ $-128, DX
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0A
	BYTE $0x0F; BYTE $0x0D; BYTE $0x4A; BYTE $0x40
	SUBQ $256, BX
	JGT  more
	RET
more:
	SUBQ $-128, DX
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0A
	BYTE $0x0F; BYTE $0x0D; BYTE $0x4A; BYTE $0x40
	SUBQ $128, BX
	JGT  more
	RET
