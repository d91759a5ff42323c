package logring

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"shmkit/ring"
	"shmkit/shm"
)

// A lane is a ring that one P at a time writes to: whoever runs there is pinned,
// so there is no lock and no locked instruction. A lane never waits: what finds it
// full, or is too large for it, takes the shared lane, which has a lock, waits, and
// counts drops.
//
// The order within a goroutine does not depend on the lane: the merge key of each
// record was taken before it was written, and the collector lets a record go only
// when it has looked at all lanes of the worker since it saw it.
//
// Why lanes and not one ring with a lock (BenchmarkLanes, two CPUs, ns a call): 1
// goroutine 49 against 69, since pinning costs less than two locked instructions; 4
// goroutines 48 against 92; 64 goroutines 49 against 105. The price is the merge, which
// has to look at all lanes before it lets a record go.
type lane struct {
	prod  *ring.Producer
	count uint64 // committed; stored by whoever is pinned, see Stats
	fence uint32 // for storeLoad

	head, tail *uint64 // in the ring, see Writer.Flush
	max        int     // bytes of the largest record

	_ [80]byte // two of them never share a line, nor a pair of lines
}

// attachLane makes a producer of the ring in view.
func attachLane(view []byte, w ring.Waiter, policy ring.Policy) (l lane, err error) {
	_, l.max, err = ring.Geometry(len(view))
	if err == nil {
		l.prod, err = ring.NewProducer(view, ring.ProducerOptions{Name: "log", Policy: policy, Waiter: w})
	}
	l.head, l.tail = headWord(view), tailWord(view)
	return l, err
}

// flushed reports whether the collector has taken everything up to tail. head is
// stored by the collector when it has copied the records before it.
func (l *lane) flushed(tail uint64) bool { return int64(load64(l.head)-tail) >= 0 }

// A doorbell wakes the collector through the control socket, and lets the shared
// lane wait for it, on the futex in the ring.
type doorbell struct {
	futex  shm.Futex
	ring   func() error
	asleep *uint32 // in the node's page: sleep epoch, odd while the collector sleeps
	remote bool    // the collector makes processes that accept it pass a barrier, see barrier_linux.go

	// answered is the last epoch that was rung for. Stored under mu, loaded by any
	// log call while the collector sleeps (heap memory of this process).
	answered atomic.Uint32
	owed     atomic.Bool // the last ring failed; likewise

	mu       sync.Mutex
	ended    bool
	retrying bool // again is at work
}

// due reports whether a record that was just published has to be rung for.
//
// asleep is stored by the collector, before it looks at the tails for the last
// time; the tail was stored by us before the load here. Of a store and a load on
// either side, one has to see the other: the collector has a full barrier between
// its two and, if remote, makes one between ours; else storeLoad is ours.
func (d *doorbell) due(fence *uint32) bool {
	if !d.remote || !accepting.Load() {
		atomic.SwapUint32(fence, 0)
	}
	e := load32(d.asleep)
	return e&1 != 0 && e != d.answered.Load()
}

// answer rings, once for each time that the collector fell asleep. That a ring
// fails is not the log call's failure: the record is safe.
func (d *doorbell) answer() {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := load32(d.asleep)
	if e&1 == 0 || e == d.answered.Load() || d.ended {
		return
	}
	d.answered.Store(e)
	d.strike()
	if d.owed.Load() && !d.retrying {
		d.retrying = true
		d.again(time.Millisecond)
	}
}

// call rings whether the collector sleeps or not: it is to look at the worker's page.
func (d *doorbell) call() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.strike()
	if d.owed.Load() && !d.retrying {
		d.retrying = true
		d.again(time.Millisecond)
	}
}

// strike needs mu.
func (d *doorbell) strike() { d.owed.Store(d.ring != nil && d.ring() != nil) }

// again rings a bell that has failed (the socket was full, say) until it works or
// there is no hope.
func (d *doorbell) again(pause time.Duration) {
	time.AfterFunc(pause, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.owed.Load() && !d.ended {
			d.strike()
		}
		if d.retrying = d.owed.Load() && !d.ended && pause < 2*time.Second; d.retrying {
			d.again(2 * pause)
		}
	})
}

func (d *doorbell) close() {
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
}

// Wake is not how the collector is woken: it sleeps on one word for all rings of a
// worker, not on theirs.
func (d *doorbell) Wake(*uint32) error { return nil }

// Wait parks until the collector has moved on. While the bell does not work it
// comes back soon, having rung again.
func (d *doorbell) Wait(ctx context.Context, word *uint32, old uint32) error {
	if d.owed.Load() {
		d.mu.Lock()
		d.strike()
		d.mu.Unlock()
	}
	if !d.owed.Load() {
		return d.futex.Wait(ctx, word, old)
	}
	soon, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	d.futex.Wait(soon, word, old)
	return ctx.Err()
}
