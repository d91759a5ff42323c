package ring

import "unsafe"

// The reader's side of OverwriteOldest. The producer does not wait for it, so
// what it reads may be overwritten while it reads. It copies a piece of the ring
// to private memory of the same shape and then asks which record is the oldest
// that is kept. If that is not behind the piece, the piece is whole.

const (
	maxChunk = 64 << 10 // copied at once, if records are not larger
	maxLaps  = 16       // before Next says that there is nothing now
)

// fill makes limit the end of records in the shadow. It returns true if there is
// one to read.
func (c *Consumer) fill() (bool, error) {
	if c.pos != c.limit {
		return true, nil
	}
	lost := uint64(0)
	for lap := range maxLaps {
		if c.seen == c.pos {
			break
		}
		n := c.copyChunk()
		// The copy is done before the oldest record is asked for (arm64: DMB ISHLD;
		// amd64 keeps loads in order). Stored by the producer in evict, before it
		// writes to the space it took.
		loadLoad()
		old, err := c.loadOldest()
		if err != nil {
			return false, err
		}
		if int64(old.pos-c.pos) <= 0 {
			if c.limit = c.wholeRecords(n); c.limit == c.pos {
				l, _ := c.shadowLength(c.pos)
				return false, c.corrupt("producer", "length", l, 0, min(c.max, c.seen-c.pos-header))
			}
			break
		}
		// Lapped. The oldest record is the one that is overwritten next: whoever is
		// lapped again goes on from the middle of what is kept.
		if lap > 0 {
			if old, err = c.skip(old); err != nil {
				return false, err
			}
		}
		if gone := old.records - c.next; gone-1 >= (old.pos-c.pos)/align {
			return false, c.corrupt("producer", "oldest number", old.records, c.next+1, c.next+(old.pos-c.pos)/align)
		}
		lost += old.records - c.next
		c.lost += old.records - c.next
		c.next = old.records
		c.renew()
		c.pos, c.limit, c.held = old.pos, old.pos, old.pos
	}
	if lost > 0 {
		return false, &GapError{Ring: c.opts.Name, Lost: lost, Next: c.next}
	}
	return c.pos != c.limit, nil
}

// copyChunk copies what is at pos to the shadow and returns how much.
func (c *Consumer) copyChunk() uint64 {
	r := &c.region
	if r.capacity-(c.pos-c.held) < r.overhang {
		// The caller holds nearly a whole shadow of records. It keeps that one.
		c.renew()
		c.held = c.pos
	}
	off := c.pos & c.mask
	n := min(c.seen-c.pos, max(maxChunk, r.overhang), r.capacity+r.overhang-off, r.capacity-(c.pos-c.held))
	copyShared(c.shadow[off:off+n], unsafe.Add(r.base, off))
	return n
}

// renew replaces the shadow if the caller still has slices of it.
func (c *Consumer) renew() {
	if c.pos != c.held {
		c.shadow, c.base = c.region.newShadow()
	}
}

// wholeRecords returns where the last record ends that is whole in the n bytes
// of the shadow at pos and does not start in the overhang.
func (c *Consumer) wholeRecords(n uint64) uint64 {
	pos, end := c.pos, c.pos+n
	for pos != end && pos&^c.mask == c.pos&^c.mask {
		l, ok := c.shadowLength(pos)
		if !ok || sizeOf(l) > end-pos {
			break
		}
		pos += sizeOf(l)
	}
	return pos
}

func (c *Consumer) shadowLength(pos uint64) (uint64, bool) {
	l := *word(c.base, pos&c.mask) & (1<<32 - 1)
	return l, l <= c.max
}

// loadOldest returns the oldest record that is kept, at this moment or later.
func (c *Consumer) loadOldest() (entry, error) {
	old, ok := c.region.prod.oldest.load()
	before := c.seen
	// The tail is loaded after it, so it is not behind it.
	if _, err := c.look(); err != nil {
		return entry{}, err
	}
	low := floor(before, c.region.capacity)
	if !ok || old.pos%align != 0 || old.pos-low > c.seen-low {
		return entry{}, c.corrupt("producer", "oldest", old.pos, low, c.seen)
	}
	return old, nil
}

// skip returns the record in the middle of what is kept, or a later oldest one.
func (c *Consumer) skip(from entry) (entry, error) {
	for range maxLaps {
		to := from
		for half := from.pos + (c.seen-from.pos)/2; int64(half-to.pos) > 0; to.records++ {
			n, ok := c.region.lengthAt(to.pos, c.seen)
			if !ok {
				break // overwritten meanwhile, or the copy will show that it is corrupt
			}
			to.pos += sizeOf(n)
		}
		loadLoad() // the lengths were loaded before the oldest record is asked for
		now, err := c.loadOldest()
		if err != nil {
			return entry{}, err
		}
		if int64(now.pos-from.pos) <= 0 {
			return to, nil
		}
		from = now
	}
	return from, nil
}
