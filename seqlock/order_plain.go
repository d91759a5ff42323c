//go:build (amd64 || arm64) && !race

package seqlock

import "unsafe"

// fill copies a payload into a slot with ordinary stores.
//
// Stores: the writer. Loads: readers, word by word, any time; a reader that
// meets one of these stores finds out by the version word and throws its copy
// away, so single stores need no order and no atomicity of their own. The order
// against the version word comes from storeFence before and storeVersion after.
// Both are calls the compiler cannot see through or atomics it may not move
// stores across.
func fill(dst []uint64, src []byte) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst)*wordSize), src)
}

// fill64 is fill for 64 bytes, without the call to memmove that an assignment of
// arrays would be.
func fill64(d, s *[8]uint64) {
	d[0], d[1], d[2], d[3] = s[0], s[1], s[2], s[3]
	d[4], d[5], d[6], d[7] = s[4], s[5], s[6], s[7]
}

// fillLength stores the length word of a slot of the bytes form. It is part of
// the fill.
func fillLength(dst *uint64, n uint64) { *dst = n }
