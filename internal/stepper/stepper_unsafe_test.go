//go:build linux

package stepper_test

import (
	"sync/atomic"
	"unsafe"
)

// loadTwice loads the first word of the image two times, in this order.
//
//go:noinline
func loadTwice(image []byte) (a, b uint32) {
	word := (*uint32)(unsafe.Pointer(unsafe.SliceData(image)))
	return atomic.LoadUint32(word), atomic.LoadUint32(word)
}

//go:noinline
func stray(image []byte, side string) {
	at := unsafe.Pointer(unsafe.SliceData(image))
	if side == "before" {
		*(*byte)(unsafe.Add(at, -1))++
	} else {
		*(*byte)(unsafe.Add(at, len(image)))++
	}
}
