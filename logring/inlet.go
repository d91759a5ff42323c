package logring

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"math/bits"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"shmkit/ring"
	"shmkit/seqlock"
	"shmkit/shm"
)

// An inlet is the collector's end of one worker's segment, and the lease that the
// starter of the worker holds.
type inlet struct {
	c      *Collector
	from   *tally
	seg    *shm.Segment
	page   *nodePage       // stored by the node only, under Collector.mu or by its goroutine
	worker *workerPage     // stored by the worker only
	rules  *seqlock.Writer // in the segment, used with Collector.mu held
	asleep bool            // announced to the worker; it is not looked at until it rings
	epoch  uint32          // of the announcements; odd while asleep

	mu      sync.Mutex // of what follows: the collector's goroutine and Stats
	lanes   []*intake  // one for each ring of the segment
	dict    definitions
	trace   *backtrace      // nil: none
	err     error           // quarantined; stored under mu by the collector's goroutine, which reads it without
	serving bool            // a goroutine works on a flush that the worker asked for
	heeded  uint64          // the last one
	freed   bool            // the memory is given back
	life    context.Context // ends before that
	end     context.CancelFunc
	bad     uint64 // records taken from the rings that broke the format
	read    uint64 // records taken
	known   claim  // what claims said last

	// torn is why the memory is not to be touched any more, see touch. Stored by
	// whoever meets the fault, loaded by drain, which makes a quarantine of it.
	torn atomic.Pointer[error]

	// pid is stored by Started and loaded by the collector's goroutine; rung is
	// set by Started and Message (any goroutine) and cleared by the collector's. begun
	// is stored after pid by Started, or by Message for a starter that does not call
	// Started: before it the rings are not looked at, so that no record is without
	// its pid. All are of this process only.
	pid   atomic.Int64
	rung  atomic.Bool
	begun atomic.Bool

	closing sync.Once
	gone    chan struct{}
}

// An intake is one ring of a worker. Its records keep their order; those of several
// are merged.
type intake struct {
	source // private to the collector's goroutine
	cons   *ring.Consumer
	size   int // bytes that the ring holds
	class  uint32
	lost   uint64 // overwritten, not told yet
}

// segmentKind is the kind of the segment that a worker logs into.
const segmentKind = "LOGR"

// Donate makes a ring for one worker: a file for it to inherit and the words that
// tell how to use it, for [Attach] in the worker. The memory is reserved
// here: a lack of it is an error now, and never one later.
//
// The lease is to be closed when the worker is dead. Its Close returns when
// everything that the worker had committed is taken out of the ring and the ring's
// memory is given back. It has two more methods, for a starter that knows of them:
// Started(pid, send) says which process has the ring, and Message(payload, files)
// is the worker's doorbell. Nothing is collected before the first call of either.
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
	if err := c.attach(r); err != nil {
		f.Close()
		r.free()
		return nil, nil, nil, err
	}
	return []*os.File{f}, c.terms().words(), r, nil
}

// terms are what a worker is told beside its segment.
func (c *Collector) terms() terms {
	return terms{trace: c.o.Backtrace, policy: newPolicies(c.o.Policy, c.o.PolicyFrom), maxWait: c.o.MaxWait, remote: c.remote, ticks: ticksTrusted()}
}

// plan lays out the segment of a worker.
func (o *CollectorOptions) plan() (leaseLayout, error) {
	l, err := planLease(o.RingSize, o.MaxRecord, runtime.NumCPU()+o.lanes)
	if p := newPolicies(o.Policy, o.PolicyFrom); err == nil && p.have(OverwriteOldest) {
		capacity := max(o.RingSize/4, 2<<bits.Len(uint(o.MaxRecord)))
		if !p.have(Block) && !p.have(DropNew) {
			capacity = max(o.RingSize, capacity)
		}
		err = l.add(classOverwrite, capacity, o.MaxRecord)
	}
	if o.Backtrace != nil && err == nil {
		err = l.add(classBacktrace, o.Backtrace.capacity(o.MaxRecord), o.MaxRecord)
	}
	return l, err
}

// newInlet makes an inlet in a segment of its own.
func (c *Collector) newInlet(group string, rank int) (*inlet, error) {
	layout, err := c.o.plan()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s.%s.%d", c.o.Name, group, rank)
	o := shm.Options{Name: name, Kind: shm.KindOf(segmentKind), Schema: formatVersion, Size: layout.size, HandOff: shm.ReadWrite}
	var seg *shm.Segment
	if c.o.CrashDir == "" {
		seg, err = shm.Create(o)
	} else {
		o.Name = crashName(os.Getpid(), c.made.Add(1), group, rank)
		seg, err = shm.CreateNamed(c.o.CrashDir, o)
	}
	if err != nil {
		return nil, err
	}
	r, err := c.inletOver(seg.Region(), layout, name, group, rank)
	if err != nil {
		seg.Close()
		return nil, err
	}
	r.seg = seg
	return r, nil
}

// inletOver makes an inlet over any view of zeros: mapped memory, or the heap
// under the race detector.
func (c *Collector) inletOver(view []byte, layout leaseLayout, name, group string, rank int) (*inlet, error) {
	r := &inlet{c: c, from: c.tallyOf(group, rank, 0), page: nodePageOf(view), worker: workerPageOf(view), gone: make(chan struct{})}
	r.life, r.end = context.WithCancel(context.Background())
	if err := layout.write(view); err != nil {
		return nil, err
	}
	var err error
	if r.rules, err = seqlock.OpenWriter(layout.rules(view)); err != nil {
		return nil, err
	}
	r.dict = definitions{words: &workerPageOf(view).words, mem: layout.dict(view)}
	for i, spot := range layout.rings {
		v := layout.view(view, i)
		cons, err := ring.NewConsumer(v, ring.ConsumerOptions{Name: name, Waiter: shm.Futex{}})
		if err != nil {
			r.free()
			return nil, err
		}
		capacity, _, _ := ring.Geometry(len(v)) // NewConsumer has checked it
		l := &intake{cons: cons, size: capacity, class: spot.class}
		if spot.class == classBacktrace {
			r.trace = &backtrace{intake: l, trigger: c.o.Backtrace.trigger()}
		} else if c.keeps() {
			l.kept = &kept{of: r, lane: l}
		}
		r.lanes = append(r.lanes, l)
	}
	r.announce() // the first record rings
	return r, nil
}

// attach makes the collector look at the ring. It fails when it is closing.
func (c *Collector) attach(r *inlet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return errClosed
	}
	if err := rulesFit(c.rules, r.from.group, r.from.rank); err != nil {
		return err
	}
	c.rings = append(c.rings, r)
	c.mail.changed = true
	r.from.rings = append(r.from.rings, r)
	c.tellLevels(r)
	r.touch(func() { r.page.clock.store(&c.clock) })
	c.wakeUp() // it sleeps only in rings that it knows
	return nil
}

// free gives back what the inlet holds.
func (r *inlet) free() error {
	r.end()
	r.mu.Lock()
	r.freed = true
	r.mu.Unlock()
	r.touch(func() {
		for _, l := range r.lanes {
			l.cons.Close()
		}
	})
	if r.seg == nil {
		return nil
	}
	return r.seg.Close()
}

// drain copies out what the rings hold, at most about limit bytes of each, checks
// it and queues it for merging. now is a moment before. It reports whether the rings
// are worth another look at once. A fault is left in r.err, with all before it
// queued.
func (r *inlet) drain(k *collection, limit int, now int64) (again bool) {
	if r.touch(func() { again = r.drainLanes(k, limit, now) }) || r.err != nil {
		return again
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail(*r.torn.Load())
	r.allow(k, math.MaxInt64) // what was read before goes on
	return false
}

func (r *inlet) drainLanes(k *collection, limit int, now int64) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rung.Store(false) // before reading: whoever rings after this is heard
	r.awake()
	r.heed()
	pid := int(r.pid.Load())
	safe := now - clockSkew // all lanes are read after it, and up to here
	for _, l := range r.lanes {
		if r.err != nil || l.class == classBacktrace {
			continue
		}
		again = r.drainLane(k, l, limit, now, pid) || again
		if l.more {
			safe = min(safe, l.last)
		}
	}
	if r.err != nil {
		safe = math.MaxInt64 // nothing comes any more
	}
	r.allow(k, safe)
	return again
}

func (r *inlet) allow(k *collection, key int64) {
	for _, l := range r.lanes {
		k.m.allow(&l.source, key)
	}
}

// drainLane needs mu.
func (r *inlet) drainLane(k *collection, l *intake, limit int, now int64, pid int) (again bool) {
	if l.bytes > 2*passBytes && limit != whole {
		// It waits for another lane of its worker. It is to fill up the ring then, not
		// our memory.
		l.more = true
		return true
	}
	// A producer that never stops must not keep us: what was there at the
	// beginning fits into the ring. (Here an event takes more bytes than there.)
	room := l.size
	latest := now
	taken, entries := 0, uint64(0)
	for taken < limit && room > 0 {
		rec, ok, err := l.cons.Next()
		if lost, is := err.(*ring.GapError); is {
			l.lost += lost.Lost
			room -= l.size/64 + 1 // nobody overwrites that often while we look
			continue
		}
		if err != nil {
			r.fail(err)
			break
		}
		if !ok {
			break
		}
		if l.lost > 0 {
			r.tellOverwritten(k, l, now, pid)
			entries++
		}
		room -= len(rec.Payload)
		in := k.shelf.open(len(rec.Payload) + usualGrowth)
		b, key, lag, err := r.take(in.buf, rec)
		if err != nil {
			r.bad++
			r.fail(err)
			break
		}
		p := b[len(in.buf):len(b):len(b)]
		in.buf = b
		r.read++
		taken += len(rec.Payload) // what it takes in the ring: an event grows
		if key > latest {
			latest = r.c.now() + clockSkew // it may have been written meanwhile
		}
		entries++
		k.m.enqueue(&l.source, entry{key: key, lag: lag, arrived: now, p: p, in: in, from: r.from, pid: pid}, latest)
		if r.trace != nil && slog.Level(int32(le.Uint32(p[offLevel:]))) >= r.trace.trigger {
			r.bringOut(k, key, l.last, now, pid)
		}
	}
	if l.lost > 0 {
		r.tellOverwritten(k, l, now, pid)
		entries++
	}
	if l.kept != nil {
		l.kept.settleAt(l.cons.Mark(), entries)
	} else {
		l.cons.Release()
	}
	l.more = (taken >= limit || room <= 0) && r.err == nil
	return l.more || l.size-room > l.size/busyShare
}

// take copies a record out of shared memory, then checks it, and appends it to dst
// in wire form: an event becomes a record like any other. It returns the record's key,
// by the monotonic clock, and how long before it the record was made. Needs mu.
func (r *inlet) take(dst []byte, rec ring.Record) (b []byte, key, lag int64, err error) {
	return r.dict.take(dst, rec, &r.c.clock, r.c.wall)
}

// fail quarantines the ring.
func (r *inlet) fail(err error) {
	r.err = &CorruptError{Group: r.from.group, Worker: r.from.rank, Err: err}
}

// announce tells the worker that it has to ring from now on.
//
// Stored here, loaded by the worker after it has published a record (doorbell.due).
// Between this store and the last look at the tails (ready) there is a full barrier
// on this side: the store is an XCHG on amd64, STLR before LDAR on arm64; and, if the
// worker has none of its own, one on that side: Collector.barrier.
func (r *inlet) announce() (fresh bool) {
	if r.asleep || r.err != nil {
		return false
	}
	r.asleep = true
	r.epoch++
	return r.touch(func() { store32(&r.page.asleep, r.epoch) })
}

// awake withdraws the announcement.
func (r *inlet) awake() {
	if r.asleep {
		r.asleep = false
		r.epoch++
		store32(&r.page.asleep, r.epoch) // a hint: a worker that misses it rings once too often
	}
}

// ready reports whether there is something to read, having announced sleep.
func (r *inlet) ready() bool {
	if r.err != nil {
		return false
	}
	found := false
	intact := r.touch(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, l := range r.lanes {
			if l.class != classBacktrace && l.cons.Ready() {
				r.awake()
				found = true
				return
			}
		}
	})
	return found || !intact // drain says what is wrong
}

// touch calls f, which looks at the worker's memory. Named segments (CrashDir) cannot
// be sealed: whoever may write to the file can cut it off. Then f ends at that place,
// its deferred calls run, and the memory is never touched again.
func (r *inlet) touch(f func()) (intact bool) {
	if r.seg == nil || r.c.o.CrashDir == "" {
		f()
		return true
	}
	if r.torn.Load() != nil {
		return false
	}
	err := r.seg.Access(func([]byte) error { f(); return nil })
	if err != nil {
		r.torn.CompareAndSwap(nil, &err)
		r.rung.Store(true) // the collector looks again, and quarantines it
		r.c.wakeUp()
	}
	return err == nil
}

// letGo ends the inlet: its account is added to the tally. Its memory is still there.
func (r *inlet) letGo(c *Collector) {
	c.mu.Lock()
	attempted, left, dropped := r.claims()
	t := r.from
	if left > 0 {
		dropped[DropShutdown] += left // its worker still lives, and nobody will look again
	}
	for reason, n := range dropped {
		t.drop(reason, n)
	}
	t.attempted.Add(attempted)
	var untold map[string]uint64
	if r.err == nil {
		r.touch(func() { untold = r.untold(dropped) })
	}
	isThis := func(x *inlet) bool { return x == r }
	t.rings = slices.DeleteFunc(t.rings, isThis)
	c.rings = slices.DeleteFunc(c.rings, isThis)
	c.mu.Unlock()
	for _, reason := range slices.Sorted(maps.Keys(untold)) {
		r.tellLost(reason, untold[reason])
	}
	close(r.gone)
}

// forget gives the memory back.
func (r *inlet) forget() {
	if err := r.free(); err != nil {
		r.c.say(slog.LevelError, "log ring not unmapped", slog.String("error", err.Error()))
	}
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
	r.touch(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.freed {
			store32(&r.page.pid, uint32(pid)) // the node only; loaded by who salvages the segment
		}
	})
	r.c.tallyOf(r.from.group, r.from.rank, pid)
	r.ring()
}

func (r *inlet) ring() {
	r.begun.Store(true)
	if !r.rung.Swap(true) {
		r.c.wakeUp()
	}
}

// Message is the worker's doorbell. It costs no more than a signal, so that a
// worker that rings without end harms itself.
func (r *inlet) Message(_ []byte, files []*os.File) {
	for _, f := range files {
		f.Close()
	}
	r.c.doorbells.Add(1)
	r.ring()
}
