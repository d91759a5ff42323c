package seqlock_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"shmkit/seqlock"
)

// TestHostileWhileReading: another process rewrites version, header, lengths and data
// while reads go on. Each read ends in a payload no longer than a slot, or in one of the
// package's errors. Under the race detector, too: it is all atomic.
func TestHostileWhileReading(t *testing.T) {
	const payload = 200
	reads := 100_000
	if testing.Short() {
		reads = 10_000
	}
	view := formattedView(t, payload, 3)
	w, err := seqlock.OpenWriter(view)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Publish(make([]byte, payload)); err != nil {
		t.Fatal(err)
	}
	r, err := seqlock.OpenReader(view)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		mem := words(view)
		odd := []uint64{0, 1, 2, payload, payload + 1, math.MaxUint32, 1 << 32, 1 << 63, math.MaxUint64}
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 100 {
				at := rand.IntN(len(mem))
				if rand.IntN(2) == 0 {
					at = []int{0, 1, 2, 16, 16 + 32, 16 + 64}[rand.IntN(6)] // version, header, length words
				}
				v := rand.Uint64()
				if rand.IntN(2) == 0 {
					v = odd[rand.IntN(len(odd))]
				}
				atomic.StoreUint64(&mem[at], v)
			}
		}
	})
	buf := make([]byte, payload)
	outcome := map[string]int{}
	for range reads {
		p, _, err := r.Read(buf)
		switch {
		case err == nil && len(p) <= payload && cap(p) == cap(buf):
			outcome["read"]++
		case errors.Is(err, seqlock.ErrEmpty), errors.Is(err, seqlock.ErrContended), errors.Is(err, seqlock.ErrCorrupt):
			outcome["typed error"]++
		default:
			t.Fatalf("%d bytes, %v", len(p), err)
		}
	}
	close(stop)
	wg.Wait()
	t.Log(outcome)
}
