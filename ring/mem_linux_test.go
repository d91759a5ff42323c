package ring_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"shmkit/ring"
)

// memfd returns an anonymous file of the given size.
func memfd(t testing.TB, size int) *os.File {
	t.Helper()
	nr := map[string]uintptr{"amd64": 319, "arm64": 279}[runtime.GOARCH]
	name := []byte("ring-test\x00")
	fd, _, e := syscall.Syscall(nr, uintptr(unsafe.Pointer(&name[0])), 1 /* MFD_CLOEXEC */, 0)
	if e != 0 {
		t.Skipf("memfd_create: %v", e)
	}
	f := os.NewFile(fd, "memfd:ring-test")
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// mapFile maps size bytes of f.
func mapFile(f *os.File, size int) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

// mapped returns a mapping that ends with the test.
func mapped(t testing.TB, f *os.File, size int) []byte {
	t.Helper()
	m, err := mapFile(f, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(m) })
	return m
}

// futex is the plainest Waiter: the calling thread sleeps in the kernel, a second
// at most so that it notices the end of the context.
type futex struct{}

var _ ring.Waiter = futex{}

func (futex) Wait(ctx context.Context, word *uint32, old uint32) error {
	stop := context.AfterFunc(ctx, func() { futex{}.Wake(word) })
	defer stop()
	for atomic.LoadUint32(word) == old {
		if err := ctx.Err(); err != nil {
			return err
		}
		ts := syscall.NsecToTimespec(int64(50 * time.Millisecond))
		_, _, e := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0, uintptr(old), uintptr(unsafe.Pointer(&ts)), 0, 0)
		if e == 0 || e == syscall.EAGAIN {
			return nil
		}
		if e != syscall.EINTR && e != syscall.ETIMEDOUT {
			return errors.New("futex wait: " + e.Error())
		}
	}
	return nil
}

func (futex) Wake(word *uint32) error {
	_, _, e := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1, 1, 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// at returns a word of a view, as another process sees it.
func at(view []byte, off int) *uint64 { return (*uint64)(ptr(view, off)) }

func ptr(view []byte, off int) unsafe.Pointer { return unsafe.Pointer(&view[off : off+8][0]) }
