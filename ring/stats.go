package ring

import "sync/atomic"

// Stats are counts over the whole life of the ring, across all its producers and
// consumers. Once both sides rest,
//
//	Attempted = Delivered + Lost + Pending + Dropped.Total()
//
// A side's own counts are exact. What it takes from the other side's page is that
// side's word for it, good for a display, not for a decision.
type Stats struct {
	Attempted uint64 // Committed + Dropped.Total()
	Committed uint64 // records committed
	Delivered uint64 // records returned by Next
	Lost      uint64 // records overwritten before they were read
	Pending   uint64 // records committed and neither delivered nor lost
	Bytes     uint64 // bytes that the committed records took, headers and padding included
	Used      uint64 // of those, bytes whose space is not given back; the consumer's Stats only
	Dropped   Drops
	Blocked   uint64 // reservations that had to wait
	Wakes     uint64 // wakes of the consumer by the producer
	WakesBack uint64 // wakes of the producer by the consumer
}

// Drops are counts by [Reason].
type Drops [NumReasons]uint64

// Total returns the sum over all reasons.
func (d Drops) Total() (n uint64) {
	for _, x := range d {
		n += x
	}
	return n
}

// Stats returns the counts as the producer knows them: Delivered and Lost are
// what the consumer had released, and Pending is the rest. After Close it
// returns zeros.
func (p *Producer) Stats() Stats {
	if p.closed.Load() {
		return Stats{}
	}
	s := Stats{
		Committed: p.count, Bytes: p.tail, Dropped: p.dropped, Blocked: p.blocked, Wakes: p.wakes,
		WakesBack: atomic.LoadUint64(&p.region.cons.wakes),
	}
	s.Attempted = s.Committed + s.Dropped.Total()
	if e, ok := p.region.cons.delivered.load(); ok && e.records <= p.count && e.lost <= e.records {
		s.Delivered, s.Lost = e.records-e.lost, e.lost
	}
	s.Pending = p.count - s.Delivered - s.Lost
	return s
}

// Stats returns the counts as the consumer knows them: Pending by walking
// over the records, Committed as the sum. Drops and waits are the producer's
// word. After Close it returns zeros.
func (c *Consumer) Stats() Stats {
	if c.closed.Load() {
		return Stats{}
	}
	pr := c.region.prod
	pending, lost := c.pending()
	s := Stats{
		Delivered: c.next - c.lost, Lost: c.lost + lost, Pending: pending, Bytes: c.seen,
		Committed: c.next + lost + pending, WakesBack: c.wakes, Used: min(c.seen-c.head, c.region.capacity),
		Blocked: atomic.LoadUint64(&pr.blocked), Wakes: atomic.LoadUint64(&pr.wakes),
	}
	for i := range s.Dropped {
		s.Dropped[i] = atomic.LoadUint64(&pr.dropped[i])
	}
	s.Attempted = s.Committed + s.Dropped.Total()
	return s
}

// Pending returns the number of records that are there to read. It walks over
// them: to find out whether there are any, Next or Wait is cheaper.
func (c *Consumer) Pending() int {
	if c.closed.Load() {
		return 0
	}
	n, _ := c.pending()
	return int(n)
}

// pending returns how many records can be read, and how many were lost that
// no gap was told of yet.
func (c *Consumer) pending() (n, lost uint64) {
	if _, err := c.available(); err != nil {
		return 0, 0
	}
	if c.shadow == nil {
		n, _, _ = c.region.count(c.pos, c.seen)
		return n, 0
	}
	shadow := c.region
	shadow.base = c.base
	n, _, _ = shadow.count(c.pos, c.limit)
	for range maxLaps {
		old, err := c.loadOldest()
		if err != nil {
			return 0, 0
		}
		from, unseen := c.limit, uint64(0)
		if int64(old.pos-from) > 0 {
			from, unseen = old.pos, old.records-c.next-n
		}
		more, _, ok := c.region.count(from, c.seen)
		loadLoad() // as in fill: counted, then asked whether it was still there
		now, err := c.loadOldest()
		if err != nil {
			return 0, 0
		}
		if ok && int64(now.pos-from) <= 0 {
			return n + more, unseen
		}
	}
	return n, 0
}
