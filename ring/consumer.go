package ring

import (
	"iter"
	"sync/atomic"
	"unsafe"
)

// A Record is one record of a ring.
type Record struct {
	Tag uint32
	// Payload is ring memory, valid until Release. The producer's process can
	// still change it: copy out, then parse, if that process is not trusted.
	Payload []byte
}

// A Consumer reads the records of a ring. Its methods are for one goroutine at a
// time; Close alone may be called while another goroutine waits in Wait.
type Consumer struct {
	// What Next touches, in one cache line of private memory.
	base   unsafe.Pointer // of the data that is read: the ring's, or the shadow's
	mask   uint64
	pos    uint64 // authoritative position: the next record to return
	limit  uint64 // records exist up to here
	max    uint64 // largest payload
	next   uint64 // number of that record, over all consumers of the ring
	closed atomic.Bool

	region region
	opts   ConsumerOptions
	spin   int
	life   lifetime
	fault  error  // quarantined, or replaced: every later call returns it
	err    error  // of the last Batch
	fence  uint32 // for storeLoad

	begun     bool   // a tail that is not 0 was seen: the producer's mode holds
	seen      uint64 // tail last loaded
	head      uint64 // given back up to here
	rang      uint32 // sleep epoch of the producer that was rung for
	asleep    uint32 // own sleep epoch
	claim     uint64
	wakes     uint64
	lost      uint64
	patience  int // of linger
	impatient int

	shadow []byte // OverwriteOldest: records are copied here before they are read
	held   uint64 // slices to records behind this position are with the caller

	errClosed error
}

// NewConsumer attaches to the ring in view as its consumer. It starts with the
// first record that was not released: after a crash of the last consumer, records
// that it had read but not released come again (at least once). The view must
// outlive the Consumer.
//
// A ring has one consumer, as it has one producer: see [NewProducer].
func NewConsumer(view []byte, o ConsumerOptions) (*Consumer, error) {
	const op = "attach consumer"
	r, err := newRegion(view)
	if err != nil {
		return nil, &Error{op, o.Name, err, ""}
	}
	c := &Consumer{
		region: r, opts: o, base: r.base, mask: r.mask, max: uint64(r.maxRecord),
		spin:      spinRounds(o.Spin),
		errClosed: closedError("consumer", o.Name),
	}
	if c.opts.Waiter == nil {
		c.opts.Waiter = poller{}
	}
	if err := register(consumers, &r, c); err != nil {
		return nil, &Error{op, o.Name, err, "Close the first one"}
	}
	if err := c.resume(); err != nil {
		unregister(consumers, &r, c)
		return nil, err
	}
	c.life.init()
	c.claim = takeClaim(&r.cons.claim)
	// The last consumer may have died between its release and its wake. takeClaim
	// was the barrier after the head.
	c.wake()
	return c, nil
}

// Next returns the next record, or false if there is none now. It never waits.
// The record is valid until Release.
//
// The error is a [*GapError] when records were overwritten (told once; call Next
// again), os.ErrClosed, ErrSecondConsumer, or a [*CorruptError].
func (c *Consumer) Next() (Record, bool, error) {
	if c.pos == c.limit || c.closed.Load() {
		if ok, err := c.more(); !ok {
			return Record{}, false, err
		}
	}
	off := c.pos & c.mask
	// Stored by the producer before the tail that was loaded (more): visible.
	// One load for length and tag: what is checked is what is used.
	h := atomic.LoadUint64(word(c.base, off))
	n := h & (1<<32 - 1)
	size := (n + (header + align - 1)) &^ (align - 1)
	if n > c.max || size > c.limit-c.pos {
		return Record{}, false, c.corruptLength(n)
	}
	c.pos += size
	c.next++
	return Record{Tag: uint32(h >> 32), Payload: payload(c.base, off+header, n)}, true, nil
}

// Batch returns the records that are there now, at most max of them (0: no
// limit), as a sequence. It looks at the producer's tail once. Each record is valid
// until Release, also after the loop. A record is read when the loop body gets it;
// leaving the loop early leaves the rest for the next call. The error that ended
// the loop, if any, is in Err.
func (c *Consumer) Batch(max int) iter.Seq[Record] {
	return func(yield func(Record) bool) { c.batch(max, yield) }
}

func (c *Consumer) batch(max int, yield func(Record) bool) {
	if max <= 0 {
		max = int(^uint(0) >> 1)
	}
	ok, err := c.more()
	c.err = err
	if !ok {
		return
	}
	// The body of the loop may use the consumer, too: pos may be past end then.
	for end := c.limit; max > 0 && int64(end-c.pos) > 0; max-- {
		r, ok, err := c.Next()
		if !ok {
			c.err = err
			return
		}
		if !yield(r) {
			return
		}
	}
}

// Err returns the error that ended the last Batch, as Next would have returned
// it, or nil.
func (c *Consumer) Err() error { return c.err }

// Release gives the space of all records returned so far back to the producer,
// and wakes it if it waits for that. The records' payloads are no longer valid. Call
// it once per batch, not once per record: it costs a store-load barrier. Where both
// sides are to work at the same time, a batch is not more than a quarter of the ring.
func (c *Consumer) Release() { c.ReleaseTo(c.Mark()) }

// A Mark is a place between two records of a ring.
type Mark struct{ at entry }

// Mark returns the place behind the records returned so far.
func (c *Consumer) Mark() Mark { return Mark{entry{c.pos, c.next, c.lost}} }

// ReleaseTo is Release for the records before m only. The others stay in the ring,
// and come again for a successor. A mark that is not behind what is released already
// does nothing.
func (c *Consumer) ReleaseTo(m Mark) {
	if int64(m.at.pos-c.head) <= 0 || c.check() != nil {
		return
	}
	cp := c.region.cons
	c.head, c.held = m.at.pos, m.at.pos
	cp.delivered.store(m.at)
	// Stored here, loaded by the producer (refresh) and compared by the kernel. The
	// loads of the payload are not done after it: amd64 keeps load-store order, arm64
	// by STLR.
	publish(&cp.head, c.head)
	// The other half is in Producer.park: it stores asleep, then loads the head.
	storeLoad(&c.fence)
	c.wake()
}

// wake wakes the producer if it sleeps and has enough space now: once an epoch.
// Since the head has passed wakeAt, which is more than the producer had seen, one
// that is not parked yet is kept from it by the kernel's comparison.
func (c *Consumer) wake() {
	cp, pr := c.region.cons, c.region.prod
	e := atomic.LoadUint32(&pr.asleep)
	if e%2 == 0 || e == c.rang {
		return
	}
	// Stored before asleep. A lie delays only its author.
	if at := atomic.LoadUint64(&pr.wakeAt); int64(c.head-at) < 0 {
		return
	}
	c.rang = e
	c.wakes++
	publish(&cp.wakes, c.wakes) // a counter; nothing is ordered by it
	c.opts.Waiter.Wake(lowHalf(&cp.head))
}

// more makes limit the tail. It returns true if there is a record to read.
func (c *Consumer) more() (bool, error) {
	if err := c.check(); err != nil {
		return false, err
	}
	if _, err := c.look(); err != nil {
		return false, err
	}
	if c.shadow != nil {
		return c.fill()
	}
	c.limit = c.seen
	return c.pos != c.limit, nil
}

// available returns how many bytes there are to read.
func (c *Consumer) available() (uint64, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	return c.look()
}

// Ready reports whether Next would return something, a record or an error. It
// looks at the producer's tail once and takes nothing.
func (c *Consumer) Ready() bool {
	n, err := c.available()
	return n > 0 || err != nil
}

// look loads the tail.
func (c *Consumer) look() (uint64, error) {
	// Stored by the producer in Commit, loaded here. Makes visible: headers and
	// payloads before it (amd64: loads stay in order; arm64: LDAR, which no later
	// load overtakes).
	if t := atomic.LoadUint64(&c.region.prod.tail); t != c.seen {
		if err := c.bound(t); err != nil {
			return 0, err
		}
	}
	return c.seen - c.pos, nil
}

// bound checks a tail against what is known privately, and takes it.
func (c *Consumer) bound(t uint64) error {
	if t != 0 && !c.begun {
		// Stored by the producer before its first tail, thus visible with it.
		c.begun = true
		if atomic.LoadUint32(&c.region.prod.mode) == 1 {
			c.shadow, c.base = c.region.newShadow()
		}
	}
	high := c.head + c.region.capacity
	if c.shadow != nil {
		high = c.seen + 1<<62 // the producer does not wait for the head
	}
	if t%align != 0 || t-c.seen > high-c.seen {
		return c.corrupt("producer", "tail", t, c.seen, high)
	}
	c.seen = t
	return nil
}

func (c *Consumer) check() error {
	if c.closed.Load() {
		return c.errClosed
	}
	if c.fault != nil {
		return c.fault
	}
	// Own page: stored by this consumer when it attached, and by no other unless
	// the owner let a second one in.
	if w := atomic.LoadUint64(&c.region.cons.claim); w != c.claim {
		c.stop(replacedError("consumer", c.opts.Name, ErrSecondConsumer, w))
	}
	return c.fault
}

// stop makes every later call return err.
func (c *Consumer) stop(err error) {
	c.fault, c.limit = err, c.pos
}

//go:noinline
func (c *Consumer) corruptLength(n uint64) error {
	return c.corrupt("producer", "length", n, 0, min(c.max, c.limit-c.pos-header))
}

func (c *Consumer) corrupt(peer, what string, value, low, high uint64) error {
	c.stop(&CorruptError{Ring: c.opts.Name, Peer: peer, Word: what, Value: value, Min: low, Max: high, Position: c.pos})
	return c.fault
}

// Close ends the consumer. What was read and not released comes again for the
// next one. A call waiting in Wait returns os.ErrClosed before Close returns. Later
// calls return os.ErrClosed, a second Close nil. It does not release: the slices
// stay valid for as long as the producer does not write.
func (c *Consumer) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.life.end()
	unregister(consumers, &c.region, c)
	return nil
}
