package task

import (
	"errors"
	"fmt"
	"os"

	"shmkit/spawn"
)

// ErrClosed is why a task of a closed pool has no result. It wraps [os.ErrClosed].
var ErrClosed = fmt.Errorf("task: the pool is closed: %w", os.ErrClosed)

// DiedError says that the worker died that had the task.
type DiedError struct {
	Exit     spawn.Exit
	Attempts int // workers that had the task, all of which died
}

func (e *DiedError) Error() string {
	if e.Attempts > 1 {
		return fmt.Sprintf("task: no result, the last of %d workers that had it died: %s", e.Attempts, e.Exit)
	}
	return fmt.Sprintf("task: no result: %s", e.Exit)
}

// RemoteError is the error that a task's function returned in the worker. Its
// identity stays there: only the text travels.
type RemoteError struct {
	Group     string
	Rank, Pid int
	Text      string
	Stack     string // of the goroutine, when the function panicked
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("task: worker %d (pid %d) of group %q: %s", e.Rank, e.Pid, e.Group, e.Text)
}

// SizeError says that an argument or a result is too large.
type SizeError struct {
	What      string
	Size, Max int
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("task: the %s takes %d bytes, at most %d: raise Options.MaxSize, or pass it through a file or a ring", e.What, e.Size, e.Max)
}

var errMalformed = errors.New("malformed message")
