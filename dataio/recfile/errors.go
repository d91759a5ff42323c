package recfile

import (
	"errors"
	"fmt"
	"strconv"
)

// Error names the file and says what to do.
type Error struct {
	File   string
	Op     string
	Err    error
	Advice string // may be empty
}

func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Error() string {
	s := fmt.Sprintf("recfile: %s %s: %v", e.Op, strconv.Quote(e.File), e.Err)
	if e.Advice != "" {
		s += ": " + e.Advice
	}
	return s
}

var (
	// ErrTooLarge is the cause when a record is larger than Options.MaxRecord.
	ErrTooLarge = errors.New("record too large")

	// ErrNewline is the cause when a record of a file of lines has a newline inside.
	ErrNewline = errors.New("newline in a record")

	// ErrUnfinished is the cause when a file that is not complete is there, or left.
	ErrUnfinished = errors.New("the file is unfinished")

	// ErrCut is the cause of what Options.OnError is told when Resume has cut off
	// what is no whole record.
	ErrCut = errors.New("no whole record at the end")

	// ErrGivenUp is the cause when the node has given up a file that cannot be
	// written: no record gets into it any more.
	ErrGivenUp = errors.New("the file was given up")

	// ErrLost is the cause when records that were appended are not in the file.
	ErrLost = errors.New("records were lost")

	// ErrTorn is the error of a file of [Frames] that ends, or goes on, with something
	// that is no whole record.
	ErrTorn = errors.New("torn record")
)
