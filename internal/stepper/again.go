package stepper

import (
	"errors"
	"fmt"
	"testing"
)

// ErrMissed is what a test reports when [Process.Goto] missed more visits than
// the test allows: the scheduler broke into the trace, or into too many rounds.
var ErrMissed = errors.New("too many visits missed")

// Missed is an ErrMissed that says how many of how many.
func Missed(missed, of int) error { return fmt.Errorf("%w: %d, beside %d", ErrMissed, missed, of) }

// Again calls f, and calls it again, with a new process and a new trace, if it
// reports ErrMissed: a busy machine costs an attempt, not the bound. It returns the
// last error.
func Again(t *testing.T, f func() error) (err error) {
	t.Helper()
	for range 4 {
		if err = f(); !errors.Is(err, ErrMissed) {
			return err
		}
		t.Log("again: ", err)
	}
	return err
}
