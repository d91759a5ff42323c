package logring

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A runner gives one sink a goroutine and a bounded queue, so that the sink's
// pace and faults are its own. The collector pushes, the runner's goroutine writes.
type runner struct {
	sink Sink
	o    SinkOptions

	mu       sync.Mutex
	queue    []queued
	bytes    int       // of the batches in the queue and in Write
	closed   bool      // no more is pushed
	failing  bool      // the last Write failed
	left     bool      // abandoned: what it still does is not counted any more
	moved    time.Time // when it last made progress, or got something to do
	born     int64     // key of the oldest record in Write, 0: none
	accepted uint64    // records pushed
	stats    SinkStats
	lastErrs []error // failures since the last Sync, the first few

	writes, syncs outage // see sink_outage.go
	tell          teller

	// Private to the goroutine.
	since  time.Time  // since when writes fail, zero while they do not; after Retry, a batch is tried only once
	fields *fieldPlan // nil: attributes as they come
	arena  []byte     // what fields made of the attributes of a batch
	dirty  time.Time  // since when there is something that Sync.Every waits for

	work  chan struct{} // cap 1: there is something in the queue
	space chan struct{} // cap 1: bytes went down
	abort <-chan struct{}
	ended chan struct{}
}

// queued is a batch, or a flush that asks for an answer.
type queued struct {
	b     *batch
	flush chan<- error
	level FlushLevel
}

// startRunner starts the goroutine. tell may be nil.
func startRunner(s Sink, abort <-chan struct{}, tell teller) *runner {
	s, o := resolveSink(s)
	r := &runner{
		sink: s, o: o, abort: abort, tell: tell,
		work: make(chan struct{}, 1), space: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	r.stats = SinkStats{Name: o.Name, Dropped: map[string]uint64{}}
	if o.Fields != nil {
		r.fields, _ = o.Fields.plan() // NewCollector has looked at the error
	}
	go r.run()
	return r
}

// poke signals without waiting.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// offer enqueues the batch if there is room. It takes over one reference. A queue
// that is empty takes a batch of any size.
func (r *runner) offer(b *batch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes > 0 && r.bytes+b.size() > r.o.Queue {
		return false
	}
	if r.bytes == 0 {
		r.moved = time.Now()
	}
	r.bytes += b.size()
	r.accepted += uint64(len(b.recs))
	r.queue = append(r.queue, queued{b: b})
	poke(r.work)
	return true
}

// push enqueues the batch, waiting for a sink that is slow but works. A sink that
// fails, or has made no progress for the stall time, loses the batch, counted.
func (r *runner) push(b *batch) {
	var timer *time.Timer
	for !r.offer(b) {
		wait, reason := r.patience()
		if wait <= 0 {
			r.refuse(b, reason)
			break
		}
		if timer == nil {
			timer = time.NewTimer(wait)
		} else {
			timer.Reset(wait)
		}
		select {
		case <-r.space:
		case <-timer.C:
		case <-r.abort:
			r.refuse(b, DropShutdown)
			timer.Stop()
			return
		}
	}
	if timer != nil {
		timer.Stop()
	}
}

// patience returns how much longer a full queue is waited for, and the reason to
// give if it is not.
func (r *runner) patience() (time.Duration, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing {
		return 0, DropError
	}
	return r.o.Stall - time.Since(r.moved), DropStalled
}

func (r *runner) refuse(b *batch, reason string) {
	if reason == DropStalled {
		r.failed(&r.writes, errNoProgress, b.recs)
	}
	r.mu.Lock()
	r.accepted += uint64(len(b.recs))
	r.stats.Dropped[reason] += uint64(len(b.recs))
	r.mu.Unlock()
	b.done()
}

// flushAfter asks for an answer when all that is in the queue now is written, or
// synced. It comes once; c needs room for it.
func (r *runner) flushAfter(c chan<- error, level FlushLevel) {
	r.mu.Lock()
	r.queue = append(r.queue, queued{flush: c, level: level})
	r.mu.Unlock()
	poke(r.work)
}

// close ends the goroutine once the queue is worked off.
func (r *runner) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	poke(r.work)
}

func (r *runner) run() {
	defer close(r.ended)
	var recs []Record // scratch
	for {
		q, closed := r.take()
		if len(q) == 0 {
			if closed {
				r.note(r.guard(r.sink.Close))
				return
			}
			r.rest()
			continue
		}
		for len(q) > 0 {
			if q[0].flush != nil {
				q[0].flush <- r.flush(q[0].level)
				q = q[1:]
				continue
			}
			var n int
			recs, n = r.writeSome(recs, q)
			q = q[n:]
		}
	}
}

// writeSome writes the batches that q begins with, together if they are small, and
// returns how many they were. scratch is used again.
func (r *runner) writeSome(scratch []Record, q []queued) ([]Record, int) {
	n, bytes, total := 0, 0, 0
	for n < len(q) && q[n].flush == nil && (n == 0 || total+len(q[n].b.recs) <= 4*batchRecords) {
		bytes += q[n].b.size()
		total += len(q[n].b.recs)
		n++
	}
	start := r.begin(q[0].b)
	if recs := q[0].b.recs; n == 1 && r.o.Level == nil && r.o.Filter == nil && r.fields == nil {
		r.write(recs)
		r.syncIfDue(recs)
	} else {
		recs = scratch[:0]
		for _, x := range q[:n] {
			recs = r.choose(recs, x.b.recs)
		}
		r.count(&r.stats.Filtered, total-len(recs))
		r.trim(recs)
		r.write(recs)
		r.syncIfDue(recs)
		clear(recs)
		scratch = recs
	}
	r.mu.Lock()
	r.timed(q[:n], start)
	r.bytes -= bytes
	r.mu.Unlock()
	for _, x := range q[:n] {
		x.b.done()
	}
	poke(r.space)
	return scratch, n
}

// begin notes that b is being written, and returns the time.
func (r *runner) begin(b *batch) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.born = b.born
	return monotonic()
}

// timed counts how long batches took. It needs mu.
func (r *runner) timed(q []queued, start int64) {
	now := monotonic()
	r.born = 0
	if r.left {
		return
	}
	r.stats.Batches++
	r.stats.Busy += time.Duration(now - start)
	for _, x := range q {
		if x.b.born > 0 {
			r.stats.Latency.add(time.Duration(now-x.b.born), uint64(len(x.b.recs)))
		}
	}
}

// trim gives the records, which are copies, the attributes that the sink wants.
func (r *runner) trim(recs []Record) {
	if r.fields == nil {
		return
	}
	if cap(r.arena) > 4<<20 {
		r.arena = nil
	}
	r.arena = r.arena[:0]
	for i := range recs {
		from := len(r.arena)
		r.arena = r.fields.append(r.arena, recs[i].attrs)
		recs[i].attrs = r.arena[from:len(r.arena):len(r.arena)] // of the array as it is now
	}
}

func (r *runner) take() (q []queued, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q, r.queue = r.queue, nil
	return q, r.closed
}

// choose appends the records that the sink wants. Where that cannot be said,
// because its filter panics, it is the sink's loss.
func (r *runner) choose(dst, recs []Record) []Record {
	if r.o.Level == nil && r.o.Filter == nil {
		return append(dst, recs...)
	}
	for i := range recs {
		wanted := false
		err := r.guard(func() error {
			wanted = (r.o.Level == nil || recs[i].Level >= r.o.Level.Level()) &&
				(r.o.Filter == nil || r.o.Filter(&recs[i]))
			return nil
		})
		if err != nil {
			r.note(fmt.Errorf("filter: %w", err))
		}
		if wanted {
			dst = append(dst, recs[i])
		}
	}
	return dst
}

// write writes the records, offering again what the sink says may be tried again.
// When it returns, each of them is counted: written or dropped.
func (r *runner) write(recs []Record) {
	pause := 10 * time.Millisecond
	for len(recs) > 0 {
		if r.abandoned() {
			return
		}
		err := r.guard(func() error { return r.sink.Write(recs) })
		if err == nil {
			r.since = time.Time{}
			r.wrote(len(recs), 0, false)
			r.works(&r.writes)
			return
		}
		r.note(err)
		r.failed(&r.writes, err, recs)
		var we *WriteError
		if !errors.As(err, &we) {
			r.drop(len(recs), DropError)
			return
		}
		written := max(0, min(we.Written, len(recs)))
		lost := max(0, min(we.Lost, len(recs)-written))
		recs = recs[written+lost:]
		r.wrote(written, lost, true)
		if written > 0 || r.since.IsZero() {
			r.since = time.Now()
			pause = 10 * time.Millisecond
		}
		switch {
		case len(recs) == 0:
		case !we.Retry || time.Since(r.since) >= r.o.Retry:
			if we.Torn {
				r.drop(1, DropTorn)
				recs = recs[1:]
			}
			r.drop(len(recs), DropError)
			return
		case lost == 0:
			select {
			case <-time.After(pause):
			case <-r.abort: // time is up
				r.drop(len(recs), DropShutdown)
				return
			}
			pause = min(2*pause, time.Second)
		}
	}
}

// wrote counts what a Write brought and whether it failed.
func (r *runner) wrote(n, lost int, failed bool) {
	r.count(&r.stats.Written, n)
	r.lose(lost, DropError)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = failed
	if n > 0 {
		r.moved = time.Now()
	}
}

// drop gives records up after a failure.
func (r *runner) drop(n int, reason string) {
	r.lose(n, reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = true
}

func (r *runner) count(c *uint64, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.left {
		*c += uint64(n)
	}
}

func (r *runner) lose(n int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 && !r.left {
		r.stats.Dropped[reason] += uint64(n)
	}
}

// note keeps an error for the next Sync and counts it.
func (r *runner) note(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Errors++
	r.stats.LastError = err.Error()
	told := slices.ContainsFunc(r.lastErrs, func(e error) bool { return e.Error() == err.Error() })
	if !told && len(r.lastErrs) < 4 { // a disk that stays full fails the same way each time
		r.lastErrs = append(r.lastErrs, err)
	}
}

// flush makes what is written durable, if that is asked for. It returns the errors
// since the last time.
func (r *runner) flush(level FlushLevel) error {
	if level == Synced {
		r.syncNow()
	}
	return r.takeErrors()
}

func (r *runner) takeErrors() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := r.lastErrs
	r.lastErrs = nil
	if len(errs) == 0 {
		return nil
	}
	return &SinkError{Sink: r.o.Name, Err: errors.Join(errs...)}
}

// guard calls into the sink. A panic there is an error of the sink.
func (r *runner) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// grace is what a sink gets to return from a Write after time is up.
const grace = 100 * time.Millisecond

// abandon counts what a sink that did not end in time still holds, as far as it
// is not known to be written. The sink gets no more of it.
func (r *runner) abandon() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.accepted - r.stats.accounted()
	r.stats.Dropped[DropShutdown] += pending
	r.left = true
	return &SinkError{Sink: r.o.Name, Err: fmt.Errorf("still writing when time was up: %d records given up", pending)}
}

func (r *runner) abandoned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// A SinkError says which sink failed. errors.Is and As find the cause.
type SinkError struct {
	Sink string
	Err  error
}

func (e *SinkError) Error() string { return fmt.Sprintf("logring: sink %s: %v", e.Sink, e.Err) }
func (e *SinkError) Unwrap() error { return e.Err }
