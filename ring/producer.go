package ring

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// A Producer writes records into a ring. Its methods are for one goroutine at a
// time; Close alone may be called while another goroutine waits in Reserve.
type Producer struct {
	// What Reserve and Commit touch, in one cache line of private memory. The
	// shared tail is only ever written from here.
	base     unsafe.Pointer
	mask     uint64
	tail     uint64 // authoritative position
	limit    uint64 // the tail may grow up to here: the head last seen + capacity
	reserved uint64 // payload bytes reserved + 1; 0: nothing is reserved
	max      uint64 // largest payload
	count    uint64 // records committed, over all producers of the ring
	shared   *uint64
	closed   atomic.Bool
	asks     bool // for memory ahead of what it writes: always, but in a benchmark

	region region
	opts   ProducerOptions
	spin   int // polite polls before parking
	life   lifetime
	fault  error  // quarantined, or replaced: every later call returns it
	misuse error  // of Commit; the next call returns it once
	fence  uint32 // for storeLoad

	flushed uint64 // tail at the last flush
	rang    uint32 // sleep epoch of the consumer that was rung for
	rangAt  uint64 // tail then
	asleep  uint32 // own sleep epoch
	claim   uint64
	oldest  entry // OverwriteOldest: the oldest record that is kept
	blocked uint64
	wakes   uint64
	dropped [NumReasons]uint64

	errFull, errClosed error // made once: refusing costs no allocation
}

// A Commit asks for the memory behind the tail: 256 bytes, or as many as its record took,
// but no more than maxAhead, from the next line on. Those lines were read by the
// consumer when the ring last came by, and the nearest once more by its processor, which
// reads ahead: the first store to each would wait for it, 100 ns between two cores. What is
// here already costs next to nothing to ask for (BenchmarkBurst, BenchmarkAlone).
const (
	lineSize = 64
	maxAhead = 512
)

// NewProducer attaches to the ring in view as its producer, and goes on where
// the last one ended: its committed records stay, whatever instruction it died
// at. A view of zeros is an empty ring. The view must outlive the Producer.
//
// A ring has one producer. A second live one on the same view is refused with
// [ErrSecondProducer]. Between processes (or two mappings of one) the ring cannot
// know whether an earlier producer is dead: its owner learns that from the
// kernel. If the owner is wrong, the earlier producer gets ErrSecondProducer from
// its next Flush or wait.
func NewProducer(view []byte, o ProducerOptions) (*Producer, error) {
	const op = "attach producer"
	r, err := newRegion(view)
	if err != nil {
		return nil, &Error{op, o.Name, err, ""}
	}
	if o.Policy < Block || o.Policy > OverwriteOldest {
		return nil, &Error{op, o.Name, fmt.Errorf("policy %d: %w", o.Policy, ErrPolicy), "choose Block, DropNew or OverwriteOldest"}
	}
	p := &Producer{
		region: r, opts: o, base: r.base, mask: r.mask, max: uint64(r.maxRecord), shared: &r.prod.tail, asks: true,
		spin:      spinRounds(o.Spin),
		errFull:   &Error{"reserve", o.Name, ErrFull, "read faster, make the ring larger, or choose another policy"},
		errClosed: closedError("producer", o.Name),
	}
	if p.opts.Waiter == nil {
		p.opts.Waiter = poller{}
	}
	if err := register(producers, &r, p); err != nil {
		return nil, &Error{op, o.Name, err, "Close the first one"}
	}
	if err := p.resume(); err != nil {
		unregister(producers, &r, p)
		return nil, err
	}
	p.life.init()
	p.claim = takeClaim(&r.prod.claim)
	if p.tail != 0 {
		// The last producer may have died between its commit and its wake.
		p.flushed--
		if err := p.Flush(); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Reserve returns n bytes to write a record's payload into: ring memory,
// valid until Commit, Abort or the next Reserve. Bytes that are not written hold
// whatever was there. When the ring is full it does what the policy says, and
// counts what the policy drops.
//
// It returns ErrFull (DropNew), os.ErrDeadlineExceeded (Block with MaxWait),
// ErrTooLarge, os.ErrClosed, ErrSecondProducer or a [*CorruptError].
func (p *Producer) Reserve(n int) ([]byte, error) {
	// The fast path: private words only. n+15 cannot overflow once n ≤ max.
	if uint64(n) <= p.max && (uint64(n)+(header+align-1))&^(align-1) <= p.limit-p.tail && !p.closed.Load() {
		p.reserved = uint64(n) + 1
		return payload(p.base, p.tail&p.mask+header, uint64(n)), nil
	}
	return p.reservePolicy(n)
}

// Commit publishes the record whose payload is the first n bytes of the
// reservation: from now on an awake consumer sees it, and it survives this
// process. tag is passed on. A consumer asleep is not woken: that is what Flush is
// for. Commit without a reservation, or of more than was reserved, publishes
// nothing; the next Reserve or Flush returns ErrNoReservation.
//
//go:noinline
func (p *Producer) Commit(n int, tag uint32) {
	if uint64(n) >= p.reserved || p.closed.Load() {
		p.refuse(n)
		return
	}
	// Plain: nobody may look at it before the tail has passed it.
	*word(p.base, p.tail&p.mask) = uint64(uint32(n)) | uint64(tag)<<32
	size := (uint64(n) + (header + align - 1)) &^ (align - 1)
	p.tail += size
	p.count++
	p.reserved = 0
	// Stored by the producer here, loaded by the consumer (look) and compared by
	// the kernel. Makes visible: header and payload. amd64: a plain MOV, stores stay
	// in order; arm64: STLR, no earlier store passes it.
	if p.asks {
		publishAhead(p.shared, p.tail, unsafe.Add(p.base, p.tail&p.mask+lineSize), min(size, maxAhead))
	} else {
		publish(p.shared, p.tail)
	}
}

// refuse notes a Commit that cannot be.
func (p *Producer) refuse(n int) {
	if p.closed.Load() || p.fault != nil {
		return // the next call says so
	}
	reserved := int64(p.reserved) - 1
	p.reserved = 0
	p.misuse = &Error{"commit", p.opts.Name, ErrNoReservation,
		fmt.Sprintf("%d bytes committed, %d reserved (-1: no reservation): Reserve before each Commit", n, reserved)}
}

// Abort gives a reservation back. Nothing of it is ever visible.
func (p *Producer) Abort() { p.reserved = 0 }

// Write appends one record with a copy of payload and wakes the consumer if it
// sleeps: Reserve, Commit and Flush.
func (p *Producer) Write(tag uint32, payload []byte) error {
	b, err := p.Reserve(len(payload))
	if err != nil {
		return err
	}
	copy(b, payload)
	p.Commit(len(payload), tag)
	return p.Flush()
}

// Flush wakes the consumer if it announced that it sleeps; at most once for each
// time that it fell asleep. Without a sleeping consumer it makes no system call.
// Call it after the last Commit of a burst: it costs a store-load barrier.
func (p *Producer) Flush() error {
	if err := p.check(); err != nil {
		return err
	}
	if p.tail == p.flushed {
		return nil
	}
	p.flushed = p.tail
	p.region.prod.committed.store(entry{pos: p.tail, records: p.count})
	// The other half is in Consumer.Sleep: this side stores the tail and loads
	// asleep, that side stores asleep and loads the tail. With a store-load barrier
	// on both sides, one of the two sees the other's store (amd64: XCHG here and
	// there; arm64: STLR then LDAR, which keep their order).
	storeLoad(&p.fence)
	return p.wake()
}

// wake wakes the consumer if it sleeps and does not know of the tail. It does so
// once an epoch. Since the tail has passed wakeAt, which is more than the consumer
// had seen, a consumer that is not parked yet is kept from it by the kernel's
// comparison: the one wake is not lost.
//
// (Should the tail move on by a multiple of 4 GiB before the consumer parks, as it
// can only when overwriting, the comparison would let it. So it is rung again 2 GiB
// later.)
func (p *Producer) wake() error {
	c := p.region.cons
	e := atomic.LoadUint32(&c.asleep)
	if e%2 == 0 || e == p.rang && p.tail-p.rangAt < 1<<31 {
		return nil
	}
	// Stored before asleep. A lie delays only its author.
	if at := atomic.LoadUint64(&c.wakeAt); int64(p.tail-at) < 0 {
		return nil
	}
	p.rang, p.rangAt = e, p.tail
	p.wakes++
	publish(&p.region.prod.wakes, p.wakes) // a counter; nothing is ordered by it
	if err := p.opts.Waiter.Wake(lowHalf(&p.region.prod.tail)); err != nil {
		return &Error{"wake the consumer of", p.opts.Name, err, "it sees the records when it looks the next time"}
	}
	return nil
}

// Drop counts n records that the caller gave up, so that attempted = committed +
// dropped stays exact. It is for records refused by TryReserve, ReserveContext or
// ReserveDeadline, or not even tried; Reserve counts its own.
func (p *Producer) Drop(r Reason, n int) {
	if r < 0 || r >= NumReasons {
		r = DropCaller
	}
	if n <= 0 || p.closed.Load() {
		return
	}
	p.dropped[r] += uint64(n)
	publish(&p.region.prod.dropped[r], p.dropped[r]) // a counter; nothing is ordered by it
}

// check returns why the producer cannot go on, if it cannot.
func (p *Producer) check() error {
	if p.closed.Load() {
		return p.errClosed
	}
	if p.fault != nil {
		return p.fault
	}
	if err := p.misuse; err != nil {
		p.misuse = nil
		return err
	}
	// Own page: stored by this producer when it attached, and by no other unless
	// the owner let a second one in.
	if c := atomic.LoadUint64(&p.region.prod.claim); c != p.claim {
		p.stop(replacedError("producer", p.opts.Name, ErrSecondProducer, c))
		return p.fault
	}
	return nil
}

// stop makes every later call return err: no fast path, no commit.
func (p *Producer) stop(err error) {
	p.fault, p.limit, p.reserved = err, p.tail, 0
}

func (p *Producer) corrupt(peer, what string, value, low, high uint64) error {
	p.stop(&CorruptError{Ring: p.opts.Name, Peer: peer, Word: what, Value: value, Min: low, Max: high, Position: p.tail})
	return p.fault
}

// Close ends the producer. Committed records stay for the consumer, which is
// woken if it sleeps; a call waiting in Reserve returns os.ErrClosed before Close
// returns. Later calls return os.ErrClosed, a second Close nil.
func (p *Producer) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	p.life.end()
	unregister(producers, &p.region, p)
	// No private word is used: the goroutine that owns them may be another one.
	// closed.Swap was the barrier after the last tail.
	if atomic.LoadUint32(&p.region.cons.asleep)%2 == 1 {
		return p.opts.Waiter.Wake(lowHalf(&p.region.prod.tail))
	}
	return nil
}

func floor(x, by uint64) uint64 {
	if x < by {
		return 0
	}
	return x - by
}
