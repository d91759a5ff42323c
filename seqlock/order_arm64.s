//go:build arm64 && !race

#include "textflag.h"

// func storeFence()
TEXT ·storeFence(SB), NOSPLIT|NOFRAME, $0-0
	DMB	$0xa // ISHST: stores before, stores after
	RET
