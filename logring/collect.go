package logring

import (
	"log/slog"
	"math"
	"time"
)

// A collection is the private state of the collector's goroutine.
type collection struct {
	c      *Collector
	m      merger
	inlets []*inlet
	next   int    // inlet to begin the next pass with
	local  source // the node's own queue
	out    *batch // being filled
	timer  *time.Timer
}

// Bounds of one pass: no ring is read further before the others had their turn,
// and what was read goes on before more is taken.
const (
	passBytes  = 128 << 10 // of one ring
	passTotal  = maxHeld   // of all
	busyShare  = 4         // a ring filled to 1/busyShare is read again without a pause
	flushLimit = math.MaxInt
)

// run is the collector's goroutine. It looks at the rings that may hold
// something, hands on what has waited long enough, and then either looks again
// (there is more), or waits for the end of the window (something is held), or
// announces in every ring that it sleeps and waits to be rung for. While it waits
// for the window no ring rings; when nothing comes it costs nothing.
func (c *Collector) run() {
	defer close(c.ended)
	k := &collection{c: c, m: merger{window: int64(c.o.Window)}, timer: time.NewTimer(time.Hour)}
	k.timer.Stop()
	for {
		mail := k.takeMail()
		read := c.now()
		again := k.pass(passBytes)
		for _, r := range mail.detach {
			k.detach(r)
		}
		if len(mail.flush) > 0 || mail.close {
			// What the first pass took has a time before the second; and what came before
			// any of it, from the same goroutine by another lane, was taken by then.
			k.pass(flushLimit)
			read = c.now()
			k.pass(flushLimit)
			k.release(read, true)
			for _, f := range mail.flush {
				close(f.handed)
			}
		}
		if mail.close {
			k.finish()
			return
		}
		k.release(read, false)
		if again {
			continue
		}
		wait, held := k.m.wait(c.now())
		if !held && !k.sleep() {
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
	k.c.setClocks()
	now := k.c.now()
	k.c.local.queue.take(&k.m, &k.local, now)
	for i := range k.inlets {
		r := k.inlets[(k.next+i)%len(k.inlets)]
		if r.err != nil || r.asleep && !r.rung.Load() && limit != flushLimit {
			continue
		}
		busy := r.drain(&k.m, limit, now)
		if r.err != nil {
			k.quarantine(r)
		}
		again = again || busy
		if k.m.bytes > passTotal {
			k.next = (k.next + i + 1) % len(k.inlets)
			k.release(now, false)
			if limit != flushLimit {
				return true
			}
			now = k.c.now()
		}
	}
	k.next++
	return again
}

// setClocks reads the clocks that the times of events are converted with.
func (c *Collector) setClocks() {
	t := time.Now()
	now := monotonicOf(t)
	c.wall = t.UnixNano() - now
	if now-c.clock.mono < clockPeriod {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.update()
	for _, r := range c.rings {
		r.page.clock.store(&c.clock)
	}
}

// release hands to the sinks what is due, or all that had arrived by then. read
// is a time after which all lanes were looked at.
func (k *collection) release(read int64, all bool) {
	k.m.release(read, k.c.now(), all, k.emit)
	k.hand()
}

// emit adds one entry to the batch.
func (k *collection) emit(s *source, e *entry) {
	if k.out != nil && !k.out.fits(e.size) {
		k.hand()
	}
	if k.out == nil {
		k.out = newBatch(k.m.count, k.m.bytes)
	}
	k.out.add(s.buf[e.off:e.off+e.size], e.from, e.pid, e.stream)
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
	b.refs.Store(int32(len(c.sinks)) + 1)
	var full []*runner
	for _, r := range c.sinks {
		if !r.offer(b) {
			full = append(full, r)
		}
	}
	for _, r := range full {
		r.push(b)
	}
	c.mu.Lock()
	for i := range b.recs {
		b.recs[i].from.delivered++
	}
	c.late = k.m.late
	c.mu.Unlock()
	b.done()
}

// sleep announces to every ring that the collector will wait to be rung for. It
// returns false if a ring turned out to hold something.
func (k *collection) sleep() bool {
	fresh := false
	for _, r := range k.inlets {
		fresh = r.announce() || fresh
	}
	if fresh && k.c.remote {
		remoteBarrier()
	}
	quiet := true
	for _, r := range k.inlets {
		quiet = !r.ready() && quiet
	}
	return quiet
}

// wait waits until something was rung or posted, or for the window to end.
func (k *collection) wait(d time.Duration, held bool) {
	if !held {
		<-k.c.wake
		k.c.wakes.Add(1)
		return
	}
	k.timer.Reset(d)
	select {
	case <-k.c.wake:
		k.timer.Stop()
	case <-k.timer.C:
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

// detach reads a ring to its end and lets go of it.
func (k *collection) detach(r *inlet) {
	for r.err == nil {
		more := r.drain(&k.m, flushLimit, k.c.now())
		if k.m.bytes > passTotal {
			k.release(k.c.now(), false)
		}
		if r.err != nil {
			k.quarantine(r)
		}
		if !more {
			break
		}
	}
	for i, x := range k.inlets {
		if x == r {
			k.inlets = append(k.inlets[:i], k.inlets[i+1:]...)
			break
		}
	}
	r.letGo(k.c)
}

// finish drains and lets go of all rings.
func (k *collection) finish() {
	for len(k.inlets) > 0 {
		k.detach(k.inlets[0])
	}
	k.c.local.queue.take(&k.m, &k.local, k.c.now())
	k.release(math.MaxInt64, true)
}
