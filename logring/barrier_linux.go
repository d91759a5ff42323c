package logring

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// "Publish a record, then look whether the collector sleeps" needs a barrier
// between the store and the load: 6–20 ns in every log call. membarrier(2) moves it
// to the other side: the collector, having announced that it sleeps, makes every
// CPU that runs a registered process pass a full barrier, about 200 ns once each
// time that it falls asleep, and only then looks at the tails. It is the asymmetric
// fence of liburcu and folly.

// Commands of membarrier(2), since Linux 4.16.
const (
	membarrierGlobalExpedited         = 1 << 1
	membarrierRegisterGlobalExpedited = 1 << 2
)

// remoteBarrier makes every running thread of all registered processes pass a
// full memory barrier.
func remoteBarrier() bool {
	_, _, err := unix.RawSyscall(unix.SYS_MEMBARRIER, membarrierGlobalExpedited, 0, 0)
	return err == 0
}

// registerAfter is how long a process logs with barriers of its own before it
// registers. That takes 5 to 20 ms where there is more than one thread, since the
// kernel waits for a grace period of RCU, and the end of a process would wait with it:
// a worker that does little is to be gone by then.
const registerAfter = 100 * time.Millisecond

// accepting is true from when the kernel has registered this process for the
// remoteBarrier of any other. Stored once; loaded by log calls: whoever loads true does
// so after that, and is reached by all barriers from then on.
var accepting atomic.Bool

// acceptBarriers registers this process, soon. Once is enough: it lasts as long as
// the process.
var acceptBarriers = sync.OnceFunc(func() {
	time.AfterFunc(registerAfter, func() {
		_, _, err := unix.Syscall(unix.SYS_MEMBARRIER, membarrierRegisterGlobalExpedited, 0, 0)
		accepting.Store(err == 0)
	})
})
