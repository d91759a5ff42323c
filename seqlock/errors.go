package seqlock

import (
	"errors"
	"fmt"
)

// The conditions a caller may want to tell apart with [errors.Is].
var (
	// ErrEmpty: the latch is formatted, and nothing was published yet.
	ErrEmpty = errors.New("seqlock: nothing published yet")

	// ErrContended: every one of the bounded attempts to copy a version was
	// overtaken by the writer. The latch is intact; read again later, or give
	// the latch more slots.
	ErrContended = errors.New("seqlock: overtaken by the writer on every attempt: read again; more slots make it rare")

	// ErrUnfinished: an [OddEven] writer is, or died, in the middle of a store.
	// It is an [ErrContended] whose cause is known.
	ErrUnfinished error = unfinished{}

	// ErrNotFormatted: the view holds no latch of this package.
	ErrNotFormatted = errors.New("not formatted: the owner has to format it first")

	// ErrFormatted: the view holds a latch already. Its writer's successor
	// opens it; formatting again would take back versions that readers saw.
	ErrFormatted = errors.New("formatted already: open it instead")

	// ErrMismatch: the view holds a latch, but of another form, type or layout
	// than the one asked for.
	ErrMismatch = errors.New("holds another form or type")

	// ErrGeometry: a payload size, a number of slots or a view that no latch
	// can have.
	ErrGeometry = errors.New("impossible geometry")

	// ErrTooLarge: the payload does not fit into a slot.
	ErrTooLarge = errors.New("payload too large")

	// ErrReadOnly: Store on a latch that was opened for reading.
	ErrReadOnly = errors.New("seqlock: opened for reading: only the owner, or its successor by OpenLatchWriter, may store")

	// ErrSecondWriter: somebody else published since this writer's last time.
	// A latch has one writer: close one of the two.
	ErrSecondWriter = errors.New("seqlock: a second writer published to this latch")

	// ErrCorrupt: a published slot holds what no writer of this package writes.
	ErrCorrupt = errors.New("corrupt slot")

	// ErrNilValue: Load or Store was given a nil pointer.
	ErrNilValue = errors.New("seqlock: nil pointer to a value")

	// ErrNoWaiter: Wait was called without a [Waiter].
	ErrNoWaiter = errors.New("seqlock: wait needs a Waiter (a futex, or seqlock.Poll)")
)

type unfinished struct{}

func (unfinished) Error() string {
	return "seqlock: a store is under way and does not end: continue its writer, or let a successor store"
}

func (unfinished) Unwrap() error { return ErrContended }

// LayoutError tells why a view cannot be formatted or opened.
type LayoutError struct {
	Op     string // "format", "open writer", "open reader", …
	Detail string // what was found and what is needed
	Err    error  // ErrGeometry, ErrNotFormatted, ErrFormatted or ErrMismatch
}

func (e *LayoutError) Error() string {
	if e.Detail == "" {
		return "seqlock: " + e.Op + ": " + e.Err.Error()
	}
	return "seqlock: " + e.Op + ": " + e.Err.Error() + ": " + e.Detail
}

func (e *LayoutError) Unwrap() error { return e.Err }

// TypeError tells which part of a type keeps it out of shared memory.
type TypeError struct {
	Type   string // the type asked for
	Path   string // the offending part, such as ".Limits[].Name"; "" for the type itself
	Reason string // what is wrong with it
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("seqlock: type %s%s: %s", e.Type, e.Path, e.Reason)
}

// SizeError reports a payload that does not fit.
type SizeError struct {
	Size int // bytes handed to Publish
	Max  int // bytes a slot holds
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("seqlock: publish: %v: %d bytes into slots of %d: format with a larger payload", ErrTooLarge, e.Size, e.Max)
}

func (e *SizeError) Unwrap() error { return ErrTooLarge }

// CorruptError reports a length word that points outside its slot.
type CorruptError struct {
	Version uint64 // of the slot
	Length  uint64 // what the slot claims
	Max     int    // bytes a slot holds
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("seqlock: read version %d: %v: length %d in a slot of %d bytes: replace the latch and its writer", e.Version, ErrCorrupt, e.Length, e.Max)
}

func (e *CorruptError) Unwrap() error { return ErrCorrupt }

func layoutErr(op string, cause error, format string, args ...any) error {
	return &LayoutError{Op: op, Err: cause, Detail: fmt.Sprintf(format, args...)}
}
