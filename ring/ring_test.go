package ring_test

import (
	"context"
	"errors"
	"math/bits"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"shmkit/ring"
)

// newPair attaches both ends to a view on the heap.
func newPair(t testing.TB, capacity, maxRecord int, o ring.ProducerOptions) (*ring.Producer, *ring.Consumer) {
	t.Helper()
	size, err := ring.Size(capacity, maxRecord)
	if err != nil {
		t.Fatal(err)
	}
	view := make([]byte, size)
	p, err := ring.NewProducer(view, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: o.Name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return p, c
}

// What Size grants is what Geometry finds, for every capacity and record size.
func TestSizeAndGeometryAgree(t *testing.T) {
	for capacity := 16; capacity > 0 && uint64(capacity) <= 1<<31; capacity *= 2 {
		for _, maxRecord := range []int{0, 1, 7, 8, 9, 100, capacity / 2, capacity - 9, capacity - 8} {
			if maxRecord < 0 || maxRecord > capacity-8 {
				continue
			}
			size, err := ring.Size(capacity, maxRecord)
			if err != nil {
				if uint64(capacity)+uint64(maxRecord) > 1<<31 && bits.UintSize == 32 {
					continue // does not fit this machine
				}
				t.Fatal(err)
			}
			c, m, err := ring.Geometry(size)
			if err != nil || c != capacity || m < maxRecord || m > max(8, maxRecord+7) {
				t.Fatalf("Size(%d, %d) = %d, its geometry is %d, %d, %v", capacity, maxRecord, size, c, m, err)
			}
		}
	}
}

func TestBadSizes(t *testing.T) {
	for _, c := range []struct{ capacity, maxRecord int }{
		{0, 0}, {-1, 0}, {-1 << 31, 8}, {15, 0}, {17, 0}, {1000, 10}, {1<<30 + 1, 10},
		{1024, -1}, {1024, 1017}, {1024, 1 << 30}, {8, 0},
	} {
		size, err := ring.Size(c.capacity, c.maxRecord)
		var bad *ring.SizeError
		if !errors.As(err, &bad) || size != 0 || bad.Capacity != c.capacity {
			t.Errorf("Size(%d, %d) = %d, %v", c.capacity, c.maxRecord, size, err)
		}
	}
	if bits.UintSize == 64 {
		if _, err := ring.Size(1<<(bits.UintSize/2), 8); err == nil {
			t.Error("a ring of 4 GiB is granted")
		}
	}
}

func TestBadViews(t *testing.T) {
	size, _ := ring.Size(1024, 100)
	whole := make([]byte, size+8)
	for name, view := range map[string][]byte{
		"nil": nil, "empty": {}, "one page": make([]byte, 4096), "two pages": make([]byte, 8192),
		"a little short": make([]byte, 8192+24), "no ring's length": make([]byte, 8192+2048+8),
		"misaligned by 1": whole[1 : size+1], "misaligned by 4": whole[4 : size+4],
	} {
		_, err := ring.NewProducer(view, ring.ProducerOptions{Name: "views"})
		_, err2 := ring.NewConsumer(view, ring.ConsumerOptions{Name: "views"})
		for _, err := range []error{err, err2} {
			var e *ring.Error
			if !errors.As(err, &e) || e.Ring != "views" || !strings.Contains(err.Error(), `"views"`) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// A view that is a few bytes longer than needed is as good.
	if _, _, err := ring.Geometry(size + 5); err != nil {
		t.Error(err)
	}
	if _, err := ring.NewProducer(make([]byte, size), ring.ProducerOptions{Policy: 7}); !errors.Is(err, ring.ErrPolicy) {
		t.Error(err)
	}
}

// Neither side allocates, waiting aside; nor does a full ring's refusal.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p, c := newPair(t, 4096, 1000, ring.ProducerOptions{Policy: ring.DropNew})
	payload := make([]byte, 64)
	if n := testing.AllocsPerRun(1000, func() {
		for range 20 {
			b, err := p.Reserve(64)
			if err != nil {
				t.Fatal(err)
			}
			copy(b, payload)
			p.Commit(64, 1)
		}
		p.Flush()
		if err := p.Write(2, payload); err != nil {
			t.Fatal(err)
		}
		for r := range c.Batch(10) {
			payload[0] += r.Payload[0]
		}
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for {
			if _, ok, _ := c.Next(); !ok {
				break
			}
		}
		if c.Sleep() {
			c.Awake()
		}
		c.Pending()
		c.Release()
	}); n != 0 {
		t.Errorf("%v allocations for 21 records", n)
	}
	for {
		if _, err := p.TryReserve(500); err != nil {
			break
		}
		p.Commit(500, 0)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := p.Reserve(500); !errors.Is(err, ring.ErrFull) {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations to refuse a record", n)
	}
	o, oc := newPair(t, 4096, 1000, ring.ProducerOptions{Policy: ring.OverwriteOldest})
	o.Write(0, payload)
	oc.Next() // makes the reader's private copy
	oc.Release()
	if n := testing.AllocsPerRun(1000, func() {
		for range 20 {
			o.Write(1, payload)
		}
		for range oc.Batch(0) {
		}
		oc.Release()
	}); n != 0 {
		t.Errorf("%v allocations for 20 records of an overwriting ring", n)
	}
}

// Two mappings of one ring have different addresses, as two processes have: the
// ring cannot refuse the second producer. The first one finds out and stops.
func TestReplacedEndsStop(t *testing.T) {
	one, other := twice(t, 1024, 100)
	p, err := ring.NewProducer(one, ring.ProducerOptions{Name: "replaced"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := ring.NewConsumer(one, ring.ConsumerOptions{Name: "replaced"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := p.Write(1, nil); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := c.Next(); !ok {
		t.Fatal(err)
	}
	p2, err := ring.NewProducer(other, ring.ProducerOptions{Name: "replaced"})
	if err != nil {
		t.Fatal(err)
	}
	defer p2.Close()
	c2, err := ring.NewConsumer(other, ring.ConsumerOptions{Name: "replaced"})
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	for range 2 {
		if err := p.Flush(); !errors.Is(err, ring.ErrSecondProducer) {
			t.Error("the first producer goes on:", err)
		}
		if _, err := p.Reserve(8); !errors.Is(err, ring.ErrSecondProducer) {
			t.Error("the first producer reserves:", err)
		}
		if _, _, err := c.Next(); !errors.Is(err, ring.ErrSecondConsumer) {
			t.Error("the first consumer goes on:", err)
		}
		c.Release() // gives nothing back: it is not its ring any more
	}
	if err := p2.Write(2, nil); err != nil {
		t.Error(err)
	}
	for want := uint32(1); want <= 2; want++ { // the first was not released
		if r, ok, err := c2.Next(); !ok || r.Tag != want {
			t.Errorf("record %d came as %v, %v", want, r, err)
		}
	}
}

// An end that was dropped without Close does not bar its successor for ever.
func TestForgottenEndIsNoSecond(t *testing.T) {
	size, _ := ring.Size(1024, 100)
	view := make([]byte, size)
	func() {
		if _, err := ring.NewProducer(view, ring.ProducerOptions{}); err != nil {
			t.Fatal(err)
		}
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		p, err := ring.NewProducer(view, ring.ProducerOptions{})
		if err == nil {
			p.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Without a Waiter both sides poll, with pauses that grow: an idle consumer does
// not keep a CPU busy, on any system.
func TestIdleConsumerSleeps(t *testing.T) {
	_, c := newPair(t, 1024, 100, ring.ProducerOptions{})
	before := cpuTime()
	start := time.Now()
	if err := c.WaitDeadline(start.Add(300 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	busy, wall := cpuTime()-before, time.Since(start)
	t.Logf("%v of CPU time in %v", busy, wall)
	if busy > wall/2 { // a spinning one takes all; the figure itself is for a quiet machine
		t.Errorf("an idle consumer took %v of %v", busy, wall)
	}
}

// The same context again and again, or another each time: a wait lets go of it.
func TestWaitsLetGoOfContexts(t *testing.T) {
	p, c := newPair(t, 1024, 100, ring.ProducerOptions{Name: "contexts"})
	ctx, cancel := context.WithCancel(context.Background())
	for range 20 {
		short, stop := context.WithTimeout(ctx, time.Microsecond)
		if err := c.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		stop()
	}
	go func() {
		for range 20 {
			p.Write(1, nil)
			runtime.Gosched()
		}
		cancel()
	}()
	for {
		if err := c.Wait(ctx); errors.Is(err, context.Canceled) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for range c.Batch(0) {
		}
		c.Release()
	}
}
