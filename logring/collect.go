package logring

import (
	"log/slog"
	"math"
	"slices"
	"time"
)

// A collection is the private state of the collector's goroutine.
type collection struct {
	c      *Collector
	m      merger
	inlets []*inlet
	next   int    // inlet to begin the next pass with
	local  source // the node's own queue
	shelf  shelf
	out    *batch   // being filled
	made   uint64   // batches
	naps   int      // since something was there
	fresh  []*inlet // scratch

	// See crash.go. Empty and nil without CollectorOptions.CrashDir.
	receipt  *receipt   // of the batch being filled
	receipts []*receipt // of batches that were handed and are not settled, the oldest first
	leaving  []*inlet   // their workers are gone, their records not yet written
	alarm    *alarm
}

// Bounds of one pass: no ring is read further before the others had their turn,
// and what was read goes on before more is taken.
const (
	passBytes = 128 << 10 // of one ring
	busyShare = 4         // a ring filled to 1/busyShare is read again without a pause
	whole     = math.MaxInt
)

// A doorbell costs a worker's log call a system call, some 20 µs, and a nap costs the
// collector a tenth of that. So it naps before it sleeps, for about the price of a bell:
// whoever logs every few milliseconds never rings.
const (
	nap     = 500 * time.Microsecond
	maxNaps = 10
)

// run is the collector's goroutine. It looks at the rings that may hold
// something, hands on what has waited long enough, and then either looks again
// (there is more), or waits for the end of the window (something is held), or naps,
// or announces to every worker that it sleeps and waits to be rung for. While it waits
// for the window or naps nobody rings; when nothing comes it costs nothing.
func (c *Collector) run() {
	defer close(c.ended)
	k := &collection{c: c, m: merger{window: int64(c.o.Window)}, alarm: newAlarm()}
	defer k.alarm.close()
	if c.keeps() {
		k.receipt = &receipt{}
	}
	k.salvage(c.left)
	for {
		mail := k.takeMail()
		k.settle()
		read := c.now()
		again := k.pass(passBytes)
		for _, r := range mail.detach {
			k.detach(r)
		}
		if len(mail.flush) > 0 || mail.close {
			k.flush()
			for _, f := range mail.flush {
				close(f.handed)
			}
		}
		if mail.close {
			k.finish()
			return
		}
		k.release(read)
		if again {
			continue
		}
		wait, held := k.m.wait(c.now())
		switch {
		case held:
			k.naps = 0
		case k.naps < maxNaps && len(k.inlets) > 0:
			k.naps++
			wait, held = nap, true
		case !k.sleep():
			c.wakes.Add(1) // a nap cut short: its announcement may be answered by a doorbell
			continue
		}
		k.wait(wait, held)
	}
}

// takeMail fetches what the goroutine is asked to do.
func (k *collection) takeMail() mail {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.mail
	c.mail = mail{}
	if m.changed {
		k.inlets = append(k.inlets[:0], c.rings...)
	}
	return m
}

// pass takes what the rings hold, at most limit bytes of each, beginning with
// another one each time. It reports whether there is reason to look again at once.
func (k *collection) pass(limit int) (again bool) {
	k.c.setClocks(k.m.count == 0)
	now := k.c.now()
	k.c.local.queue.take(k, now)
	first := k.next
	k.next++
	for i := range k.inlets {
		r := k.inlets[(first+i)%len(k.inlets)]
		if r.err != nil && r.rung.Load() {
			r.refuseFlush()
		}
		if r.err != nil || !r.begun.Load() || r.asleep && !r.rung.Load() && limit != whole {
			continue
		}
		busy := r.drain(k, limit, now)
		if r.err != nil {
			k.quarantine(r)
		}
		again = again || busy
		if k.m.bytes > maxHeld {
			k.release(now)
		}
	}
	return again
}

// setClocks reads the clocks that the times of events are converted with.
//
// free: nothing is held that the old lines have timed.
func (c *Collector) setClocks(free bool) {
	t := time.Now()
	now := monotonicOf(t)
	c.wall = t.UnixNano() - now
	if !c.clock.due(now) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.update(free)
	for _, r := range c.rings {
		r.touch(func() { r.page.clock.store(&c.clock) })
	}
}

// release hands to the sinks what is due after a pass that began at time read.
func (k *collection) release(read int64) {
	k.m.release(read, k.emit)
	k.hand()
	k.c.oldest.Store(k.m.oldest())
}

// flush hands to the sinks all that was there when it was called, which the first
// pass took. What came before any of it, from the same goroutine by another lane, was
// there by the end of that pass: the second took it.
func (k *collection) flush() {
	for range k.c.o.RingSize / passBytes { // most of it in small steps, as always
		read := k.c.now()
		if !k.pass(passBytes) {
			break
		}
		k.release(read)
	}
	k.pass(whole)
	read := k.c.now()
	k.pass(whole)
	k.m.releaseArrived(read, k.emit)
	k.hand()
	k.c.oldest.Store(k.m.oldest())
}

// emit adds one entry to the batch.
func (k *collection) emit(s *source, e *entry, late bool) {
	if k.out != nil && !k.out.fits(len(e.p)) {
		k.hand()
	}
	if k.out == nil {
		k.made++
		k.out = newBatch(k.m.count + 1)
		k.out.number = k.made
	}
	if s.kept != nil {
		k.note(s.kept)
	}
	k.out.add(e, late)
}

// hand gives the batch to all sinks: first to those that have room, then, waiting
// if need be, to the others.
func (k *collection) hand() {
	b := k.out
	if b == nil || len(b.recs) == 0 {
		return
	}
	k.out = nil
	c := k.c
	if k.receipt != nil {
		k.seal(b)
	}
	b.refs.Store(int32(len(c.sinks)) + 1)
	var full []*runner
	for _, r := range c.sinks {
		if !r.offer(b) {
			full = append(full, r)
		}
	}
	if len(full) > 0 {
		c.oldest.Store(b.born)
	}
	for _, r := range full {
		r.push(b)
	}
	c.mu.Lock()
	for i, n := 0, 0; i < len(b.recs); i += n {
		for n = 1; i+n < len(b.recs) && b.recs[i+n].from == b.recs[i].from; n++ {
		}
		b.recs[i].from.delivered += uint64(n)
	}
	c.late = k.m.late
	c.mu.Unlock()
	b.done()
}

// sleep announces to every worker that the collector will wait to be rung for: to
// those that know it already it says nothing. It returns false if a ring turned out
// to hold something.
func (k *collection) sleep() bool {
	k.fresh = k.fresh[:0]
	for _, r := range k.inlets {
		if r.announce() {
			k.fresh = append(k.fresh, r)
		}
	}
	if len(k.fresh) > 0 && k.c.remote {
		remoteBarrier()
	}
	quiet := true
	for _, r := range k.fresh {
		quiet = !r.ready() && quiet
	}
	clear(k.fresh)
	return quiet
}

// wait waits until something was rung or posted, or for the window to end.
func (k *collection) wait(d time.Duration, held bool) {
	if !held {
		<-k.c.wake
		k.c.wakes.Add(1)
		return
	}
	k.alarm.set(d)
	select {
	case <-k.c.wake:
		k.alarm.stop()
	case <-k.alarm.rings:
	}
}

// quarantine lets go of a ring that broke the format, but for its account.
func (k *collection) quarantine(r *inlet) {
	c := k.c
	c.mu.Lock()
	c.broken++
	c.mu.Unlock()
	c.say(slog.LevelError, "log ring quarantined",
		slog.String("of", r.from.group), slog.Int("rank", r.from.rank), slog.String("error", r.err.Error()))
}

// detach reads the rings of a worker to their end and lets go of them. Their records
// wait for their time as those of a living worker.
func (k *collection) detach(r *inlet) {
	if r.err == nil {
		r.drain(k, whole, k.c.now())
		if r.err != nil {
			k.quarantine(r)
		}
		if !k.c.isEnding() {
			r.bringOutAll(k)
		}
		r.allow(k, math.MaxInt64) // nothing comes any more
	}
	k.inlets = slices.DeleteFunc(k.inlets, func(x *inlet) bool { return x == r })
	r.letGo(k.c)
	if k.receipt != nil {
		k.leaving = append(k.leaving, r)
	} else {
		r.forget()
	}
	if k.m.bytes > maxHeld {
		k.release(k.c.now())
	}
}

// finish drains and lets go of all rings.
func (k *collection) finish() {
	for len(k.inlets) > 0 {
		k.detach(k.inlets[0])
	}
	k.c.local.queue.take(k, k.c.now())
	k.m.upTo(math.MaxInt64, k.emit)
	k.hand()
	k.shelf.end()
	k.c.last = k
}
