package ring_test

import (
	"context"
	"sync/atomic"
	"testing"
	"unsafe"

	"shmkit/ring"
)

// Lost wakes are orders of a few steps of two sides. docs/model finds them all;
// these tests play the orders that broke something once, one step after the other.

// bell counts wakes. A Wait on it parks for ever, unless the word has changed, as
// in the kernel; nobody parks in these tests.
type bell struct{ wakes int }

func (b *bell) Wait(ctx context.Context, word *uint32, old uint32) error {
	if atomic.LoadUint32(word) != old {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (b *bell) Wake(*uint32) error { b.wakes++; return nil }

// heapCopy is a copy of an image as a fresh process would map it: aligned, and
// out of reach for those who work on the image.
func heapCopy(image []byte) []byte {
	words := make([]uint64, (len(image)+7)/8)
	view := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(image))
	copy(view, image)
	return view
}

// newView is an empty ring.
func newView(t testing.TB, capacity, maxRecord int) []byte {
	t.Helper()
	n, err := ring.Size(capacity, maxRecord)
	if err != nil {
		t.Fatal(err)
	}
	return heapCopy(make([]byte, n))
}

func attach(t testing.TB, view []byte, pb, cb *bell) (*ring.Producer, *ring.Consumer) {
	t.Helper()
	p, err := ring.NewProducer(view, ring.ProducerOptions{Name: "wake", Waiter: pb})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "wake", Waiter: cb})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return p, c
}

func commit(t testing.TB, p *ring.Producer, n int) {
	t.Helper()
	if _, err := p.Reserve(n); err != nil {
		t.Fatal(err)
	}
	p.Commit(n, 0)
}

func next(t testing.TB, c *ring.Consumer) {
	t.Helper()
	if _, ok, err := c.Next(); !ok || err != nil {
		t.Fatalf("no record: %v", err)
	}
}

// A wake may come when the consumer has announced its sleep, has read everything,
// and is not parked yet. It parks then, since the tail did not move. The next record
// has to wake it, although there was a wake in this epoch.
func TestWakeBeforeParking(t *testing.T) {
	pb, cb := new(bell), new(bell)
	p, c := attach(t, newView(t, 1024, 64), pb, cb)

	commit(t, p, 8) // not flushed yet
	next(t, c)      // an awake consumer sees it all the same
	c.Release()
	if !c.Sleep() {
		t.Fatal("there is nothing to read")
	}
	if err := p.Flush(); err != nil { // may wake: nobody is parked
		t.Fatal(err)
	}
	// Here the consumer compares the tail with what Sleep saw, and parks.
	before := pb.wakes
	if err := p.Write(0, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if pb.wakes == before {
		t.Errorf("the consumer sleeps on a record: %d wakes before it was committed, none after", before)
	}
}

// A producer dies between the commit and the wake of a consumer that is asleep.
// Its successor has to make up for it, at the latest with its first Flush.
func TestWakeAfterProducerDeath(t *testing.T) {
	v := newView(t, 1024, 64)
	p, c := attach(t, v, new(bell), new(bell))
	if !c.Sleep() {
		t.Fatal("there is nothing to read")
	}
	commit(t, p, 8)
	view := heapCopy(v) // as the death leaves it

	pb := new(bell)
	heir, err := ring.NewProducer(view, ring.ProducerOptions{Name: "heir", Waiter: pb})
	if err != nil {
		t.Fatal(err)
	}
	defer heir.Close()
	if err := heir.Flush(); err != nil {
		t.Fatal(err)
	}
	if pb.wakes == 0 {
		t.Error("the consumer sleeps on a record that was committed before its producer died")
	}
}

// A consumer dies between giving the last record's space back and the wake of a
// producer that waits for it. Its successor finds nothing to read, and so nothing to
// release; it has to make up for the wake before it goes to sleep.
func TestWakeAfterConsumerDeath(t *testing.T) {
	v := newView(t, 64, 32)
	p, c := attach(t, v, new(bell), new(bell))
	commit(t, p, 24) // 32 of 64 bytes
	commit(t, p, 24) // full
	next(t, c)
	next(t, c)
	// The image as the death leaves it: the space given back, the producer asleep.
	c.Release()
	view := heapCopy(v)
	const pageSize, asleepAt, wakeAt = 4096, 128, 136
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&view[pageSize+wakeAt])), 32)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&view[pageSize+asleepAt])), 1)

	cb := new(bell)
	heir, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "heir", Waiter: cb})
	if err != nil {
		t.Fatal(err)
	}
	defer heir.Close()
	if _, ok, err := heir.Next(); ok || err != nil {
		t.Fatalf("everything was released, but there is a record: %v", err)
	}
	heir.Release()
	if heir.Sleep() && cb.wakes == 0 {
		t.Error("the producer sleeps on space that was given back before its consumer died")
	}
}
