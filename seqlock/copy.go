package seqlock

import (
	"encoding/binary"
	"sync/atomic"
)

// copyWords copies len(dst) bytes of a slot to private memory, one atomic load per
// word. It is copyOut, but for large payloads on amd64.
//
// Stores: the writer, by fill. Loads: here. What is read may be a mix of two
// versions; accepting it is the version word's business. What the atomics add:
//
//   - amd64: plain MOVs; loads are made in program order (TSO), so none of them
//     comes after the second load of the version word.
//   - arm64: LDAR; no later load is made before it, so again the second load of
//     the version word comes after all of them, without another fence.
//   - The compiler may not merge, split, repeat or move them.
//
// src has at least ⌈len(dst)/8⌉ words. dst needs no alignment.
func copyWords(dst []byte, src []uint64) {
	for len(dst) >= 8*wordSize {
		d, s := (*[8 * wordSize]byte)(dst), (*[8]uint64)(src)
		binary.NativeEndian.PutUint64(d[0:], atomic.LoadUint64(&s[0]))
		binary.NativeEndian.PutUint64(d[8:], atomic.LoadUint64(&s[1]))
		binary.NativeEndian.PutUint64(d[16:], atomic.LoadUint64(&s[2]))
		binary.NativeEndian.PutUint64(d[24:], atomic.LoadUint64(&s[3]))
		binary.NativeEndian.PutUint64(d[32:], atomic.LoadUint64(&s[4]))
		binary.NativeEndian.PutUint64(d[40:], atomic.LoadUint64(&s[5]))
		binary.NativeEndian.PutUint64(d[48:], atomic.LoadUint64(&s[6]))
		binary.NativeEndian.PutUint64(d[56:], atomic.LoadUint64(&s[7]))
		dst, src = dst[8*wordSize:], src[8:]
	}
	for len(dst) >= wordSize {
		binary.NativeEndian.PutUint64(dst, atomic.LoadUint64(&src[0]))
		dst, src = dst[wordSize:], src[1:]
	}
	if len(dst) > 0 {
		var last [wordSize]byte
		binary.NativeEndian.PutUint64(last[:], atomic.LoadUint64(&src[0]))
		copy(dst, last[:])
	}
}
