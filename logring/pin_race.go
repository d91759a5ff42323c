//go:build race

package logring

import (
	"runtime"
	"unsafe"
)

// pin is the other one, and tells the race detector what it cannot see: whoever
// is pinned to a P comes after whoever was before.
func (w *Writer) pin() *lane {
	if p := procPin(); p < len(w.lanes) {
		l := &w.lanes[p]
		runtime.RaceAcquire(unsafe.Pointer(l))
		return l
	}
	procUnpin()
	return nil
}

func (l *lane) unpin() {
	runtime.RaceRelease(unsafe.Pointer(l))
	procUnpin()
}
