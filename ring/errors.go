package ring

import (
	"errors"
	"fmt"
	"strconv"
)

// What [errors.Is] finds in the errors of this package, besides os.ErrClosed
// after Close and os.ErrDeadlineExceeded after a deadline.
var (
	// ErrFull: there is no space for the record now.
	ErrFull = errors.New("the ring is full")
	// ErrTooLarge: the record would never fit.
	ErrTooLarge = errors.New("the record is too large")
	// ErrSecondProducer: another producer works on the ring.
	ErrSecondProducer = errors.New("the ring has another producer")
	// ErrSecondConsumer: another consumer works on the ring.
	ErrSecondConsumer = errors.New("the ring has another consumer")
	// ErrNoReservation: Commit without a reservation, or of more than was reserved.
	ErrNoReservation = errors.New("nothing of that size is reserved")
	// ErrPolicy: a successor that overwrites old records where its predecessor
	// did not, or the other way round.
	ErrPolicy = errors.New("the ring was made with another policy")
)

// An Error says which ring refused what.
type Error struct {
	Op   string // "reserve", "attach producer", …
	Ring string // the name from the options
	Err  error  // the cause: one of the sentinels, or wraps one
	Hint string // what to do
}

func (e *Error) Error() string {
	s := "ring: " + e.Op + " " + strconv.Quote(e.Ring) + ": " + e.Err.Error()
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// A SizeError says why there is no view for the wanted capacity.
type SizeError struct {
	Capacity, MaxRecord int // bytes, as asked for
	Err                 error
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("ring: size for capacity %d and records up to %d bytes: %v", e.Capacity, e.MaxRecord, e.Err)
}

func (e *SizeError) Unwrap() error { return e.Err }

// A CorruptError says that the ring's memory holds what no correct peer writes.
// The end that found it is quarantined: it never looks at the memory again, and
// each later call returns this same error. Other rings are not concerned.
type CorruptError struct {
	Ring     string
	Peer     string // who writes the word: "producer" or "consumer"
	Word     string // "tail", "head", "length", …
	Value    uint64 // as it was found
	Min, Max uint64 // what was possible there
	Position uint64 // byte position of the side that found it
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("ring: %q is quarantined: its %s wrote %s %d at position %d, possible was %d to %d: restart that process with a new ring",
		e.Ring, e.Peer, e.Word, e.Value, e.Position, e.Min, e.Max)
}

// A GapError tells a consumer, once, how many records were overwritten before
// it read them ([OverwriteOldest]). The next call goes on behind the gap.
type GapError struct {
	Ring string
	Lost uint64 // records
	Next uint64 // number of the record that comes next, counted from 0
}

func (e *GapError) Error() string {
	return fmt.Sprintf("ring: %q: %d records were overwritten before they were read: read faster or make the ring larger", e.Ring, e.Lost)
}
