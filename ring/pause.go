package ring

import (
	"sync"
	"time"
)

// microPauses is how often the machine's pause instruction is to be executed to
// spend about a microsecond: from 10 cycles to 140 it differs widely.
var microPauses = sync.OnceValue(func() int {
	const n = 64
	best := time.Duration(1 << 62)
	for range 4 { // the least of several: the others were interrupted
		start := time.Now()
		pause(n)
		best = min(best, time.Since(start))
	}
	return int(max(1, min(1000, n*time.Microsecond/max(best, 1))))
})
