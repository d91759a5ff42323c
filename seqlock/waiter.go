package seqlock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// A Waiter parks a reader until a word changes and wakes those who are parked.
// A futex is one, for readers and writers in any process, and works through a
// read-only mapping; [Poll] is another, for systems without.
//
// Wait returns nil when *word differs from old, after a wake, and may return nil
// for no reason; it returns an error when ctx ends. It must compare and park in
// one step with respect to Wake, as the kernel's futex does, and Wake must look
// for parked readers only after everything its caller stored is visible (the
// kernel puts a full barrier there).
type Waiter interface {
	Wait(ctx context.Context, word *uint32, old uint32) error
	Wake(word *uint32) error
}

// Poll is a Waiter that looks again after each interval, and whose Wake does
// nothing. Zero stands for a millisecond.
type Poll time.Duration

// Wait sleeps one interval if *word is old.
func (p Poll) Wait(ctx context.Context, word *uint32, old uint32) error {
	// Stored by the writer as a half of the version word; only compared, nothing
	// is read on its strength (amd64, arm64 alike).
	if atomic.LoadUint32(word) != old {
		return nil
	}
	d := time.Duration(p)
	if d <= 0 {
		d = time.Millisecond
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Wake does nothing: those who wait will look by themselves.
func (Poll) Wake(*uint32) error { return nil }

// wait parks until the version in word>>shift differs from old.
//
// No wake is lost: the waiter compares the low half of the word and parks in
// one step, so a version published before that is seen, and one published after
// it wakes. The full word is compared here; a reader that slept through exactly
// 2³² versions would sleep on until the next one.
func wait(ctx context.Context, w Waiter, word *uint64, shift uint, old uint64) (uint64, error) {
	if w == nil {
		return old, ErrNoWaiter
	}
	for {
		// Stored by storeVersion; acquire, so that the version returned can be
		// read at once. amd64: MOV. arm64: LDAR.
		v := atomic.LoadUint64(word)
		if v>>shift != old {
			return v >> shift, nil
		}
		if ctx.Err() != nil {
			return old, context.Cause(ctx)
		}
		if err := w.Wait(ctx, lowHalf(word), uint32(v)); err != nil {
			if v = atomic.LoadUint64(word); v>>shift != old {
				return v >> shift, nil
			}
			return old, err
		}
	}
}

// wake wakes everybody who waits for word, in which version is published.
func wake(w Waiter, word *uint64, version uint64) error {
	if err := w.Wake(lowHalf(word)); err != nil {
		return fmt.Errorf("seqlock: version %d is published, waking its readers failed: %w", version, err)
	}
	return nil
}
