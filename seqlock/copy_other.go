//go:build !amd64 || race

package seqlock

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// copyOut copies len(dst) bytes of a slot to private memory.
func copyOut(dst []byte, src []uint64) { copyWords(dst, src) }

// copyLine is copyOut for 64 bytes, without a loop.
func copyLine(dst, src unsafe.Pointer) {
	d, s := (*[64]byte)(dst), (*[8]uint64)(src) // dst may have any alignment
	binary.NativeEndian.PutUint64(d[0:], atomic.LoadUint64(&s[0]))
	binary.NativeEndian.PutUint64(d[8:], atomic.LoadUint64(&s[1]))
	binary.NativeEndian.PutUint64(d[16:], atomic.LoadUint64(&s[2]))
	binary.NativeEndian.PutUint64(d[24:], atomic.LoadUint64(&s[3]))
	binary.NativeEndian.PutUint64(d[32:], atomic.LoadUint64(&s[4]))
	binary.NativeEndian.PutUint64(d[40:], atomic.LoadUint64(&s[5]))
	binary.NativeEndian.PutUint64(d[48:], atomic.LoadUint64(&s[6]))
	binary.NativeEndian.PutUint64(d[56:], atomic.LoadUint64(&s[7]))
}
