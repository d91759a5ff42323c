//go:build race || (!amd64 && !arm64)

package seqlock

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// The portable form, and the one the race detector understands: every store to
// shared memory is an atomic of the sequentially consistent kind, which orders
// all of them by itself. The algorithm above these few functions is the same.

func storeVersion(word *uint64, v uint64)     { atomic.StoreUint64(word, v) }
func storeVersionBulk(word *uint64, v uint64) { atomic.StoreUint64(word, v) }
func storeFence()                             {}

func fillLength(dst *uint64, n uint64) { atomic.StoreUint64(dst, n) }

func fillLine(dst, src unsafe.Pointer) { fill((*[8]uint64)(dst)[:], bytesAt(src, 64)) }

// fill stores whole words; the last one is padded with zeros.
func fill(dst []uint64, src []byte) {
	for i := 0; len(src) > 0; i++ {
		var word [wordSize]byte
		src = src[copy(word[:], src):]
		atomic.StoreUint64(&dst[i], binary.NativeEndian.Uint64(word[:]))
	}
}
