//go:build amd64 || arm64

package shm

import (
	"os"
	"sync/atomic"
	"unsafe"
)

// touch takes a page fault on each page of the mapping. For writing it adds 0
// with an atomic instruction, because other processes may be writing as well.
//
// Stored and loaded by: nobody that matters. Nothing is published. The add is
// XADD on amd64 and LDADDAL or a LDAXR/STLXR loop on arm64: each needs a page
// that can be written.
func touch(mapping []byte, a Access) {
	for i := 0; i < len(mapping); i += os.Getpagesize() {
		word := (*uint32)(unsafe.Pointer(&mapping[i]))
		if a == ReadWrite {
			atomic.AddUint32(word, 0)
		} else {
			atomic.LoadUint32(word)
		}
	}
}
