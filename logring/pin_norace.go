//go:build !race

package logring

// pin returns this P's lane, or nil if it has none: lanes were laid out for the
// CPUs that the node saw, and GOMAXPROCS may be larger, or grow. Only with a lane
// is the goroutine pinned; then unpin has to follow.
func (w *Writer) pin() *lane {
	if p := procPin(); p < len(w.lanes) {
		return &w.lanes[p]
	}
	procUnpin()
	return nil
}

func (l *lane) unpin() { procUnpin() }
