package shm

import (
	"errors"
	"fmt"
	"strconv"
)

// The causes an [Error] can have, for errors.Is. Beside them the package uses
// those of the standard library: os.ErrClosed, os.ErrNotExist, os.ErrExist,
// os.ErrInvalid, os.ErrPermission, errors.ErrUnsupported, and the errors of the
// context given to [Wait] and [Segment.CloseWait].
var (
	ErrNotSegment  = errors.New("not a segment")
	ErrVersion     = errors.New("another layout version")
	ErrEndian      = errors.New("written in the other byte order")
	ErrSize        = errors.New("sizes that do not fit together")
	ErrChecksum    = errors.New("header checksum does not match")
	ErrSchema      = errors.New("another schema")
	ErrKind        = errors.New("another kind")
	ErrTruncated   = errors.New("truncated")
	ErrExhausted   = errors.New("not enough room")
	ErrInUse       = errors.New("in use")
	ErrStale       = errors.New("owner is gone")
	ErrBusy        = errors.New("being made by another process")
	ErrQuarantined = errors.New("quarantined after a fault")
	ErrNotOwner    = errors.New("not the owner's handle")
	ErrUnsafeDir   = errors.New("unsafe directory")
)

// Error is what every function of this package returns: what was tried, on
// which segment, why it failed and what to do about it.
type Error struct {
	Op   string // "create", "attach", "open", …
	Name string // the segment, "" when no segment is involved
	Err  error  // the cause
	Do   string // what the reader of the message should do, may be empty
}

func (e *Error) Error() string {
	s := "shm: " + e.Op
	if e.Name != "" {
		s += " " + strconv.Quote(e.Name)
	}
	s += ": " + e.Err.Error()
	if e.Do != "" {
		s += ": " + e.Do
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// A MismatchError is the cause when a segment is not what was expected. What is
// one of [ErrVersion], [ErrEndian], [ErrSize], [ErrChecksum], [ErrSchema],
// [ErrKind], [ErrTruncated] and [ErrNotSegment], and found by errors.Is.
type MismatchError struct {
	What      error
	Got, Want string
}

func (e *MismatchError) Error() string {
	switch e.What {
	case ErrVersion:
		return fmt.Sprintf("layout %s, this build reads %s", e.Got, e.Want)
	case ErrKind:
		return fmt.Sprintf("kind %s, want %s", e.Got, e.Want)
	case ErrSchema:
		return fmt.Sprintf("schema %s, want %s", e.Got, e.Want)
	}
	return fmt.Sprintf("%v: %s, want %s", e.What, e.Got, e.Want)
}

func (e *MismatchError) Unwrap() error { return e.What }

// A SpaceError is the cause when memory, or the right to use it, runs short. It
// is an [ErrExhausted]; Err is the system's own error, if it was asked at all.
type SpaceError struct {
	Where     string // what is short: `tmpfs /dev/shm`, `memory cgroup /a/b`, `RLIMIT_MEMLOCK`, …
	Need      uint64 // bytes
	Available uint64 // bytes
	Err       error  // may be nil
}

func (e *SpaceError) Error() string {
	s := fmt.Sprintf("need %d bytes, %s has %d available", e.Need, e.Where, e.Available)
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	return s
}

func (e *SpaceError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrExhausted}
	}
	return []error{ErrExhausted, e.Err}
}

// A FaultError is the cause when a mapped page turned out to have no memory
// behind it: someone truncated or punched the file under a named segment. It is
// an [ErrTruncated].
type FaultError struct {
	Offset int // of the byte that was touched, in the region; negative: in the header page
	Size   int // bytes of the region
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("no memory behind byte %d of %d: the file was truncated", e.Offset, e.Size)
}

func (e *FaultError) Unwrap() error { return ErrTruncated }

// fail builds an Error, but leaves one that is already built alone, so that the
// innermost operation is the one that is named.
func fail(op, name string, err error, do string) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, Name: name, Err: err, Do: do}
}
