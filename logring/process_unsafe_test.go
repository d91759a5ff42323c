//go:build linux

package logring

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// counterFile makes a file with room for one counter.
func counterFile(t testing.TB, dir string, i int) string {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprint("counter", i))
	if err := os.WriteFile(path, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mapCounter maps the counter in the file.
func mapCounter(path string) *int64 {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&b[0]))
}

func unmapCounter(p *int64) {
	syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(p)), 8))
}

// wholeMapping is the segment of w, as its process can write it: up to the end of
// the data of its first ring, which is in it from off on.
func wholeMapping(w *Writer) (lease []byte, off int) {
	page := unsafe.Pointer(w.bell.asleep)
	page = unsafe.Add(page, -int(unsafe.Offsetof(nodePage{}.asleep)))
	off = int(uintptr(unsafe.Pointer(w.shared.head)) - uintptr(page))
	return unsafe.Slice((*byte)(page), off+(24<<10)), off
}

// scribble writes random bytes to random places, more often where the words are.
func scribble(b []byte, off, seed int) {
	rnd := rand.New(rand.NewPCG(uint64(seed), 9))
	for range 20000 {
		at := rnd.IntN(len(b) - 8)
		if rnd.IntN(2) == 0 {
			at = off + 4096 + 8*rnd.IntN(80)
		}
		le.PutUint64(b[at&^7:], rnd.Uint64()>>rnd.IntN(64))
	}
}

// ignoreFileSize makes a write beyond RLIMIT_FSIZE an error instead of a signal.
func ignoreFileSize() { signal.Ignore(syscall.SIGXFSZ) }
