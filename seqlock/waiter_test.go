package seqlock_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"shmkit/seqlock"
)

// restless is a Waiter that returns for no reason, as often as it is called.
type restless struct{ calls, stopAfter int }

func (r *restless) Wait(context.Context, *uint32, uint32) error {
	if r.calls++; r.calls == r.stopAfter {
		return errors.New("called on and on")
	}
	return nil
}

func (*restless) Wake(*uint32) error { return errors.New("nobody to wake") }

// TestWaitEnds: a context that is over ends a wait, whatever the waiter does about it.
func TestWaitEnds(t *testing.T) {
	_, r := newPair(t, 64, 4)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if v, err := r.Wait(ctx, &restless{stopAfter: 1000}, 1); v != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("version %d, %v", v, err)
	}
	// The error of a waiter is the wait's, unless there is news.
	if v, err := r.Wait(context.Background(), &restless{stopAfter: 3}, 1); v != 1 || err == nil || err.Error() != "called on and on" {
		t.Errorf("version %d, %v", v, err)
	}
}

// TestWaitComparesAll: the futex word is half of the version, the wait is for all of it.
func TestWaitComparesAll(t *testing.T) {
	view := formattedView(t, 64, 4)
	r, err := seqlock.OpenReader(view)
	if err != nil {
		t.Fatal(err)
	}
	binary.NativeEndian.PutUint64(view, 1<<32+5)
	if v, err := r.Wait(context.Background(), &restless{stopAfter: 10}, 5); v != 1<<32+5 || err != nil {
		t.Errorf("version %d, %v", v, err)
	}
}

// TestWakeFails: the version is published all the same, and the error says so.
func TestWakeFails(t *testing.T) {
	w, r := newPair(t, 64, 4)
	if err := w.WakeWith(new(restless)); err == nil {
		t.Error("WakeWith keeps its error to itself")
	}
	if v, err := w.Publish([]byte("news")); v != 2 || err == nil || r.Version() != 2 {
		t.Errorf("published version %d, %v; readers see %d", v, err, r.Version())
	}
	if err := w.WakeWith(nil); err != nil {
		t.Error(err)
	}
	if _, err := w.Publish(nil); err != nil {
		t.Error(err)
	}
}
