package stepper

import (
	"errors"
	"testing"
)

// Again is for missed visits alone, and not for ever.
func TestAgain(t *testing.T) {
	broken := errors.New("torn")
	for name, tc := range map[string]struct {
		errs  []error // of each attempt, the last one repeated
		calls int
		want  error
	}{
		"passes":        {[]error{nil}, 1, nil},
		"passes later":  {[]error{Missed(9, 10), nil}, 2, nil},
		"fails":         {[]error{broken}, 1, broken},
		"fails later":   {[]error{Missed(9, 10), broken}, 2, broken},
		"always misses": {[]error{Missed(9, 10)}, 4, ErrMissed},
	} {
		calls := 0
		err := Again(t, func() error {
			calls++
			return tc.errs[min(calls, len(tc.errs))-1]
		})
		if calls != tc.calls || !errors.Is(err, tc.want) {
			t.Errorf("%s: %d calls, %v; want %d, %v", name, calls, err, tc.calls, tc.want)
		}
	}
}
