package logring

import (
	"os"
	"strings"
	"sync"
	"time"
)

const clocksource = "/sys/devices/system/clocksource/clocksource0/current_clocksource"

// ticksTrusted reports whether the kernel makes its own monotonic clock of the time stamp
// counter, and of nothing else. The node asks; its workers do as it says.
//
// Where the clock source is tsc, the kernel found the counter constant, never stopping, and
// equal on all CPUs. A guest of KVM has kvm-clock: the counter times a factor, plus an
// offset, from a page of the host's. Programs may read that one without a system call only
// while the host vouches that the counters of all CPUs are one (PVCLOCK_TSC_STABLE_BIT in
// the kernel's vread_pvclock); whether they may is seen from what it costs. A guest that is
// moved to another host gets a new factor, which the [tickClock] finds out by itself, as
// it does after a suspension.
var ticksTrusted = sync.OnceValue(func() bool {
	b, err := os.ReadFile(clocksource)
	if !hasTicks || err != nil {
		return false
	}
	switch strings.TrimSpace(string(b)) {
	case "tsc":
		return true
	case "kvm-clock":
		return fastest(monotonic) < fastest(systemMonotonic)/2
	}
	return false
})

// fastest returns what a call of f takes if nothing interrupts it.
func fastest(f func() int64) time.Duration {
	best := time.Duration(1 << 62)
	for range 16 {
		start := time.Now()
		f()
		f()
		best = min(best, time.Since(start))
	}
	return best
}
