package ring_test

import (
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// fences are mappings with a page before and behind them that faults.
var fences struct {
	sync.Mutex
	free map[int][][]byte
}

// fenced returns a view that ends where the memory ends: one byte further and the
// process faults. Its contents are whatever they were. done gives it back.
func fenced(t testing.TB, size int) (view []byte, done func()) {
	t.Helper()
	fences.Lock()
	defer fences.Unlock()
	var v []byte
	if l := fences.free[size]; len(l) > 0 {
		v, fences.free[size] = l[len(l)-1], l[:len(l)-1]
	} else {
		v = newFenced(t, size)
	}
	return v, func() {
		fences.Lock()
		defer fences.Unlock()
		if fences.free == nil {
			fences.free = map[int][][]byte{}
		}
		fences.free[size] = append(fences.free[size], v)
	}
}

func newFenced(t testing.TB, size int) []byte {
	t.Helper()
	const page = 4096
	room := (size + page - 1) &^ (page - 1)
	m, err := syscall.Mmap(-1, 0, room+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	for _, fence := range [][]byte{m[:page], m[page+room:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return m[page+room-size : page+room : page+room]
}

// A fence is worth its name only if it faults.
func TestFenceFaults(t *testing.T) {
	v, done := fenced(t, 8192+80)
	defer done()
	if uintptr(unsafe.Pointer(&v[len(v)-1]))%4096 != 4095 {
		t.Error("the view does not end with its page")
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	// The kernel reads the byte behind the view, and reports what a load would meet.
	if _, _, e := syscall.Syscall(syscall.SYS_WRITE, uintptr(fds[1]), uintptr(unsafe.Pointer(unsafe.SliceData(v)))+uintptr(len(v)), 1); e != syscall.EFAULT {
		t.Errorf("the byte behind the view can be read: %v", e)
	}
}
