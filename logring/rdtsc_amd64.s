#include "textflag.h"

// func rdtsc() uint64
//
// Not serialized: it may be taken some instructions early or late, which is less
// than what the merge could tell apart.
TEXT ·rdtsc(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET
