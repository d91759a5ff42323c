package ring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// TryReserve is Reserve without waiting: a full ring returns ErrFull at once,
// uncounted. Under OverwriteOldest the ring is never full.
func (p *Producer) TryReserve(n int) ([]byte, error) {
	// As in Reserve: private words only.
	if uint64(n) <= p.max && (uint64(n)+(header+align-1))&^(align-1) <= p.limit-p.tail && !p.closed.Load() {
		p.reserved = uint64(n) + 1
		return payload(p.base, p.tail&p.mask+header, uint64(n)), nil
	}
	if err := p.room(n); err != nil {
		return nil, err
	}
	return p.take(n), nil
}

// ReserveContext is Reserve, but waits for space until the context ends,
// whatever MaxWait and policy (save OverwriteOldest, which never waits). It counts
// no drop: the caller may try again.
func (p *Producer) ReserveContext(ctx context.Context, n int) ([]byte, error) {
	err := p.room(n)
	if err == p.errFull {
		err = p.wait(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	return p.take(n), nil
}

// ReserveDeadline is ReserveContext with a point in time: after it the error is
// os.ErrDeadlineExceeded. The zero time means no deadline.
func (p *Producer) ReserveDeadline(n int, t time.Time) ([]byte, error) {
	err := p.room(n)
	if err == p.errFull {
		err = p.waitDeadline(n, t)
	}
	if err != nil {
		return nil, err
	}
	return p.take(n), nil
}

// reservePolicy is Reserve off its fast path.
func (p *Producer) reservePolicy(n int) ([]byte, error) {
	err := p.room(n)
	if err == p.errFull && p.opts.Policy == Block {
		var deadline time.Time
		if p.opts.MaxWait > 0 {
			deadline = time.Now().Add(p.opts.MaxWait)
		}
		err = p.waitDeadline(n, deadline)
	}
	if err == nil {
		return p.take(n), nil
	}
	if why, ok := p.reason(err); ok {
		p.Drop(why, 1)
	}
	return nil, err
}

// reason returns what a record refused with err is counted under. Misuse and a
// closed ring are not counted: no record was attempted.
func (p *Producer) reason(err error) (Reason, bool) {
	switch _, corrupt := err.(*CorruptError); {
	case corrupt:
		return DropCorrupt, true
	case err == p.errFull:
		return DropFull, true
	case errors.Is(err, os.ErrDeadlineExceeded):
		return DropTimeout, true
	case errors.Is(err, ErrTooLarge):
		return DropTooLarge, true
	}
	return 0, false
}

// take hands out n bytes for which there is room.
func (p *Producer) take(n int) []byte {
	p.reserved = uint64(n) + 1
	return payload(p.base, p.tail&p.mask+header, uint64(n))
}

// room returns nil if a record of n bytes fits now. It looks at the shared head
// only if the head last seen does not leave enough.
func (p *Producer) room(n int) error {
	p.reserved = 0
	if err := p.check(); err != nil {
		return err
	}
	if n < 0 || uint64(n) > p.max {
		return &Error{"reserve", p.opts.Name, ErrTooLarge,
			fmt.Sprintf("%d bytes, possible are 0 to %d: split it, or make the ring with larger records", n, p.max)}
	}
	size := sizeOf(uint64(n))
	if size <= p.limit-p.tail {
		return nil
	}
	if p.opts.Policy == OverwriteOldest {
		return p.evict(size)
	}
	if err := p.refresh(); err != nil {
		return err
	}
	if size <= p.limit-p.tail {
		return nil
	}
	// Whoever is refused may come again and again without a Flush, while the
	// consumer sleeps on a full ring.
	if err := p.Flush(); err != nil {
		return err
	}
	return p.errFull
}

// refresh loads the head and moves the limit.
func (p *Producer) refresh() error {
	// Stored by the consumer in Release, loaded here. Makes visible: that it has
	// read the records before it (its loads are not done after the store: amd64
	// keeps that order, arm64 by STLR); the stores into their space come after this
	// load on both (arm64: LDAR).
	h := atomic.LoadUint64(&p.region.cons.head)
	seen := p.limit - p.region.capacity
	if h-seen > p.tail-seen || h%align != 0 {
		return p.corrupt("consumer", "head", h, seen, p.tail)
	}
	if h != seen {
		// A successor counts from this note on. So it is not older than the head:
		// nothing behind it is overwritten before the next one.
		p.region.prod.committed.store(entry{pos: p.tail, records: p.count})
		p.limit = h + p.region.capacity
	}
	return nil
}
