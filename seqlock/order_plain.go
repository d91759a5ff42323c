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

// line is 64 bytes as a struct: the compiler assigns one by a few vector moves, where
// for an array it would call memmove.
type line struct{ a, b, c, d, e, f, g, h uint64 }

// fillLine is fill for 64 bytes, without a call.
func fillLine(dst, src unsafe.Pointer) { *(*line)(dst) = *(*line)(src) }

// fillLength stores the length word of a slot of the bytes form. It is part of
// the fill.
func fillLength(dst *uint64, n uint64) { *dst = n }
