package logring

import (
	"sync"

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

// acceptBarriers registers this process for remoteBarrier of any other. Once is
// enough: it lasts as long as the process.
var acceptBarriers = sync.OnceValue(func() bool {
	_, _, err := unix.RawSyscall(unix.SYS_MEMBARRIER, membarrierRegisterGlobalExpedited, 0, 0)
	return err == 0
})
