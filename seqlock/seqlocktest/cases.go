package seqlocktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
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

func empty(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	if got, v, err := s.Read(nil); !errors.Is(err, seqlock.ErrEmpty) || v != 0 || len(got) != 0 {
		return fmt.Errorf("read of nothing: %d bytes, version %d, error %v", len(got), v, err)
	}
	if s.Version() != 0 || p.Version() != 0 {
		return fmt.Errorf("versions %d and %d before the first", s.Version(), p.Version())
	}
	return nil
}

func sequence(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	for v := uint64(1); v <= 200; v++ {
		if err := Play(e.Variant, p, seed, 1, always); err != nil {
			return err
		}
		if p.Version() != v || s.Version() != v {
			return fmt.Errorf("writer says version %d, reader %d, want %d", p.Version(), s.Version(), v)
		}
		for range 2 { // the second read finds what the first one left
			if err := e.expect(s, seed, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func sizes(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	full := make([]byte, e.Max+1)
	for i := range full {
		full[i] = byte(i*7 + 1)
	}
	for _, n := range []int{e.Max, 0, 1, 7, 8, 9, 15, 63, 64, 65, e.Max - 1, e.Max, 0} {
		if n > e.Max || e.Fixed && n != e.Max {
			continue
		}
		if _, err := p.Publish(full[:n]); err != nil {
			return fmt.Errorf("publish %d bytes: %w", n, err)
		}
		if got, _, err := s.Read(nil); err != nil || !bytes.Equal(got, full[:n]) {
			return fmt.Errorf("%d bytes come back as %d bytes, error %v", n, len(got), err)
		}
	}
	before := s.Version()
	_, err = p.Publish(full)
	if tooLarge := (*seqlock.SizeError)(nil); !errors.Is(err, seqlock.ErrTooLarge) || !errors.As(err, &tooLarge) {
		return fmt.Errorf("publish %d bytes into %d: %v", len(full), e.Max, err)
	}
	if s.Version() != before {
		return fmt.Errorf("a refused publication moved the version from %d to %d", before, s.Version())
	}
	return nil
}

func buffer(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	payload := make([]byte, e.Max)
	buf := make([]byte, e.Max)
	var failed error
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := p.Publish(payload); err != nil {
			failed = err
		}
		got, _, err := s.Read(buf[:1]) // capacity counts, not length
		if err != nil {
			failed = err
		} else if &got[0] != &buf[0] {
			failed = errors.New("a read left its buffer aside")
		}
	})
	if failed == nil && allocs != 0 {
		failed = fmt.Errorf("%v allocations in a publication and a read", allocs)
	}
	return failed
}

func formatted(e *Env) error {
	p, s, write, _, err := e.latch()
	if err != nil {
		return err
	}
	if err := Play(e.Variant, p, seed, 3, always); err != nil {
		return err
	}
	_, err = e.Make(write)
	if layout := (*seqlock.LayoutError)(nil); !errors.Is(err, seqlock.ErrFormatted) || !errors.As(err, &layout) {
		return fmt.Errorf("formatting a latch in use: %v", err)
	}
	return e.expect(s, seed, 3)
}

func successor(e *Env) error {
	p, s, write, read, err := e.latch()
	if err != nil {
		return err
	}
	for last := uint64(0); last < 50; last += 5 {
		if last > 0 {
			if p, err = e.Resume(write); err != nil {
				return err
			}
			if err := e.expect(s, seed, last); err != nil {
				return fmt.Errorf("after a change of writers: %w", err)
			}
		}
		if p.Version() != last {
			return fmt.Errorf("successor begins at version %d, want %d", p.Version(), last)
		}
		if err := Play(e.Variant, p, seed, 5, always); err != nil {
			return err
		}
	}
	late, err := e.Open(read)
	if err != nil {
		return err
	}
	return e.expect(late, seed, 50)
}

func killed(e *Env) error {
	p, s, write, _, err := e.latch()
	if err != nil {
		return err
	}
	// One kill in the fill of each slot, and some more.
	for last := uint64(1); last < 20; last++ {
		if err := Play(e.Variant, p, seed, 1, always); err != nil {
			return err
		}
		for _, b := range []byte{0x00, 0xff, byte(last)} {
			e.Smear(write, last+1, b)
			if !e.Single {
				if err := e.expect(s, seed, last); err != nil {
					return fmt.Errorf("writer killed on its way to version %d: %w", last+1, err)
				}
			} else if _, _, err := s.Read(nil); !errors.Is(err, seqlock.ErrUnfinished) || !errors.Is(err, seqlock.ErrContended) {
				return fmt.Errorf("writer killed within its store, read: %v", err)
			}
		}
		if p, err = e.Resume(write); err != nil {
			return err
		}
		if p.Version() != last {
			return fmt.Errorf("successor begins at version %d, want %d", p.Version(), last)
		}
	}
	return nil
}

func second(e *Env) error {
	p, s, write, _, err := e.latch()
	if err != nil {
		return err
	}
	other, err := e.Resume(write)
	if err != nil {
		return err
	}
	if err := Play(e.Variant, other, seed, 1, always); err != nil {
		return err
	}
	if _, err := p.Publish(e.Payload(nil, seed+1, 1)); !errors.Is(err, seqlock.ErrSecondWriter) {
		return fmt.Errorf("publication beside a second writer: %v", err)
	}
	return e.expect(s, seed, 1)
}

func readOnly(e *Env) error {
	p, s, _, read, err := e.latch()
	if err != nil {
		return err
	}
	for range 5 {
		if err := Play(e.Variant, p, seed, 1, always); err != nil {
			return err
		}
		before := bytes.Clone(read)
		for range 10 {
			if err := e.expect(s, seed, p.Version()); err != nil {
				return err
			}
			s.Version()
		}
		if _, err := e.Open(read); err != nil {
			return err
		}
		if _, err := s.Wait(context.Background(), e.Waiter, 0); err != nil {
			return err
		}
		if !bytes.Equal(before, read) {
			return errors.New("the memory changed while only readers used it")
		}
	}
	return nil
}

func waiting(e *Env) error {
	p, s, write, read, err := e.latch()
	if err != nil {
		return err
	}
	if _, err := s.Wait(context.Background(), nil, 0); !errors.Is(err, seqlock.ErrNoWaiter) {
		return fmt.Errorf("wait without a waiter: %v", err)
	}
	gone := errors.New("gone home")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	if v, err := s.Wait(ctx, e.Waiter, 0); !errors.Is(err, gone) || v != 0 {
		return fmt.Errorf("wait with a finished context: version %d, error %v", v, err)
	}
	if err := p.WakeWith(e.Waiter); err != nil {
		return err
	}

	// The reader tells each version it was woken for, and the writer goes on when it
	// knows: so one of them is always asleep, or about to be, and a wake that got lost
	// leaves both there.
	const last = 200
	ctx, stop := context.WithTimeout(context.Background(), e.Patience) // bounds a failing run only
	defer stop()
	seen := make(chan uint64)
	done := make(chan error, 1)
	go func() {
		defer close(seen)
		r, err := e.Open(read)
		for v := uint64(0); err == nil && v < last; {
			if v, err = r.Wait(ctx, e.Waiter, v); err == nil {
				seen <- v
			}
		}
		done <- err
	}()
	for v := uint64(1); v <= last; v++ {
		if v == last/2 { // a change of writers in between
			if p, err = e.Resume(write); err != nil {
				return err
			}
			if err := p.WakeWith(e.Waiter); err != nil {
				return err
			}
		}
		if err := Play(e.Variant, p, seed, 1, always); err != nil {
			return err
		}
		if got, ok := <-seen; !ok {
			return fmt.Errorf("waiting for version %d: %w", v, <-done)
		} else if got != v {
			return fmt.Errorf("woken for version %d, want %d", got, v)
		}
	}
	if err := <-done; err != nil {
		return err
	}

	// A predecessor that died between publishing and waking leaves readers asleep; its
	// successor makes up for that. Here the predecessor never wakes. Whether the reader
	// is asleep by then is up to the scheduler: it gets several chances.
	const rounds = 20
	for v := uint64(last); v < last+rounds; v++ {
		mute, err := e.Resume(write)
		if err != nil {
			return err
		}
		w := announced{e.Waiter, make(chan struct{}, 1)}
		go func() {
			_, err := s.Wait(ctx, w, v)
			done <- err
		}()
		<-w.entered
		for range 20 {
			runtime.Gosched()
		}
		if err := Play(e.Variant, mute, seed, 1, always); err != nil {
			return err
		}
		if p, err = e.Resume(write); err != nil {
			return err
		}
		if err := p.WakeWith(e.Waiter); err != nil {
			return err
		}
		err = <-done
		if err == nil {
			err = ctx.Err() // it woke up by itself in the end, and found the news
		}
		if err != nil {
			return fmt.Errorf("waiting across a change of writers: %w", err)
		}
	}
	return e.expect(s, seed, last+rounds)
}

// announced tells when somebody is about to park.
type announced struct {
	seqlock.Waiter
	entered chan struct{}
}

func (a announced) Wait(ctx context.Context, word *uint32, old uint32) error {
	select {
	case a.entered <- struct{}{}:
	default:
	}
	return a.Waiter.Wait(ctx, word, old)
}

func race(e *Env) error {
	p, s, _, read, err := e.latch()
	if err != nil {
		return err
	}
	if err := Play(e.Variant, p, seed, 1, always); err != nil {
		return err
	}
	const readers = 3
	stop := make(chan struct{})
	wrote := make(chan error, 1)
	go func() {
		wrote <- Play(e.Variant, p, seed, math.MaxInt, func() bool {
			select {
			case <-stop:
				return false
			default:
				return true
			}
		})
	}()
	reports := make(chan Report, readers)
	failures := make(chan error, readers)
	for range readers {
		go func() {
			r, err := e.Open(read)
			var report Report
			if err == nil {
				report, err = Check(e.Variant, r, seed, e.Reads)
			}
			reports <- report
			failures <- err
		}()
	}
	var total Report
	var failed error
	for range readers {
		r := <-reports
		total.Reads += r.Reads
		total.Contended += r.Contended
		failed = errors.Join(failed, <-failures)
	}
	close(stop)
	if err := errors.Join(failed, <-wrote); err != nil {
		return err
	}
	if total.Reads == 0 {
		return fmt.Errorf("no read got through, %d gave up", total.Contended)
	}
	return e.expect(s, seed, p.Version())
}
