package shm

import (
	"errors"
	"os"
	"testing"

	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) {
	// Under the race detector every process sleeps a second before it exits,
	// which is for its own reports and would be most of the time taken here.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	proctest.Main(m)
}

// must fails the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newTestSegment(t testing.TB, o Options) *Segment {
	t.Helper()
	if o.Name == "" {
		o.Name = t.Name()
	}
	s, err := Create(o)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func attachTo(t testing.TB, s *Segment, want Expect) *Segment {
	t.Helper()
	f := must(s.Reopen())(t)
	a, err := Attach(f, want)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// inherited is file i of those that a test gave to its helper process.
func inherited(i int) *os.File { return os.NewFile(uintptr(3+i), "inherited") }

// check ends a helper process on an error.
func check(err error) {
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}
