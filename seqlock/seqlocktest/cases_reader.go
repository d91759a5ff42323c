package seqlocktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"shmkit/seqlock"
)

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
