//go:build amd64 && !race

package seqlock

import "unsafe"

// copyOut copies len(dst) bytes of a slot to private memory; see copyWords, which it is
// for small payloads.
//
// Beyond that it is the runtime's memmove, at four times the speed (BenchmarkRead/4K).
// Its loads are ordinary ones, whether of words, vectors or a string instruction, and
// amd64 makes ordinary loads in program order: all of them before the second load of the
// version word, which the compiler does not move over a call. Reading a word twice, as
// memmove may where its strides overlap, does no harm, since nothing looks at the copy
// before it is accepted.
func copyOut(dst []byte, src []uint64) {
	if len(dst) < 128 {
		copyWords(dst, src)
		return
	}
	copy(dst, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(src))), len(src)*wordSize))
}

// copyLine is copyOut for 64 bytes, without a call. The assignment and the atomics around
// it are in one chain of memory operations, which the compiler keeps in order.
func copyLine(dst, src unsafe.Pointer) { *(*line)(dst) = *(*line)(src) }
