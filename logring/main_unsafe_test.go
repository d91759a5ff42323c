package logring

import "unsafe"

// wordBytes views words as bytes: heap memory that is aligned as a ring wants it.
func wordBytes(w []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), 8*len(w))
}
