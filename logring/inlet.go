package logring

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"shmkit/ring"
	"shmkit/shm"
)

// An inlet is the collector's end of one worker's ring, and the lease that the
// starter of the worker holds.
type inlet struct {
	source // private to the collector's goroutine, as is what follows

	c      *Collector
	from   *tally
	seg    *shm.Segment
	asleep bool // announced in the ring; it is not looked at until it rings

	mu   sync.Mutex // of cons and what follows: the collector's goroutine and Stats
	cons *ring.Consumer
	err  error  // quarantined; stored under mu by the collector's goroutine, which reads it without
	bad  uint64 // records taken from the ring that broke the format

	level *uint32 // in the ring, see setLevel

	// pid is stored by Started and loaded by the collector's goroutine; rung is
	// set by Message (any goroutine) and cleared by the collector's. Both are of
	// this process only.
	pid  atomic.Int64
	rung atomic.Bool

	closing sync.Once
	gone    chan struct{}
}

// segmentKind is the kind of the segment that a worker's ring is in.
const segmentKind = "RING"

// Donate makes a ring for one worker: a file for it to inherit and the words that
// tell how to use it, for [Attach] in the worker. The memory is reserved
// here: a lack of it is an error now, and never one later.
//
// The lease is to be closed when the worker is dead. Its Close returns when
// everything that the worker had committed is taken out of the ring and the ring's
// memory is given back. It has two more methods, for a starter that knows of them:
// Started(pid, send) says which process has the ring, and Message(payload, files)
// is the worker's doorbell.
func (c *Collector) Donate(group string, rank, size int) (files []*os.File, words []string, lease io.Closer, err error) {
	r, err := c.newInlet(group, rank)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("logring: ring for %s/%d: %w", group, rank, err)
	}
	f, err := r.seg.Reopen()
	if err != nil {
		r.free()
		return nil, nil, nil, fmt.Errorf("logring: ring for %s/%d: %w", group, rank, err)
	}
	if !c.attach(r) {
		f.Close()
		r.free()
		return nil, nil, nil, errClosed
	}
	return []*os.File{f}, terms{policy: c.o.Policy, maxWait: c.o.MaxWait}.words(), r, nil
}

// newInlet makes a ring in a segment of its own.
func (c *Collector) newInlet(group string, rank int) (*inlet, error) {
	n, err := ring.Size(c.o.RingSize, c.o.MaxRecord)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s.%s.%d", c.o.Name, group, rank)
	seg, err := shm.Create(shm.Options{Name: name, Kind: shm.KindOf(segmentKind), Schema: formatVersion, Size: n, HandOff: shm.ReadWrite})
	if err != nil {
		return nil, err
	}
	r, err := c.inletOver(seg.Region(), name, group, rank)
	if err != nil {
		seg.Close()
		return nil, err
	}
	r.seg = seg
	return r, nil
}

// inletOver makes an inlet over any view of zeros: mapped memory, or the heap
// under the race detector.
func (c *Collector) inletOver(view []byte, name, group string, rank int) (*inlet, error) {
	cons, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: name, Waiter: shm.Futex{}})
	if err != nil {
		return nil, err
	}
	return &inlet{c: c, from: c.tallyOf(group, rank, 0), cons: cons, level: levelWord(view), gone: make(chan struct{})}, nil
}

// attach makes the collector look at the ring. It fails when it is closing.
func (c *Collector) attach(r *inlet) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return false
	}
	c.rings = append(c.rings, r)
	c.mail.changed = true
	r.from.rings = append(r.from.rings, r)
	r.setLevel(c.levelOf(r.from.group))
	c.wakeUp() // it sleeps only in rings that it knows
	return true
}

// free gives back what the inlet holds.
func (r *inlet) free() error {
	r.cons.Close()
	if r.seg == nil {
		return nil
	}
	return r.seg.Close()
}

// drain copies out what the ring holds, at most about limit bytes, checks it and
// queues it for merging. It reports whether the ring is worth another look
// at once. A fault is left in r.err, with all before it queued.
func (r *inlet) drain(m *merger, limit int, now, wall int64) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rung.Store(false) // before reading: whoever rings after this is heard
	if r.asleep {
		r.cons.Awake()
		r.asleep = false
	}
	// A producer that never stops must not keep us: what was there at the
	// beginning fits into the ring.
	limit = min(limit, r.c.o.RingSize)
	r.more = false
	pid := int(r.pid.Load())
	taken := 0
	for taken < limit {
		rec, ok, err := r.cons.Next()
		if err != nil {
			r.fail(err)
			break
		}
		if !ok {
			break
		}
		// Out of shared memory first, then parsed.
		r.buf = append(r.buf, rec.Payload...)
		size := len(rec.Payload)
		w, err := parse(rec.Tag, r.buf[len(r.buf)-size:])
		if err != nil {
			r.buf = r.buf[:len(r.buf)-size]
			r.bad++
			r.fail(err)
			break
		}
		taken += size
		m.enqueue(&r.source, entry{key: w.time, arrived: now, size: size, from: r.from, pid: pid}, wall)
	}
	r.cons.Release()
	r.more = taken >= limit && r.err == nil
	return r.more || taken > r.c.o.RingSize/busyShare
}

// fail quarantines the ring.
func (r *inlet) fail(err error) {
	r.err = &CorruptError{Group: r.from.group, Worker: r.from.rank, Err: err}
}

// sleep announces that the ring will not be looked at until it rings.
func (r *inlet) sleep() bool {
	if r.asleep || r.err != nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asleep = r.cons.Sleep()
	return r.asleep
}

// claims returns how many records were put into the ring or dropped before it. What
// is in the ring is counted by walking over it; only the drops are the worker's
// word, and bounded, so that no lie makes a sum overflow.
func (r *inlet) claims() (attempted uint64, dropped map[string]uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.cons.Stats()
	attempted = s.Delivered + s.Pending
	dropped = map[string]uint64{}
	for reason, n := range s.Dropped {
		if n > 0 {
			dropped[ringReasons[reason]] += min(n, 1<<48)
		}
	}
	attempted += sum(dropped)
	if r.err != nil {
		// What is behind the fault will not be read.
		dropped[DropCorrupt] += s.Pending + r.bad
	}
	return attempted, dropped
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

// letGo ends the inlet: its account is added to the tally, its memory given back.
func (r *inlet) letGo(c *Collector) {
	c.mu.Lock()
	attempted, dropped := r.claims()
	t := r.from
	for reason, n := range dropped {
		t.drop(reason, n)
	}
	t.attempted.Add(attempted)
	isThis := func(x *inlet) bool { return x == r }
	t.rings = slices.DeleteFunc(t.rings, isThis)
	c.rings = slices.DeleteFunc(c.rings, isThis)
	c.mu.Unlock()
	if err := r.free(); err != nil {
		c.say(slog.LevelError, "log ring not unmapped", slog.String("error", err.Error()))
	}
	close(r.gone)
}

// Close drains the ring to its end and gives it back; the worker has to be dead.
func (r *inlet) Close() error {
	r.closing.Do(func() {
		r.c.post(func(m *mail) { m.detach = append(m.detach, r) })
	})
	<-r.gone
	return nil
}

// Started notes which process has the ring.
func (r *inlet) Started(pid int, _ func(payload []byte, files ...*os.File) error) {
	r.pid.Store(int64(pid))
	r.c.tallyOf(r.from.group, r.from.rank, pid)
}

// Message is the worker's doorbell. It costs no more than a signal, so that a
// worker that rings without end harms itself.
func (r *inlet) Message(_ []byte, files []*os.File) {
	for _, f := range files {
		f.Close()
	}
	r.c.doorbells.Add(1)
	if !r.rung.Swap(true) {
		r.c.wakeUp()
	}
}
