package seqlock

import (
	"sync/atomic"
	"unsafe"
)

// store publishes the value at src. The way of a value of one cache line is
// written out: at a few nanoseconds a second call, or a loop, is what one would
// measure. All other cases, and all that fails, are storeAny's.
func (w *writer) store(src unsafe.Pointer) (uint64, error) {
	if w.line && src != nil && w.waiter == nil && atomic.LoadUint64(w.published) == w.last {
		v := w.last + 1
		storeFence()
		fillLine(unsafe.Add(w.first, (v&w.mask)*slotAlign), src)
		w.last = v
		storeVersion(w.published, v)
		return v, nil
	}
	return w.storeAny(src)
}

func (w *writer) storeAny(src unsafe.Pointer) (uint64, error) {
	if src == nil {
		return w.last, ErrNilValue
	}
	slot, err := w.begin()
	if err != nil {
		return w.last, err
	}
	fill(slot, bytesAt(src, w.payload))
	return w.commit()
}

// load copies the current version to dst. The way of a value of one cache line is
// written out, as in store; all other cases, and every second attempt, are
// loadAny's.
func (s *slots) load(dst unsafe.Pointer) (uint64, error) {
	if s.line && dst != nil {
		if p := s.version(); p != 0 {
			copyLine(dst, unsafe.Add(s.first, (p&s.mask)*slotAlign))
			if s.accept(p) {
				return p, nil
			}
			s.lapped.Add(1)
		}
	}
	return s.loadAny(dst)
}

func (s *slots) loadAny(dst unsafe.Pointer) (uint64, error) {
	if dst == nil {
		return 0, ErrNilValue
	}
	value := bytesAt(dst, s.payload)
	for range maxAttempts {
		p := s.version()
		if p == 0 {
			return 0, ErrEmpty
		}
		copyOut(value, s.slot(p))
		if s.accept(p) {
			normalise(value, s.bools)
			return p, nil
		}
		s.lapped.Add(1)
	}
	clear(value)
	return s.version(), ErrContended
}
