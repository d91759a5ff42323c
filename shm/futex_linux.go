//go:build amd64 || arm64

package shm

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"os"
	"structs"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// futexes is the way in which a parker's leader parks.
type futexes interface {
	// park parks until one of keys is woken, has changed, or is unmapped, or
	// until kick is called, or limit (if not 0) is over. It returns the index of a
	// key that was woken, -1 for a kick, or the error of the system call.
	park(control *atomic.Uint32, value uint32, keys []key, limit time.Duration) (int, syscall.Errno)
	// kick ends the park on keys.
	kick(control *atomic.Uint32, keys []key)
	// width is how many keys park really watches: the first ones.
	width() int
	// forever is the limit for a park that needs none.
	forever() time.Duration
}

// systemFutexes returns the best that this kernel has. A kernel that knows
// futex_waitv complains about an empty list; an older one, an emulator or a
// system call filter says something else.
func systemFutexes() futexes {
	if _, _, errno := unix.Syscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0); errno == unix.EINVAL {
		return new(waitv)
	}
	return newSingle()
}

const (
	futexWaitOp       = 0
	futexWakeOp       = 1
	futexCmpRequeueOp = 4
	futexWaitBitsetOp = 9
	futexWakeBitsetOp = 10
	futexPrivate      = 128
	futexMatchAny     = 1<<32 - 1

	futex2U32 = 2 // of futex_waitv: the word has 32 bits
)

// waitv parks with futex_waitv: the control word and up to 127 others.
type waitv struct {
	list [1 + maxWords]futexWaitv
}

// futexWaitv is struct futex_waitv of <linux/futex.h>.
type futexWaitv struct {
	_     structs.HostLayout
	val   uint64
	uaddr uint64
	flags uint32
	_     uint32
}

func (v *waitv) width() int             { return maxWords }
func (v *waitv) forever() time.Duration { return 0 }

func (v *waitv) park(control *atomic.Uint32, value uint32, keys []key, limit time.Duration) (int, syscall.Errno) {
	v.list[0] = futexWaitv{val: uint64(value), uaddr: addressOf(controlWord(control)), flags: futex2U32 | futexPrivate}
	for i, k := range keys {
		v.list[1+i] = futexWaitv{val: uint64(k.old), uaddr: addressOf(k.word), flags: futex2U32}
	}
	i, errno := futexWaitMany(v.list[:1+len(keys)], deadline(limit))
	return i - 1, errno
}

func (v *waitv) kick(control *atomic.Uint32, _ []key) {
	futexOp(controlWord(control), futexWakeOp|futexPrivate, 1, nil, 0)
}

// single parks with a plain futex, on the first word only. It is kicked through
// that word: it waits with one bit of the futex's bitset, drawn at random for the
// process, and a kick wakes those with that bit. An ordinary wake matches all
// bits.
type single struct{ bit uint32 }

func newSingle() *single { return &single{1 << rand.IntN(bits.UintSize/2)} }

func (s *single) width() int { return 1 }

// forever bounds a park, because a kick that comes between the look at the
// control word and the park is lost.
func (s *single) forever() time.Duration { return 20 * time.Millisecond }

func (s *single) park(control *atomic.Uint32, value uint32, keys []key, limit time.Duration) (int, syscall.Errno) {
	if control.Load() != value {
		return -1, unix.EAGAIN
	}
	_, errno := futexSleep(keys[0].word, keys[0].old, deadline(limit), s.bit)
	if errno == 0 && control.Load() != value {
		errno = unix.EAGAIN // a kick, perhaps a wake as well: let the words be looked at
	}
	return 0, errno
}

func (s *single) kick(_ *atomic.Uint32, keys []key) {
	futexOp(keys[0].word, futexWakeBitsetOp, wakeAll, nil, s.bit)
}

// deadline is the point of the monotonic clock that is limit away, nil for never.
func deadline(limit time.Duration) *unix.Timespec {
	if limit == 0 {
		return nil
	}
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return &unix.Timespec{} // in the past: a busy wait rather than an endless one
	}
	t := unix.NsecToTimespec(now.Nano() + int64(limit))
	return &t
}

// futexWake wakes up to n waiters on word.
func futexWake(word *uint32, n int) (int, error) {
	woken, errno := futexOp(word, futexWakeOp, uint32(n), nil, 0)
	switch errno {
	case 0:
		return woken, nil
	case unix.EFAULT:
		return 0, fail("wake", "", ErrUnmapped, "hold a view of the segment while you wake")
	}
	return 0, fail("wake", "", os.NewSyscallError("futex", errno), "")
}

// futexChanged reports whether *word is no longer old. The kernel looks, not we,
// so a word without memory is an error and not a fault: FUTEX_CMP_REQUEUE of no
// waiters does nothing else than compare.
func futexChanged(word *uint32, old uint32) (bool, error) {
	_, errno := futexOp(word, futexCmpRequeueOp, 0, word, old)
	switch errno {
	case 0:
		return false, nil
	case unix.EAGAIN:
		return true, nil
	case unix.EFAULT:
		return false, ErrUnmapped
	}
	return false, errors.Join(ErrUnmapped, os.NewSyscallError("futex", errno))
}
