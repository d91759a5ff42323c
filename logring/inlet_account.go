package logring

import (
	"maps"

	"shmkit/ring"
)

// What an inlet says of itself: its part of the collector's account, and of Stats.

// claims returns how many records were put into the rings or dropped before, and how
// many of them still are there to read. What
// is in them is counted by walking over it; only the drops are the worker's
// word, and bounded, so that no lie makes a sum overflow.
func (r *inlet) claims() (attempted, left uint64, dropped map[string]uint64) {
	var now claim
	intact := r.touch(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		now = r.count()
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if intact {
		r.known = now
	} else {
		now = r.known.since(r.read)
	}
	dropped = maps.Clone(now.dropped)
	if dropped == nil {
		dropped = map[string]uint64{}
	}
	attempted, left = now.attempted+sum(dropped), now.left
	if r.err != nil {
		// What is behind the fault will not be read.
		dropped[DropCorrupt] += left + r.bad
		left = 0
	}
	return attempted, left, dropped
}

// A claim is what the rings of a worker say of themselves.
type claim struct {
	attempted uint64 // read, or still there
	left      uint64 // still there
	dropped   map[string]uint64
}

// since corrects an older claim by what has been read meanwhile: of what was there then
// so much is gone, and no more is known of.
func (c claim) since(read uint64) claim {
	c.attempted = max(c.attempted, read)
	c.left = c.attempted - read
	return c
}

// count needs mu.
func (r *inlet) count() claim {
	c := claim{dropped: map[string]uint64{}}
	for _, l := range r.lanes {
		if l.class == classBacktrace {
			continue // what it keeps was not wanted
		}
		s := l.cons.Stats()
		c.attempted += s.Delivered + s.Pending
		c.left += s.Pending
		if s.Lost > 0 {
			c.dropped[DropOverwritten] += min(s.Lost, 1<<48)
		}
		for reason, n := range s.Dropped {
			if n > 0 {
				c.dropped[ringReasons[reason]] += min(n, 1<<48)
			}
		}
	}
	return c
}

// fill returns how many bytes of records lie in the rings, and how many they hold.
func (r *inlet) fill() (used, size uint64) {
	r.touch(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, l := range r.lanes {
			used += l.cons.Stats().Used
			size += uint64(l.size)
		}
	})
	return used, size
}

// ringReasons says what the reasons that a ring counts by mean here.
var ringReasons = [ring.NumReasons]string{
	ring.DropFull:     DropFull,
	ring.DropTimeout:  DropTimeout,
	ring.DropTooLarge: DropTooLarge,
	ring.DropCorrupt:  DropCorrupt,
	ring.DropCaller:   DropClosed,
	ring.DropCaller2:  DropSampled,
	ring.DropCaller3:  DropLimited,
}
