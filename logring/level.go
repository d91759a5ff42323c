package logring

import (
	"log/slog"
	"math"
	"sync/atomic"
)

// SetLevel sets the lowest level that the node and all workers log, but for
// groups with a level of their own. Workers that run obey with their next log
// call.
func (c *Collector) SetLevel(l slog.Level) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.level = l
	c.publishLevels()
}

// SetGroupLevel sets the level of one group, now and for workers to come, whatever
// SetLevel says later. The node itself is the group [NodeGroup].
func (c *Collector) SetGroupLevel(group string, l slog.Level) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.levels[group] = l
	c.publishLevels()
}

// ResetGroupLevel makes the group follow SetLevel again.
func (c *Collector) ResetGroupLevel(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.levels, group)
	c.publishLevels()
}

// publishLevels needs mu.
func (c *Collector) publishLevels() {
	c.local.set(c.levelOf(NodeGroup, NodeWorker))
	c.local.tell.Publish(c.rulesOf(NodeGroup, NodeWorker)) // always fits: SetLevels has looked
	for _, r := range c.rings {
		c.tellLevels(r)
	}
}

// tellLevels tells a worker its levels. It needs mu.
func (c *Collector) tellLevels(r *inlet) {
	r.touch(func() {
		r.setLevel(c.levelOf(r.from.group, r.from.rank))
		// The rules fit: SetLevels and Donate have looked. A worker that has written into
		// their memory has spoilt nobody's levels but its own.
		r.rules.Publish(c.rulesOf(r.from.group, r.from.rank))
	})
}

// setLevel publishes the level in the ring. It needs Collector.mu.
//
// Stored by the node only (one writer: mu), loaded by every log call of the
// worker. Nothing else becomes visible with it: a worker may act on the old level
// for as long as the store takes to arrive, some tens of nanoseconds. amd64: MOV on
// the load side, XCHG here; arm64: LDAR and STLR.
func (r *inlet) setLevel(l slog.Level) {
	// What is below the one and not the other is kept as backtrace. Each word by itself
	// is right at any time.
	atomic.StoreUint32(&r.page.stream, levelBits(l))
	if r.trace != nil {
		l = min(l, r.c.o.Backtrace.floor())
	}
	atomic.StoreUint32(&r.page.level, levelBits(l))
}

// levelBits is how a level is stored in the ring: as a signed 32-bit number, so
// that a fresh ring says INFO.
func levelBits(l slog.Level) uint32 {
	return uint32(int32(max(math.MinInt32, min(math.MaxInt32, l))))
}

// loadLevel is the other half of setLevel.
func loadLevel(word *uint32) slog.Level { return slog.Level(int32(atomic.LoadUint32(word))) }
