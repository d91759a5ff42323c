package seqlock

import (
	"context"
	"slices"
	"sync/atomic"
)

// Writer publishes byte payloads of variable length. One process, and in it one
// goroutine at a time, may use it: a latch has a single writer.
type Writer struct{ w writer }

// OpenWriter opens the writing side of a formatted view. It goes on after the
// version that is published: a predecessor that was killed at any instruction
// has left either the old or the new one, whole.
//
// The view has to be mapped writable, and stay mapped as long as the Writer is
// used. Errors are *[LayoutError].
func OpenWriter(view []byte) (*Writer, error) {
	const op = "open writer"
	g, err := open(op, view, geometry{form: formBytes})
	if err != nil {
		return nil, err
	}
	w := new(Writer)
	w.w.init(view, g, nil)
	if err := w.w.resume(op); err != nil {
		return nil, err
	}
	return w, nil
}

// Publish makes a copy of p the current version and returns its number. An
// empty payload is a version like any other. Readers see the old version until
// the whole new one is there; they are never waited for.
//
// If the error is [ErrTooLarge] (a *[SizeError]) or [ErrSecondWriter], nothing
// was published; any other one comes from the waiter's Wake after publication.
func (w *Writer) Publish(p []byte) (version uint64, err error) {
	if len(p) > w.w.payload {
		return w.w.last, &SizeError{Size: len(p), Max: w.w.payload}
	}
	slot, err := w.w.begin()
	if err != nil {
		return w.w.last, err
	}
	fillLength(&slot[0], uint64(len(p)))
	fill(slot[1:], p)
	return w.w.commit()
}

// Version is the version this writer published last, or found when it was opened.
func (w *Writer) Version() uint64 { return w.w.last }

// MaxPayload is the number of bytes a version may have.
func (w *Writer) MaxPayload() int { return w.w.payload }

// WakeWith makes every Publish from now on wake the readers that wait through
// waiter; nil ends that. Readers cannot announce themselves, since they map the
// latch read-only, so each Publish pays for the wake: one system call for a
// futex, some 200 ns while nobody waits.
//
// WakeWith itself wakes once, for a predecessor that died between publishing and
// waking.
func (w *Writer) WakeWith(waiter Waiter) error { return w.w.wakeWith(waiter) }

// Reader reads byte payloads. It never writes to the view, which may be mapped
// read-only. Any number of goroutines may share one Reader.
type Reader struct{ s slots }

// OpenReader opens the reading side of a formatted view. The view has to stay
// mapped as long as the Reader is used. The header is read once and bounded by
// len(view): nothing another process writes there later makes a read leave the
// view. Errors are *[LayoutError].
func OpenReader(view []byte) (*Reader, error) {
	g, err := open("open reader", view, geometry{form: formBytes})
	if err != nil {
		return nil, err
	}
	r := new(Reader)
	r.s.init(view, g, nil)
	return r, nil
}

// Version is the published version; 0 as long as there is none.
func (r *Reader) Version() uint64 { return r.s.version() }

// MaxPayload is the number of bytes a version may have: a dst with that capacity
// is never reallocated.
func (r *Reader) MaxPayload() int { return r.s.payload }

// Lapped counts the attempts of all reads so far that the writer overtook.
func (r *Reader) Lapped() uint64 { return r.s.lapped.Load() }

// Read copies the current version into dst, which is reused if its capacity
// allows, and returns it with its number. Numbers never go back from one Read to
// the next. The caller owns the result.
//
// Errors: [ErrEmpty] before the first version; [ErrContended] when the writer
// overtook every attempt; *[CorruptError] for a length no writer stores. With an
// error the result is dst[:0] and its memory holds nothing of use.
func (r *Reader) Read(dst []byte) ([]byte, uint64, error) {
	s := &r.s
	for range maxAttempts {
		p := s.version()
		if p == 0 {
			return dst[:0], 0, ErrEmpty
		}
		slot := s.slot(p)
		// Stored by fillLength, loaded once, bounded, then used; whether it
		// belongs to version p is decided by accept like for any other word.
		n := atomic.LoadUint64(&slot[0])
		if n > uint64(s.payload) {
			if s.accept(p) {
				return dst[:0], p, &CorruptError{Version: p, Length: n, Max: s.payload}
			}
			s.lapped.Add(1)
			continue
		}
		dst = slices.Grow(dst[:0], int(n))[:n]
		copyOut(dst, slot[1:])
		if s.accept(p) {
			return dst, p, nil
		}
		s.lapped.Add(1)
	}
	return dst[:0], s.version(), ErrContended
}

// Wait returns the published version as soon as it is another one than old,
// parking through waiter meanwhile. Several versions may have passed by then; the
// last one is never missed. It ends with ctx, and returns its cause.
//
// Waiting costs what the waiter costs, for a futex a parked thread. The writer
// has to wake with the same kind of waiter ([Writer.WakeWith]), unless it polls.
func (r *Reader) Wait(ctx context.Context, waiter Waiter, old uint64) (uint64, error) {
	return wait(ctx, waiter, r.s.published, 0, old)
}
