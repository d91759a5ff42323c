package logring

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// A FlushLevel says how far records have to have come.
type FlushLevel int

const (
	// Collected: out of the ring, in the queues of the sinks. They outlive the
	// worker, as they did before.
	Collected FlushLevel = iota + 1
	// Written: every sink has written them. A file's are in the page cache: they
	// outlive the node, too.
	Written
	// Synced: every sink has made them durable, as far as its destination can. A
	// file's outlive the machine's crash.
	Synced
)

var flushNames = map[FlushLevel]string{Collected: "collected", Written: "written", Synced: "synced"}

func (l FlushLevel) String() string {
	if n, ok := flushNames[l]; ok {
		return n
	}
	return fmt.Sprintf("FlushLevel(%d)", int(l))
}

func (l FlushLevel) check() error {
	if _, ok := flushNames[l]; !ok {
		return fmt.Errorf("logring: flush: level %d: choose Collected, Written or Synced", int(l))
	}
	return nil
}

// Flush is FlushTo [Synced].
func (c *Collector) Flush(ctx context.Context) error { return c.FlushTo(ctx, Synced) }

// FlushTo returns when every record that was logged before the call has come as far
// as the level says: records committed in the rings, captured lines and the node's
// own. The error names the sinks that failed since the last flush, or is the
// context's.
func (c *Collector) FlushTo(ctx context.Context, level FlushLevel) error {
	if err := level.check(); err != nil {
		return err
	}
	c.local.before.run()
	f := &flush{handed: make(chan struct{})}
	if !c.post(func(m *mail) { m.flush = append(m.flush, f) }) {
		return errClosed
	}
	select {
	case <-f.handed:
	case <-ctx.Done():
		return fmt.Errorf("logring: flush: records are still being collected: %w", ctx.Err())
	}
	if level == Collected {
		return nil
	}
	return c.flushSinks(ctx, level)
}

// flushSinks waits until each sink has worked off what it was given, and synced it
// if that is asked for.
func (c *Collector) flushSinks(ctx context.Context, level FlushLevel) error {
	answers := make([]chan error, len(c.sinks))
	for i, r := range c.sinks {
		answers[i] = make(chan error, 1)
		r.flushAfter(answers[i], level)
	}
	var errs []error
	for i, r := range c.sinks {
		select {
		case err := <-answers[i]:
			errs = append(errs, err)
		case <-r.ended: // closed meanwhile
		case <-ctx.Done():
			errs = append(errs, &SinkError{Sink: r.o.Name, Err: fmt.Errorf("flush: still writing: %w", ctx.Err())})
		}
	}
	return errors.Join(errs...)
}

// Flush is FlushTo [Collected]: what the collector has taken outlives this process; so
// does what it has not, as long as the node lives, so no program needs Flush to be
// safe.
func (w *Writer) Flush(ctx context.Context) error { return w.FlushTo(ctx, Collected) }

// FlushTo returns when everything that was logged before the call has come as far
// as the level says, or with the context's error. For Written and Synced it asks the
// node, which answers when all its sinks have; the error then says that one of them
// failed, and which one stands in the node's own log. Flushes of one worker follow
// each other.
func (w *Writer) FlushTo(ctx context.Context, level FlushLevel) error {
	if err := level.check(); err != nil {
		return err
	}
	w.before.run()
	if level == Collected {
		return w.collected(ctx)
	}
	select {
	case w.asking <- struct{}{}:
		defer func() { <-w.asking }()
	case <-ctx.Done():
		return fmt.Errorf("logring: flush: another one waits for the node: %w", ctx.Err())
	}
	w.asked++
	number := w.asked
	// Stored by whoever holds asking, loaded by the node when the bell has rung
	// (inlet.heed), before it looks at the lanes for this flush: what was committed
	// before this store is seen then.
	store64(&w.own.ask, number<<2|uint64(level))
	w.bell.call()
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		// Stored by the node (inlet.serve) when its sinks have answered.
		a := load64(&w.node.answer)
		if a>>1 == number {
			runtime.KeepAlive(w)
			if a&1 != 0 {
				return fmt.Errorf("logring: flush: %v: the node could not: a sink has failed, or this worker's log is damaged: see the node's own records", level)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("logring: flush: the node's sinks have not %v all records: %w", level, ctx.Err())
		case <-w.life.Done():
			return errEnded
		case <-time.After(pause):
		}
	}
}

// heed looks whether the worker asks for a flush. It needs r.mu.
//
// One at a time, so that a worker that asks without end keeps one goroutine busy, and
// the sinks of the node as busy as a worker that logs without end does.
func (r *inlet) heed() {
	if ask := load64(&r.worker.ask); ask != r.heeded && !r.serving {
		r.heeded, r.serving = ask, true
		go r.serve(ask)
	}
}

// refuseFlush answers a worker that broke the format: what is behind that place comes
// nowhere.
func (r *inlet) refuseFlush() {
	r.rung.Store(false)
	r.touch(r.refuse)
}

func (r *inlet) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ask := load64(&r.worker.ask); ask != r.heeded && !r.serving {
		r.heeded = ask
		store64(&r.page.answer, ask>>2<<1|1)
	}
}

// serve has the sinks do what the worker asks for, and answers. The flush reads all
// rings after this; the worker's lie about the level costs a sync.
func (r *inlet) serve(ask uint64) {
	for {
		level := FlushLevel(ask & 3)
		if level.check() != nil {
			level = Synced
		}
		answer := ask >> 2 << 1
		if r.c.FlushTo(r.life, level) != nil {
			answer |= 1
		}
		next, more := ask, false
		if !r.touch(func() { next, more = r.answer(ask, answer) }) || !more {
			return
		}
		ask = next
	}
}

// answer answers one ask of the worker, and returns the next one if there is one.
func (r *inlet) answer(ask, answer uint64) (next uint64, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.freed {
		return 0, false
	}
	store64(&r.page.answer, answer)
	next = load64(&r.worker.ask)
	if next == ask || r.life.Err() != nil {
		r.serving = false
		return 0, false
	}
	r.heeded = next
	return next, true
}
