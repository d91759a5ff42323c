package seqlock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"shmkit/seqlock"
	"shmkit/seqlock/seqlocktest"
)

// mapFile maps size bytes of the file at path, which it makes if need be, until the
// test is over.
func mapFile(tb testing.TB, path string, size, prot int) []byte {
	tb.Helper()
	view, unmap, err := mmap(path, size, prot)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(unmap)
	return view
}

func mmap(path string, size, prot int) (view []byte, unmap func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, nil, err
	}
	view, err = syscall.Mmap(int(f.Fd()), 0, size, prot, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return view, func() { syscall.Munmap(view) }, nil
}

// mappedViews are two mappings of one file: a writable one and a read-only one, so
// that a reader that writes dies of it.
func mappedViews(t *testing.T) seqlocktest.Views {
	return func(size int) (write, read []byte, err error) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			return nil, nil, err
		}
		path := filepath.Join(dir, "latch")
		write = mapFile(t, path, size, syscall.PROT_READ|syscall.PROT_WRITE)
		read = mapFile(t, path, size, syscall.PROT_READ)
		return write, read, nil
	}
}

// TestConformanceMapped runs the suite on mapped memory. The race detector does not
// look at that, but writer and readers have different addresses for it here, and the
// readers may not write.
func TestConformanceMapped(t *testing.T) {
	for _, v := range seqlocktest.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			seqlocktest.Test(t, v, mappedViews(t), futex{})
		})
	}
}

// futex is the bare system call as a Waiter: with no caller's care in between, a lost
// wake would show. It looks at its context every 50 ms.
type futex struct{}

func (futex) Wait(ctx context.Context, word *uint32, old uint32) error {
	const futexWait = 0 // shared between processes
	tick := syscall.NsecToTimespec(int64(50 * time.Millisecond))
	_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait,
		uintptr(old), uintptr(unsafe.Pointer(&tick)), 0, 0)
	switch errno {
	case 0, syscall.EAGAIN, syscall.EINTR, syscall.ETIMEDOUT:
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	return errno
}

func (futex) Wake(word *uint32) error {
	const futexWake, everybody = 1, 1<<31 - 1
	if _, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, everybody, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// parked is a futex whose Wait never ends by itself.
type parked struct{ futex }

func (parked) Wait(ctx context.Context, word *uint32, old uint32) error {
	const futexWait = 0
	_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(old), 0, 0, 0)
	switch errno {
	case 0, syscall.EAGAIN, syscall.EINTR:
		return ctx.Err()
	}
	return errno
}

// TestNoLostWake: a reader that sleeps without a timeout sees every last version. The
// writer publishes a version and only goes on when the reader has told that it saw it,
// so one lost wake stops both; the deadline turns that into a failure.
func TestNoLostWake(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 2_000
	}
	size, _ := seqlock.LatchSize[uint64](4)
	write, read, err := mappedViews(t)(size)
	if err != nil {
		t.Fatal(err)
	}
	w, err := seqlock.NewLatch[uint64](write, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WakeWith(parked{}); err != nil {
		t.Fatal(err)
	}
	seen := make(chan uint64)
	go func() {
		defer close(seen)
		runtime.LockOSThread()
		r, err := seqlock.OpenLatch[uint64](read)
		for v := uint64(0); err == nil && v < uint64(rounds); seen <- v {
			v, err = r.Wait(context.Background(), parked{}, v)
		}
		if err != nil {
			t.Error(err)
		}
	}()
	stuck := time.AfterFunc(time.Minute, func() { panic("a reader sleeps through a published version") })
	defer stuck.Stop()
	for v := uint64(1); v <= uint64(rounds); v++ {
		if _, err := w.Store(&v); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != v {
			t.Fatalf("woken with version %d, want %d", got, v)
		}
	}
	<-seen
}

// TestReadOnlyMapping: what needs to write says so before it touches the memory.
func TestReadOnlyMapping(t *testing.T) {
	size, _ := seqlock.LatchSize[uint64](4)
	write, read, err := mappedViews(t)(size)
	if err != nil {
		t.Fatal(err)
	}
	w, err := seqlock.NewLatch[uint64](write, 4)
	if err != nil {
		t.Fatal(err)
	}
	one := uint64(1)
	w.Store(&one)
	r, err := seqlock.OpenLatch[uint64](read)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Store(&one); !errors.Is(err, seqlock.ErrReadOnly) {
		t.Errorf("Store of a reading side: %v", err)
	}
	if err := r.WakeWith(futex{}); !errors.Is(err, seqlock.ErrReadOnly) {
		t.Errorf("WakeWith of a reading side: %v", err)
	}
	var v uint64
	if version, err := r.Load(&v); v != 1 || version != 1 || err != nil {
		t.Errorf("Load: %d, version %d, %v", v, version, err)
	}
}
