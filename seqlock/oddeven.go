package seqlock

import (
	"context"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// OddEven is the classic sequence lock: one copy of the value, and a word that is
// odd while a store is under way. It takes the least memory (32 bytes and the
// value), and its limits are why [Latch] exists:
//
//   - Readers make no progress while a store is under way. A writer that is
//     stopped or descheduled in the middle makes them fail with [ErrUnfinished]
//     (an [ErrContended]) after a bounded number of attempts, until it goes on.
//   - A writer that dies in the middle has destroyed the only copy. Readers fail
//     until its successor ([OpenOddEvenWriter]) has stored a whole new value.
//   - A saturating writer starves readers.
//
// Use it for a small hot word whose loss is harmless, and Latch for anything else.
// The form is that of the Linux kernel's seqcount_t.
type OddEven[T any] struct {
	seq      *uint64
	value    []uint64
	size     int
	layout   layout
	last     uint64 // the writer's own idea of seq, which is authoritative
	writable bool
	waiter   Waiter // nil: nobody is woken
}

// OddEvenSize returns the bytes a view needs for an OddEven[T].
func OddEvenSize[T any]() (int, error) {
	g, _, err := typed[T](formOddEven, 1)
	if err != nil {
		return 0, err
	}
	return g.size(), nil
}

// NewOddEven formats view, as [Format] does, and opens its writing side.
func NewOddEven[T any](view []byte) (*OddEven[T], error) {
	g, _, err := typed[T](formOddEven, 1)
	if err != nil {
		return nil, err
	}
	if err := format("format", view, g); err != nil {
		return nil, err
	}
	return OpenOddEvenWriter[T](view)
}

// OpenOddEven opens the reading side, which never writes to the view.
func OpenOddEven[T any](view []byte) (*OddEven[T], error) {
	return openOddEven[T]("open odd/even", view)
}

// OpenOddEvenWriter opens the writing side for the successor of a writer. If that
// one died within a store, the first Store repairs the latch; until then its
// readers fail as before.
func OpenOddEvenWriter[T any](view []byte) (*OddEven[T], error) {
	const op = "open odd/even writer"
	l, err := openOddEven[T](op, view)
	if err != nil {
		return nil, err
	}
	// Stored by the predecessor with release order, loaded with acquire order.
	l.last = atomic.LoadUint64(l.seq)
	if l.last > 2*maxVersion {
		return nil, layoutErr(op, ErrGeometry, "sequence %d was never counted up to: replace the segment", l.last)
	}
	l.writable = true
	return l, nil
}

func openOddEven[T any](op string, view []byte) (*OddEven[T], error) {
	want, lay, err := typed[T](formOddEven, 1)
	if err != nil {
		return nil, err
	}
	g, err := open(op, view, want)
	if err != nil {
		return nil, err
	}
	return &OddEven[T]{
		seq:    &headerOf(view).published,
		value:  wordsAt(view, int(unsafe.Sizeof(header{})), g.words()),
		size:   g.payload,
		layout: lay,
	}, nil
}

// Store replaces the value and returns its version.
//
// Both stores of seq are release stores. The odd one must be visible before the
// data: amd64 by TSO (or XCHG for large values), arm64 by DMB ISHST. The data must
// be visible before the even one: TSO, STLR.
func (l *OddEven[T]) Store(v *T) (version uint64, err error) {
	if !l.writable {
		return l.Version(), ErrReadOnly
	}
	if v == nil {
		return l.last / 2, ErrNilValue
	}
	if atomic.LoadUint64(l.seq) != l.last {
		return l.last / 2, ErrSecondWriter
	}
	odd := l.last | 1 // it is odd already if the predecessor died within a store
	if l.size > bulk {
		storeVersionBulk(l.seq, odd)
	} else {
		storeVersion(l.seq, odd)
	}
	storeFence()
	fill(l.value, bytesAt(unsafe.Pointer(v), l.size))
	l.last = odd + 1
	storeVersion(l.seq, l.last)
	if l.waiter != nil {
		return l.last / 2, wake(l.waiter, l.seq, l.last/2)
	}
	return l.last / 2, nil
}

// WakeWith is [Writer.WakeWith] for an OddEven.
func (l *OddEven[T]) WakeWith(waiter Waiter) error {
	if !l.writable {
		return ErrReadOnly
	}
	if l.waiter = waiter; waiter == nil {
		return nil
	}
	return wake(waiter, l.seq, l.last/2)
}

// Load copies the value to *v and returns its version. Errors: [ErrEmpty] before
// the first Store, with *v untouched; [ErrContended] when every attempt met a
// store, with *v set to zero, as [ErrUnfinished] when it was one and the same.
func (l *OddEven[T]) Load(v *T) (version uint64, err error) {
	if v == nil {
		return 0, ErrNilValue
	}
	value := bytesAt(unsafe.Pointer(v), l.size)
	first, stuck := uint64(0), true
	for i := range maxAttempts {
		// Stored by Store; acquire: an even value means the data of that version
		// is visible. amd64: MOV. arm64: LDAR.
		s := atomic.LoadUint64(l.seq)
		if s == 0 {
			return 0, ErrEmpty
		}
		if s&1 == 0 {
			copyOut(value, l.value)
			// The copy's loads are made before this one, see copyOut. A store
			// of the writer seen by the copy means its odd value is seen here.
			if atomic.LoadUint64(l.seq) == s {
				normalise(value, l.layout.bools)
				return s / 2, nil
			}
		}
		if i == 0 {
			first = s
		}
		stuck = stuck && s&1 == 1 && s == first
		if i%16 == 15 {
			runtime.Gosched() // the writer may be a goroutine on this very thread
		}
	}
	clear(value)
	if stuck {
		return first / 2, ErrUnfinished
	}
	return atomic.LoadUint64(l.seq) / 2, ErrContended
}

// Wait is [Reader.Wait] for an OddEven.
func (l *OddEven[T]) Wait(ctx context.Context, waiter Waiter, old uint64) (uint64, error) {
	return wait(ctx, waiter, l.seq, 1, old)
}

// Version is the version of the last finished Store; 0 as long as there is none.
func (l *OddEven[T]) Version() uint64 { return atomic.LoadUint64(l.seq) / 2 }
