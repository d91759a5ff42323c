package logring

import (
	"log/slog"
	"time"

	"shmkit/ring"
)

// A gap is what is missing in the stream for one reason since it was told the last
// time: a record "records dropped" says how many, why, since when and for how long. It
// stands behind what was logged before and in front of what was logged after, as
// soon as there is room for it.
type gap struct {
	n           uint64
	since, last time.Time // of the first and the last of them
}

const (
	gapMessage = "records dropped"
	gapLevel   = slog.LevelWarn

	// gapRetry is when it is tried again to tell a gap that nothing was logged after.
	gapRetry = 50 * time.Millisecond
)

// isTold are the reasons that the stream tells of. A record logged after Close has no
// stream any more, one in a corrupt ring no reader.
var isTold = [ring.NumReasons]bool{
	ring.DropFull: true, ring.DropTimeout: true, ring.DropTooLarge: true,
	reasonSampled: true, reasonLimited: true, // by a Throttle
}

// gaps are a Writer's, with its mu held.
type gaps struct {
	of    [ring.NumReasons]gap
	open  bool // one of them has something to tell
	armed bool // a timer will try
}

// lose counts n records that are not in a ring, for this process and for the node,
// and notes that it has to be told. It needs mu.
func (w *Writer) lose(reason ring.Reason, n uint64) {
	w.stats.Attempted += n
	w.stats.Dropped[ringReasons[reason]] += n
	w.shared.prod.Drop(reason, int(n))
	if reason == reasonSampled || reason == reasonLimited || !isTold[reason] {
		return
	}
	g := &w.gaps.of[reason]
	g.last = time.Now()
	if g.n == 0 {
		g.since = g.last
	}
	g.n += n
	w.gaps.open = true
	w.armGap()
}

// armGap has the gap told, sooner or later. It needs mu.
func (w *Writer) armGap() {
	if w.gaps.armed || w.life.Err() != nil {
		return
	}
	w.gaps.armed = true
	time.AfterFunc(gapRetry, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.gaps.armed = false
		w.settle()
		if !w.tellGaps() {
			w.armGap()
		}
	})
}

// tellGaps puts what there is to tell into the shared lane, as far as there is room,
// and reports whether that was all. It needs mu, and takes back a reservation.
func (w *Writer) tellGaps() bool {
	if !w.gaps.open {
		return true
	}
	for reason := range w.gaps.of {
		g := &w.gaps.of[reason]
		if g.n == 0 {
			continue
		}
		e := newEncoder(time.Now(), gapLevel, gapMessage, w.shared.max)
		e.lost(ringReasons[reason], g.n, g.since, g.last)
		payload := e.finish(w.shared.max)
		b, err := w.shared.prod.TryReserve(len(payload))
		if err == nil {
			copy(b, payload)
			w.shared.prod.Commit(len(payload), w.stamp(b, tagRecord))
			w.stats.Attempted++
			w.stats.Committed++
			w.tell(ring.Reason(reason), g.n)
			*g = gap{}
		}
		e.free()
		if err != nil {
			return false
		}
	}
	w.gaps.open = false
	if w.bell.due(&w.shared.fence) {
		w.bell.answer()
	}
	return true
}

// tell notes for the node that the stream tells of n drops: what is not noted when
// this process dies, the node tells. It needs mu.
func (w *Writer) tell(reason ring.Reason, n uint64) {
	w.toldOf[reason] += n
	// Stored by this process, loaded by the node when this process is dead.
	store64(&w.own.told[reason], w.toldOf[reason])
}

// owe counts a record that is dropped without waiting for the lock, which somebody
// may hold who waits for room.
func (w *Writer) owe(reason ring.Reason) {
	w.owed[reason].Add(1)
	if w.mu.TryLock() {
		w.settle()
		w.mu.Unlock()
	}
}

// settle counts what is owed. It needs mu.
func (w *Writer) settle() {
	for reason := range w.owed {
		if w.owed[reason].Load() == 0 {
			continue
		}
		if n := w.owed[reason].Swap(0); n > 0 {
			w.lose(ring.Reason(reason), n)
		}
	}
}

// untold returns what a dead worker's drops are that its stream does not tell of. The
// worker's words are bounded, and believed: they are about itself.
func (r *inlet) untold(dropped map[string]uint64) map[string]uint64 {
	left := map[string]uint64{}
	for reason, is := range isTold {
		if !is {
			continue
		}
		name := ringReasons[reason]
		// Stored by the worker (Writer.tell), which is dead.
		if told := load64(&r.worker.told[reason]); dropped[name] > told {
			left[name] = dropped[name] - told
		}
	}
	return left
}

// tellLost puts a gap record of a worker into the node's own queue.
func (r *inlet) tellLost(reason string, n uint64) {
	c := r.c
	e := newEncoder(time.Now(), gapLevel, gapMessage, c.local.maxRecord())
	e.word(kindUint64, "dropped", n)
	e.text("reason", reason)
	c.local.send(e, r.from, int(r.pid.Load()), "", own)
	e.free()
}

// tellOverwritten queues a gap record behind the last record before the gap. It needs
// r.mu.
func (r *inlet) tellOverwritten(k *collection, l *intake, now int64, pid int) {
	e := newEncoder(time.Now(), gapLevel, gapMessage, r.c.local.maxRecord())
	e.word(kindUint64, "dropped", l.lost)
	e.text("reason", DropOverwritten)
	p, in := k.shelf.put(e.finish(r.c.local.maxRecord()))
	l.lost = 0
	r.from.attempted.Add(1) // a record that the worker does not count
	k.m.enqueue(&l.source, entry{key: l.last, arrived: now, p: p, in: in, from: r.from, pid: pid}, now)
	e.free()
}
