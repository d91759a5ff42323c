package shm

import (
	"runtime/debug"
)

// Access calls fn with the region and survives the one thing that ordinary code
// does not: a page of a named segment that is gone because somebody truncated
// or punched the file. The access then ends in a [FaultError], fn is left at
// that point as by a panic (its deferred calls run), and the segment is
// quarantined: every later Access, View and Region refuses it.
//
// The segment cannot be closed while fn runs. fn must touch the region from the
// goroutine that it was called on, and must not keep the slice. Any other panic
// of fn goes through.
//
// The rule it rests on, [debug.SetPanicOnFault], is per goroutine and covers Go
// code, assembly of the runtime such as copy included, but not the inside of
// cgo. System calls that are given such memory fail with EFAULT instead.
func (s *Segment) Access(fn func(region []byte) error) error {
	return s.use("access", fn)
}

func (s *Segment) use(op string, fn func(region []byte) error) error {
	region, err := s.acquire(op)
	if err != nil {
		return err
	}
	defer s.releaseView()
	err = guard(s.mapping, func() error { return fn(region) })
	if f, ok := err.(*FaultError); ok {
		f.Size = len(region)
		return s.quarantine(op, f)
	}
	return err
}

// guard calls fn and turns a fault inside mapping into a *FaultError.
func guard(mapping []byte, fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface{ Addr() uintptr })
		if !ok || !spanOf(mapping).holds(fault.Addr()) {
			panic(r)
		}
		err = &FaultError{Offset: int(fault.Addr()-spanOf(mapping).lo) - PageSize, Size: len(mapping) - PageSize}
	}()
	return fn()
}

// quarantine takes the segment out of use for good. Waiters on its words are
// left alone: the kernel tells them of the fault itself.
func (s *Segment) quarantine(op string, f *FaultError) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = f
	}
	return fail(op, s.name, f, "the segment is quarantined: close it and make it anew")
}

// quarantined is the error for a segment that was taken out of use before. It is
// both ErrQuarantined and what put it there.
func (s *Segment) quarantined(op string) error {
	return fail(op, s.name, &quarantineError{s.fault}, "close it and make it anew")
}

type quarantineError struct{ fault *FaultError }

func (e *quarantineError) Error() string   { return ErrQuarantined.Error() + ": " + e.fault.Error() }
func (e *quarantineError) Unwrap() []error { return []error{ErrQuarantined, e.fault} }
