package logring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// CollectorOptions for [NewCollector]. The zero value is usable: it logs to
// nobody.
type CollectorOptions struct {
	// Name names the rings in errors and in /proc/PID/maps; default "log".
	Name string

	// Sinks get every record; see [With] for a level or filter of their own.
	// The collector owns them from NewCollector on, even if that fails.
	Sinks []Sink

	// Level is the lowest level that workers and node log, until SetLevel.
	Level slog.Level

	// Window is how long a record may wait for earlier ones of other workers,
	// default 1 ms.
	Window time.Duration

	// RingSize is how many bytes of records each worker may be ahead of the
	// collector, default 1 MiB, rounded up to a power of two. It is reserved
	// when the worker starts.
	RingSize int

	// MaxRecord is the size of the largest record in bytes, default 64 KiB, at
	// most half of RingSize. What does not fit is cut and marked.
	MaxRecord int

	// Policy says what a log call does when its ring is full.
	Policy Policy

	// PolicyFrom says otherwise for records of a level and above:
	//
	//	map[slog.Level]logring.Policy{slog.LevelInfo: logring.DropNew, slog.LevelError: logring.Block}
	PolicyFrom map[slog.Level]Policy

	// Backtrace, if set, keeps records below the level for when something goes wrong.
	Backtrace *Backtrace

	// MaxWait is how long a log call may wait under Block, default 10 s. Then its
	// record is dropped and counted, and so are the following ones, without
	// another wait, until there is room again.
	MaxWait time.Duration

	// CrashDir, if set, is a directory for the segments of the workers, so that
	// what a killed node has not written can be read after it: by the next collector
	// of that directory, which begins with it, or by [Salvage]. It has to be on this
	// machine, of mode 0700 and the caller's own, best on a tmpfs such as /dev/shm;
	// it is made if its parent is there.
	//
	// Space in the rings is then given back when all sinks have written its
	// records, so that RingSize is all that a worker may be ahead of the slowest
	// sink. A worker of the same user can cut off a file, which without CrashDir it
	// cannot: that worker's log is quarantined, and the worker dies at its next
	// record.
	CrashDir string

	lanes int // of measurements: so many more than there are CPUs
}

const (
	defaultWindow    = time.Millisecond
	defaultRingSize  = 1 << 20
	defaultMaxRecord = 64 << 10
	defaultMaxWait   = 10 * time.Second
)

var errClosed = fmt.Errorf("logring: collector: %w", os.ErrClosed)

// A Collector takes records out of the rings of all workers, brings them into
// one order, and hands them to the sinks. It has two goroutines, and one more per
// sink, however many workers there are. Its methods may be called from any
// goroutine.
type Collector struct {
	o       CollectorOptions
	sinks   []*runner
	remote  bool          // remoteBarrier works here
	wake    chan struct{} // cap 1
	abort   chan struct{} // closed when Close is out of time
	ended   chan struct{} // closed when the goroutine has ended
	closing sync.Once
	closed  chan struct{} // closed when Close is done
	err     error         // what Close returned

	// clock and wall, the wall clock less the monotonic one, convert the times of
	// events. They belong to the collector's goroutine, which stores clock under mu.
	clock tickClock
	wall  int64

	local local

	made atomic.Uint64 // crash files; any goroutine that calls Donate
	left *salvage      // what a killed node has left, or nil
	last *collection   // set by run before ended is closed

	mu      sync.Mutex
	tallies map[who]*tally
	levels  map[string]slog.Level // of groups that have their own
	rules   []levelRule           // by SetLevels, in the order in which they are asked
	level   slog.Level
	rings   []*inlet // attached; the collector's goroutine has its own copy
	mail    mail
	late    uint64
	broken  int
	ending  bool // no more rings are attached

	oldest    atomic.Int64  // key of the oldest record that is held, 0: none; stored by the collector's goroutine, loaded by Stats
	wakes     atomic.Uint64 // stored by the collector's goroutine, loaded by Stats
	doorbells atomic.Uint64 // stored by the goroutines of the control sockets, loaded by Stats
}

// mail is what the collector's goroutine is asked to do.
type mail struct {
	changed bool     // rings were attached
	detach  []*inlet // drain to the end, then let go
	flush   []*flush
	close   bool // drain everything, let go of everything, end
}

// A flush is told, once, when all that was there has been handed to the sinks.
type flush struct{ handed chan struct{} }

// NewCollector starts a collector.
func NewCollector(o CollectorOptions) (*Collector, error) {
	err := o.check()
	var left *salvage
	if err == nil && o.CrashDir != "" {
		left, err = o.enterCrashDir()
	}
	if err != nil {
		o.closeSinks()
		return nil, err
	}
	return startCollector(o, left), nil
}

// startCollector starts a collector with options that were checked.
func startCollector(o CollectorOptions, left *salvage) *Collector {
	c := &Collector{
		o: o, left: left, remote: remoteBarrier(), level: o.Level,
		wake: make(chan struct{}, 1), abort: make(chan struct{}), ended: make(chan struct{}), closed: make(chan struct{}),
		tallies: map[who]*tally{}, levels: map[string]slog.Level{},
	}
	c.clock.begin()
	c.local.c = c
	c.local.init()
	c.local.node = c.tallyOf(NodeGroup, NodeWorker, os.Getpid())
	c.local.queue.room.L = &c.local.queue.mu
	c.publishLevels() // nobody else has the collector yet
	for _, s := range o.Sinks {
		c.sinks = append(c.sinks, startRunner(s, c.abort, c.tell))
	}
	go c.run()
	return c
}

// closeSinks closes the sinks of a collector that is not to be.
func (o *CollectorOptions) closeSinks() {
	for _, s := range o.Sinks {
		if s == nil {
			continue
		}
		if inner, _ := resolveSink(s); inner != nil {
			inner.Close()
		}
	}
}

// check fills in the defaults and says what cannot be.
func (o *CollectorOptions) check() error {
	if o.Name == "" {
		o.Name = "log"
	}
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	if o.RingSize <= 0 {
		o.RingSize = defaultRingSize
	}
	size := 1 << 12
	for size < o.RingSize && size < 1<<30 {
		size <<= 1
	}
	o.RingSize = size
	if o.MaxRecord <= 0 {
		o.MaxRecord = min(defaultMaxRecord, o.RingSize/2)
	}
	if o.MaxWait <= 0 {
		o.MaxWait = defaultMaxWait
	}
	switch {
	case o.MaxRecord < minMaxRecord || o.MaxRecord > o.RingSize/2:
		return fmt.Errorf("logring: MaxRecord %d: choose %d to half of RingSize (%d)", o.MaxRecord, minMaxRecord, o.RingSize/2)
	}
	for _, p := range append(slices.Collect(maps.Values(o.PolicyFrom)), o.Policy) {
		if err := p.check(); err != nil {
			return err
		}
	}
	if o.Backtrace != nil {
		if err := o.Backtrace.check(); err != nil {
			return err
		}
	}
	if _, err := o.plan(); err != nil {
		return fmt.Errorf("logring: RingSize: %w", err)
	}
	for i, s := range o.Sinks {
		if s == nil {
			return fmt.Errorf("logring: sink %d is nil: leave it out", i)
		}
		inner, so := resolveSink(s)
		if inner == nil {
			return fmt.Errorf("logring: sink %d is nil: leave it out", i)
		}
		if bad, ok := inner.(badSink); ok {
			return bad.err
		}
		if so.Fields != nil {
			if _, err := so.Fields.plan(); err != nil {
				return fmt.Errorf("logring: sink %s: %w", so.Name, err)
			}
		}
	}
	return nil
}

// wakeUp makes the collector's goroutine look, if it sleeps.
func (c *Collector) wakeUp() { poke(c.wake) }

// now is the collector's monotonic clock in nanoseconds.
func (c *Collector) now() int64 { return monotonic() }

// post leaves mail.
func (c *Collector) post(f func(*mail)) bool {
	c.mu.Lock()
	open := !c.ending
	if open {
		f(&c.mail)
	}
	c.mu.Unlock()
	c.wakeUp()
	return open
}

// Close collects what is left in all rings, lets go of them, and flushes and
// closes the sinks. When ctx ends first, what has not been written by then is
// given up and counted as dropped for "shutdown". The error names each sink that
// failed. After Close the statistics are final. A second Close returns the same.
func (c *Collector) Close(ctx context.Context) error {
	first := false
	c.closing.Do(func() { first = true })
	if !first {
		select {
		case <-c.closed:
			return c.err
		case <-ctx.Done():
			return fmt.Errorf("logring: close: %w", ctx.Err())
		}
	}
	defer close(c.closed)
	inTime := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			close(c.abort)
		case <-inTime:
		}
	}()
	c.local.before.run()
	c.local.queue.close()
	c.mu.Lock()
	c.ending = true
	c.mail.close = true
	c.mu.Unlock()
	c.wakeUp()
	<-c.ended // never longer than ctx: with abort, no sink is waited for

	// A sink that works gets a moment more: it may have waited for another one.
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	errs := []error{c.flushSinks(late, Synced)}
	for _, r := range c.sinks {
		r.close()
	}
	for _, r := range c.sinks {
		select {
		case <-r.ended:
			errs = append(errs, r.takeErrors())
		case <-late.Done():
			errs = append(errs, r.abandon())
		}
	}
	close(inTime)
	c.last.settleRest()
	c.err = errors.Join(errs...)
	return c.err
}

// isEnding reports whether Close was called: workers may live then.
func (c *Collector) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}
