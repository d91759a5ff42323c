package ring

import "sync/atomic"

// What an end that attaches takes over from the one before it, which may have died
// at any instruction. The words of one's own page are another process's writing
// all the same: each is loaded once and checked.

// resume reads back what the last producer left.
func (p *Producer) resume() error {
	pr, c := p.region.prod, p.region.cons
	// Own words, but of another process: loaded once, then checked. The tail is
	// written by producers only, so this load is not a race with anyone alive.
	p.tail = atomic.LoadUint64(&pr.tail)
	p.flushed = p.tail
	if p.tail%align != 0 {
		return p.corrupt("producer", "tail", p.tail, 0, p.tail&^(align-1))
	}
	mode := uint32(0)
	if p.opts.Policy == OverwriteOldest {
		mode = 1
	}
	if was := atomic.LoadUint32(&pr.mode); p.tail != 0 && was != mode {
		return &Error{"attach producer", p.opts.Name, ErrPolicy, "overwriting cannot be changed once records are committed"}
	}
	// The mode is seen with the first tail: stored here, loaded by the consumer
	// after a tail that is not 0, which Commit publishes later.
	atomic.StoreUint32(&pr.mode, mode)
	if mode == 1 {
		old, ok := pr.oldest.load()
		if !ok || old.pos%align != 0 || p.tail-old.pos > p.region.capacity {
			return p.corrupt("producer", "oldest", old.pos, floor(p.tail, p.region.capacity), p.tail)
		}
		n, err := p.walk(old.pos, p.tail)
		if err != nil {
			return err
		}
		p.oldest = old
		p.count = old.records + n
		p.limit = old.pos + p.region.capacity
	} else {
		h := atomic.LoadUint64(&c.head)
		if h%align != 0 || p.tail-h > p.region.capacity {
			return p.corrupt("consumer", "head", h, floor(p.tail, p.region.capacity), p.tail)
		}
		// A producer may die between its commit and the note of how many there
		// are. The note says for which position it holds; the rest is counted.
		done, ok := pr.committed.load()
		if !ok || done.pos%align != 0 || p.tail-done.pos > p.region.capacity {
			return p.corrupt("producer", "committed", done.pos, floor(p.tail, p.region.capacity), p.tail)
		}
		n, err := p.walk(done.pos, p.tail)
		if err != nil {
			return err
		}
		p.count = done.records + n
		p.limit = h + p.region.capacity
	}
	pr.committed.store(entry{pos: p.tail, records: p.count})
	p.asleep = atomic.LoadUint32(&pr.asleep)
	if p.asleep%2 == 1 { // died asleep
		p.asleep++
		atomic.StoreUint32(&pr.asleep, p.asleep)
	}
	p.blocked = atomic.LoadUint64(&pr.blocked)
	p.wakes = atomic.LoadUint64(&pr.wakes)
	for i := range p.dropped {
		p.dropped[i] = atomic.LoadUint64(&pr.dropped[i])
	}
	return nil
}

// walk counts the records from one position to another.
func (p *Producer) walk(from, to uint64) (uint64, error) {
	n, at, ok := p.region.count(from, to)
	if !ok {
		_, err := p.sizeAt(at, to)
		return n, err
	}
	return n, nil
}

// sizeAt returns the size of the record at pos, checked: the consumer's process
// can write there, too.
func (p *Producer) sizeAt(pos, end uint64) (uint64, error) {
	n, ok := p.region.lengthAt(pos, end)
	if !ok {
		return 0, p.corrupt("producer", "length", n, 0, min(p.max, end-pos-header))
	}
	return sizeOf(n), nil
}

// resume reads back what the last consumer left.
func (c *Consumer) resume() error {
	cp, pr := c.region.cons, c.region.prod
	// Own words, but of another process: loaded once, then checked.
	head := atomic.LoadUint64(&cp.head)
	tail := atomic.LoadUint64(&pr.tail)
	c.pos, c.limit, c.seen, c.head = head, head, head, head
	if head%align != 0 {
		return c.corrupt("consumer", "head", head, floor(tail, c.region.capacity), tail)
	}
	if err := c.bound(tail); err != nil {
		return err
	}
	// Release stores its note before the head. A consumer that died in between
	// has left the note ahead of it: its release is done here.
	done, ok := cp.delivered.load()
	if !ok || done.pos%align != 0 || done.pos-head > tail-head {
		return c.corrupt("consumer", "delivered", done.pos, head, tail)
	}
	c.pos, c.limit, c.held, c.head = done.pos, done.pos, done.pos, done.pos
	c.next, c.lost = done.records, done.lost
	publish(&cp.head, c.head) // as in Release
	c.asleep = atomic.LoadUint32(&cp.asleep)
	if c.asleep%2 == 1 { // died asleep
		c.asleep++
		atomic.StoreUint32(&cp.asleep, c.asleep)
	}
	c.wakes = atomic.LoadUint64(&cp.wakes)
	return nil
}
