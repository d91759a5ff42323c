package seqlocktest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"shmkit/seqlock"
)

// A Case is one promise of a latch.
type Case struct {
	Name string
	Why  string // what a caller relies on
	Run  func(*Env) error
}

// Env is what a case works with.
type Env struct {
	Variant
	Views    Views
	Waiter   seqlock.Waiter
	Reads    int           // of each reader in the cases that race
	Patience time.Duration // after which a sleeping reader counts as forgotten
}

// latch makes a fresh one.
func (e *Env) latch() (p Publisher, s Source, write, read []byte, err error) {
	size, err := e.Size()
	if err != nil {
		return
	}
	if write, read, err = e.Views(size); err != nil {
		return
	}
	if p, err = e.Make(write); err != nil {
		return
	}
	s, err = e.Open(read)
	return
}

// expect reads and wants to get exactly version, with its payload under seed.
func (e *Env) expect(s Source, seed, version uint64) error {
	got, v, err := s.Read(nil)
	switch want := e.Payload(nil, seed, version); {
	case err != nil:
		return fmt.Errorf("read of version %d: %w", version, err)
	case v != version:
		return fmt.Errorf("read version %d, want %d", v, version)
	case !bytes.Equal(got, want):
		return fmt.Errorf("version %d reads % x, want % x", v, head(got), head(want))
	}
	return nil
}

func head(b []byte) []byte { return b[:min(len(b), 32)] }

func always() bool { return true }

const seed = 0x5eed

// Cases is the list, in the order in which a failure is easiest to understand.
func Cases() []Case {
	return []Case{
		{"empty", "before the first publication a read says so, and a caller can wait for version 1", empty},
		{"sequence", "versions are counted from 1 without a gap, each is readable at once, whole and unchanged, over many rounds of the slots", sequence},
		{"sizes", "every length up to the largest is kept exactly, the empty one included; a longer one is refused and changes nothing", sizes},
		{"buffer", "a read reuses the buffer it is given and allocates nothing if that is large enough; neither does a publication", buffer},
		{"formatted", "a latch in use is not formatted again: a version that readers saw never comes back", formatted},
		{"successor", "a new writer on the same memory goes on after the last version", successor},
		{"killed writer", "a writer killed in the middle of a publication leaves the last version readable, and a successor repairs whatever it left", killed},
		{"second writer", "two writers are a mistake that the one who comes second in time is told about", second},
		{"reader writes nothing", "a read leaves every byte of the memory as it is, so that a read-only mapping will do", readOnly},
		{"wait", "a waiting reader is woken by the next publication, sees the last one, and ends with its context", waiting},
		{"race", "against a writer that never pauses, several readers get whole versions in order and nothing else", race},
	}
}

// Test runs all cases as subtests. The cases that race read a certain number of bytes,
// fewer with -short.
func Test(t *testing.T, v Variant, views Views, w seqlock.Waiter) {
	reads := 20 << 20 / (v.Max + 1024)
	if testing.Short() {
		reads /= 10
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			e := &Env{Variant: v, Views: views, Waiter: w, Reads: reads, Patience: time.Minute}
			if err := c.Run(e); err != nil {
				t.Errorf("%s: %v\nwhy it matters: %s", v.Name, err, c.Why)
			}
		})
	}
}
