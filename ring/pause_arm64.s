#include "textflag.h"

// func pause(n int)
//
// ISB SY: YIELD does nothing on most cores, ISB waits for the pipeline.
TEXT ·pause(SB),NOSPLIT,$0-8
	MOVD	n+0(FP), R0
again:
	ISB	$15
	SUBS	$1, R0
	BGT	again
	RET
