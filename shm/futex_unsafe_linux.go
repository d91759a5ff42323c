//go:build amd64 || arm64

package shm

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addressOf is the address of word for the kernel. Whoever waits on a word keeps
// it alive, and the heap does not move.
func addressOf(word *uint32) uint64 { return uint64(uintptr(unsafe.Pointer(word))) }

// controlWord is the word inside an atomic.Uint32, which is nothing else.
func controlWord(c *atomic.Uint32) *uint32 { return (*uint32)(unsafe.Pointer(c)) }

// futexOp is a futex call that does not sleep, so it need not tell the scheduler.
func futexOp(word *uint32, op int, val uint32, word2 *uint32, val3 uint32) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), uintptr(op), uintptr(val),
		0, uintptr(unsafe.Pointer(word2)), uintptr(val3))
	return int(n), errno
}

// futexSleep waits on one word, for a wake that matches bit.
func futexSleep(word *uint32, old uint32, until *unix.Timespec, bit uint32) (int, syscall.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitBitsetOp, uintptr(old),
		uintptr(unsafe.Pointer(until)), 0, uintptr(bit))
	return int(n), errno
}

// futexWaitMany waits on all of list and returns the index of one that was woken.
func futexWaitMany(list []futexWaitv, until *unix.Timespec) (int, syscall.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), 0,
		uintptr(unsafe.Pointer(until)), unix.CLOCK_MONOTONIC, 0)
	return int(n), errno
}
