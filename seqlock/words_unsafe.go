package seqlock

import (
	"encoding/binary"
	"unsafe"
)

// lowHalf is the 32-bit word that changes with every version: what a futex
// compares.
func lowHalf(word *uint64) *uint32 {
	if littleEndian {
		return (*uint32)(unsafe.Pointer(word))
	}
	return (*uint32)(unsafe.Add(unsafe.Pointer(word), 4))
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// wordsAt are n words at offset off of a view: the caller has made sure that the
// view is aligned and long enough.
func wordsAt(view []byte, off, n int) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(&view[off:][:n*wordSize][0])), n)
}

// bytesAt are n bytes at p, a value in private memory.
func bytesAt(p unsafe.Pointer, n int) []byte { return unsafe.Slice((*byte)(p), n) }
