package ring

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// spinRounds returns how many times a wait looks, about a microsecond apart,
// before it parks. Where the peer cannot run meanwhile, looking only keeps it
// from running; on two CPUs it keeps everyone else from running.
func spinRounds(d time.Duration) int {
	cpus := min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	switch {
	case d < 0, d == 0 && cpus == 1:
		return 0
	case d > 0:
		return int(min(d, time.Second)/time.Microsecond) + 1
	case cpus == 2:
		return 5
	}
	return 50
}

// yieldTo lets a peer run that is a goroutine of this process and may wait for the
// very CPU that is about to be parked. A peer in another process gains nothing from
// it, and the scheduler takes longer than the parking (BenchmarkParked).
//
// Stored by the peer when it attached, loaded here. A hint: whatever it says, the
// wait is right.
func yieldTo(claim *uint64) {
	if uint32(atomic.LoadUint64(claim)) == uint32(os.Getpid()) {
		runtime.Gosched()
	}
}

// wait waits until a record of n bytes fits: it looks politely for a while, then
// parks on the head.
func (p *Producer) wait(ctx context.Context, n int) error {
	p.life.inWait.Lock()
	defer p.life.inWait.Unlock()
	p.blocked++
	publish(&p.region.prod.blocked, p.blocked) // a counter; nothing is ordered by it
	size := sizeOf(uint64(n))
	fits := func() (bool, error) {
		if err := p.check(); err != nil {
			return false, err
		}
		if err := p.refresh(); err != nil {
			return false, err
		}
		return size <= p.limit-p.tail, nil
	}
	for range p.spin {
		pause(microPauses())
		if ok, err := fits(); ok || err != nil {
			return err
		}
	}
	yieldTo(&p.region.cons.claim)
	for {
		if ok, err := fits(); ok || err != nil {
			return err
		}
		if err := p.park(ctx, size); err != nil {
			return err
		}
	}
}

// park sleeps until the consumer has given back enough for size bytes, or longer
// than it should: the caller looks again.
func (p *Producer) park(ctx context.Context, size uint64) error {
	pr := p.region.prod
	// Stored here, loaded by the consumer in Release: first how far the head has to
	// get, then that the producer sleeps (amd64: stores in order; arm64: STLR).
	publish(&pr.wakeAt, p.tail+size-p.region.capacity)
	p.asleep++
	atomic.StoreUint32(&pr.asleep, p.asleep)
	// amd64: the store was an XCHG; arm64: an STLR, which this LDAR does not
	// overtake. Release has the matching barrier: either it sees asleep, or the new
	// head is seen here, or (head moved in between) the kernel's comparison fails.
	var err error
	head := &p.region.cons.head
	if h := atomic.LoadUint64(head); h == p.limit-p.region.capacity {
		err = p.opts.Waiter.Wait(p.life.join(ctx), lowHalf(head), uint32(h))
	}
	p.asleep++
	atomic.StoreUint32(&pr.asleep, p.asleep)
	return waitError(err, ctx, p.closed.Load(), p.errClosed, "wait for space in", p.opts.Name)
}

// waitDeadline is wait with a point in time; the zero time is never.
func (p *Producer) waitDeadline(n int, t time.Time) error {
	if t.IsZero() {
		return p.wait(context.Background(), n)
	}
	ctx, cancel := context.WithDeadline(context.Background(), t)
	defer cancel()
	err := p.wait(ctx, n)
	p.life.forget(ctx)
	return deadlineError(err)
}

// Wait waits until there is a record to read, or a gap to be told. It looks for
// a while, then parks. It does not give space back: call Release first, or a
// producer that waits for space waits for ever.
//
// Wait is polite: when it finds little in a busy stream it leaves the producer
// alone for about a microsecond, so that the next batch is worth fetching. A
// reader that wants each record as early as possible polls Next instead.
//
// It returns nil, the context's error, os.ErrClosed, ErrSecondConsumer, or a
// [*CorruptError].
func (c *Consumer) Wait(ctx context.Context) error {
	if n, err := c.available(); n >= plenty || err != nil {
		return err
	} else if n > 0 {
		return c.linger(n)
	}
	return c.waitSlow(ctx)
}

// WaitDeadline is Wait with a point in time: after it the error is
// os.ErrDeadlineExceeded. The zero time means no deadline.
func (c *Consumer) WaitDeadline(t time.Time) error {
	if n, err := c.available(); n > 0 || err != nil {
		return err
	}
	if t.IsZero() {
		return c.waitSlow(context.Background())
	}
	ctx, cancel := context.WithDeadline(context.Background(), t)
	defer cancel()
	err := c.waitSlow(ctx)
	c.life.forget(ctx)
	return deadlineError(err)
}

// plenty is a batch worth fetching at once, in bytes.
const plenty = 4096

// linger lets a little grow to more. Where that does not help (the producer
// waits for an answer), it tries ever less often.
func (c *Consumer) linger(n uint64) error {
	if c.impatient > 0 {
		c.impatient--
		return nil
	}
	pause(microPauses())
	more, err := c.available()
	if more < 2*n {
		c.patience = min(2*c.patience+1, 63)
	} else {
		c.patience = 0
	}
	c.impatient = c.patience
	return err
}

func (c *Consumer) waitSlow(ctx context.Context) error {
	c.life.inWait.Lock()
	defer c.life.inWait.Unlock()
	for i := range c.spin {
		// Often at first: an answer may come in a few hundred nanoseconds.
		for range 8 {
			pause(microPauses()/8 + 1)
			if n, err := c.available(); err != nil {
				return err
			} else if n > 0 {
				if i == 0 && n < plenty {
					return c.linger(n)
				}
				return nil
			}
		}
	}
	yieldTo(&c.region.prod.claim)
	for {
		if err := c.check(); err != nil {
			return err
		}
		if !c.Sleep() {
			return c.fault
		}
		// The low half of the tail as it was when Sleep found nothing. If it has
		// moved since, the kernel does not let us park.
		err := c.opts.Waiter.Wait(c.life.join(ctx), lowHalf(&c.region.prod.tail), uint32(c.seen))
		c.Awake()
		if n, bad := c.available(); n > 0 || bad != nil {
			return bad
		}
		if err := waitError(err, ctx, c.closed.Load(), c.errClosed, "wait for records in", c.opts.Name); err != nil {
			return err
		}
	}
}

// Sleep announces that the consumer is about to wait for records by other means
// than Wait, such as one bell for many rings. It returns true if there is nothing
// to read: from now on the producer's next Flush calls its Waiter's Wake, once.
// False means that there is something to read, or an error for Next to return, and
// that nothing was announced. Call Awake before reading on.
func (c *Consumer) Sleep() bool {
	if c.check() != nil {
		return false
	}
	c.asleep += 1 + c.asleep%2 // odd, and never the same twice
	// Stored here, loaded by the producer after asleep (amd64: stores in order;
	// arm64: STLR): any record behind what was seen ends the sleep. Without it, a
	// Flush of records that were read already would spend the epoch's one wake
	// before the consumer is parked.
	publish(&c.region.cons.wakeAt, c.seen+header)
	// Stored here, loaded by the producer in Flush. The load of the tail in
	// available comes after it (amd64: the store is an XCHG; arm64: STLR, then LDAR);
	// Flush has the matching barrier between its tail and its load of asleep.
	atomic.StoreUint32(&c.region.cons.asleep, c.asleep)
	if n, err := c.available(); n > 0 || err != nil {
		c.Awake()
		return false
	}
	return true
}

// Awake withdraws the announcement of Sleep.
func (c *Consumer) Awake() {
	if c.asleep%2 == 1 && !c.closed.Load() {
		c.asleep++
		atomic.StoreUint32(&c.region.cons.asleep, c.asleep)
	}
}

// waitError says what ended a wait; nil means look again.
func waitError(err error, ctx context.Context, closed bool, errClosed error, op, name string) error {
	switch {
	case closed:
		return errClosed
	case ctx.Err() != nil:
		return &Error{op, name, ctx.Err(), ""}
	case err != nil:
		return &Error{op, name, err, ""}
	}
	return nil
}

func deadlineError(err error) error {
	var e *Error
	if errors.As(err, &e) && errors.Is(err, context.DeadlineExceeded) {
		e.Err = os.ErrDeadlineExceeded
	}
	return err
}

// poller is the Waiter for those who gave none: it looks again after pauses that
// grow. Its Wake has nothing to do.
type poller struct{}

func (poller) Wait(ctx context.Context, word *uint32, old uint32) error {
	for d := 20 * time.Microsecond; atomic.LoadUint32(word) == old; d = min(2*d, 2*time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(d)
	}
	return nil
}

func (poller) Wake(*uint32) error { return nil }
