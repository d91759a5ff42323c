package seqlock

import (
	"context"
	"unsafe"
)

// Latch holds one value of a pointer-free type T: numbers, bools, arrays and
// structs of them. See [Schema] for what T may be.
//
// The side made by [NewLatch] or [OpenLatchWriter] may Store, from one goroutine
// at a time; the side made by [OpenLatch] may only Load, from any number of
// goroutines, and never writes to the view.
type Latch[T any] struct {
	w        writer
	writable bool
}

// LatchSize returns the bytes a view needs for a Latch[T]. Zero slots stands for
// [SlotsFor] T's size.
func LatchSize[T any](slots int) (int, error) {
	g, _, err := typed[T](formTyped, slots)
	if err != nil {
		return 0, err
	}
	if err := g.check("size"); err != nil {
		return 0, err
	}
	return g.size(), nil
}

// NewLatch formats view, as [Format] does, and opens its writing side. Errors are
// *[TypeError] and *[LayoutError].
func NewLatch[T any](view []byte, slots int) (*Latch[T], error) {
	g, _, err := typed[T](formTyped, slots)
	if err != nil {
		return nil, err
	}
	if err := format("format", view, g); err != nil {
		return nil, err
	}
	return OpenLatchWriter[T](view)
}

// OpenLatch opens the reading side of a view that [NewLatch] made for the same T.
func OpenLatch[T any](view []byte) (*Latch[T], error) {
	return openLatch[T]("open latch", view)
}

// OpenLatchWriter opens the writing side of a view that [NewLatch] made for the
// same T, for the successor of its writer: it goes on after the last version.
func OpenLatchWriter[T any](view []byte) (*Latch[T], error) {
	const op = "open latch writer"
	l, err := openLatch[T](op, view)
	if err != nil {
		return nil, err
	}
	if err := l.w.resume(op); err != nil {
		return nil, err
	}
	l.writable = true
	return l, nil
}

func openLatch[T any](op string, view []byte) (*Latch[T], error) {
	want, lay, err := typed[T](formTyped, 0)
	if err != nil {
		return nil, err
	}
	g, err := open(op, view, want)
	if err != nil {
		return nil, err
	}
	l := new(Latch[T])
	l.w.init(view, g, lay.bools)
	return l, nil
}

// Store makes a copy of *v the current version and returns its number. Readers
// see the old version until the whole new one is there; they are never waited
// for. With [ErrReadOnly] and [ErrSecondWriter] nothing was stored; other errors
// come from the waiter's Wake after publication.
func (l *Latch[T]) Store(v *T) (version uint64, err error) {
	if !l.writable {
		return l.w.version(), ErrReadOnly
	}
	return l.w.store(unsafe.Pointer(v))
}

// Load copies the current version to *v and returns its number. Numbers never go
// back from one Load to the next.
//
// Errors: [ErrEmpty] before the first version, with *v untouched; [ErrContended]
// when the writer overtook every attempt, with *v set to zero.
func (l *Latch[T]) Load(v *T) (version uint64, err error) {
	return l.w.load(unsafe.Pointer(v))
}

// Version is the published version; 0 as long as there is none.
func (l *Latch[T]) Version() uint64 { return l.w.version() }

// Lapped counts the attempts of all loads so far that the writer overtook.
func (l *Latch[T]) Lapped() uint64 { return l.w.lapped.Load() }

// WakeWith is [Writer.WakeWith] for a Latch.
func (l *Latch[T]) WakeWith(waiter Waiter) error {
	if !l.writable {
		return ErrReadOnly
	}
	return l.w.wakeWith(waiter)
}

// Wait is [Reader.Wait] for a Latch.
func (l *Latch[T]) Wait(ctx context.Context, waiter Waiter, old uint64) (uint64, error) {
	return wait(ctx, waiter, l.w.published, 0, old)
}
