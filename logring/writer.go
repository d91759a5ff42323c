package logring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"shmkit/ring"
	"shmkit/shm"
)

// A Writer is a worker's end of its log segment. The records of a goroutine keep
// their order; nothing is shared with any other worker. Its methods may be called
// from any goroutine.
type Writer struct {
	wanted
	lanes []lane // by P: none, or one for each CPU that the node saw
	names *loggers
	node  *nodePage
	own   *workerPage
	bell  doorbell
	ticks bool // keys are ticks of the time stamp counter
	dict  dictionary
	terms terms

	life context.Context // ends with Close
	end  context.CancelFunc

	asking chan struct{} // cap 1: held by who waits for an answer of the node
	asked  uint64        // number of the last flush, with asking held

	before hooks // what has something to say before a flush or the end

	mu      sync.Mutex
	shared  lane // used with mu held; waits
	stalled bool // a wait ended without space: no more waiting until there is some
	stats   WriterStats
}

// A wanted lets records of a level pass. Its word is in the segment of a worker, and
// after Close one that lets nothing pass; the node's own is always of its own.
// The pointer is stored by Attach, Close and SetLevel, loaded by every log call (heap
// memory of this process).
type wanted struct{ word atomic.Pointer[uint32] }

// set makes a word of this process's own the gate's.
func (g *wanted) set(l slog.Level) {
	bits := levelBits(l)
	g.word.Store(&bits)
}

// level returns the lowest level that passes.
func (g *wanted) level() slog.Level { return loadLevel(g.word.Load()) }

// WriterStats is a worker's own account of its log calls.
//
//	Attempted = Committed + the sum of Dropped
type WriterStats struct {
	Attempted uint64
	Committed uint64            // in the ring: they reach the sinks whatever happens to this process
	Dropped   map[string]uint64 // by reason
}

// Attach takes over the ring that a collector donated: the files and words that
// came from Donate, by inheritance. It closes the files, also on failure. bell is
// called to wake the collector, at most once each time that it has fallen asleep,
// with a lock held: it must neither block nor log. It may be nil for a collector
// that is never asleep.
func Attach(files []*os.File, words []string, bell func() error) (*Writer, error) {
	w, err := attach(files, words, bell)
	if err != nil {
		for _, f := range files {
			f.Close() // closing twice is harmless
		}
	}
	return w, err
}

func attach(files []*os.File, words []string, bell func() error) (*Writer, error) {
	t, err := parseTerms(words)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("logring: attach: %d files, want 1: pass on what Donate returned", len(files))
	}
	seg, err := shm.Attach(files[0], shm.Expect{Name: "log", Kind: shm.KindOf(segmentKind), Schema: formatVersion, Access: shm.ReadWrite})
	if err != nil {
		return nil, fmt.Errorf("logring: attach: %w", err)
	}
	w, err := newWriter(seg.Region(), t, bell)
	if err != nil {
		seg.Close()
		return nil, err
	}
	// A log call may be on its way when the Writer is closed, so the memory stays
	// mapped until nobody can log through it any more.
	runtime.AddCleanup(w, func(seg *shm.Segment) { seg.Close() }, seg)
	return w, nil
}

// newWriter makes a Writer over any view: mapped memory, or the heap under the
// race detector.
func newWriter(view []byte, t terms, bell func() error) (*Writer, error) {
	layout, err := readLayout(view)
	if err != nil {
		return nil, fmt.Errorf("logring: attach: %w", err)
	}
	page := nodePageOf(view)
	w := &Writer{terms: t, ticks: t.ticks && ticksTrusted(), node: page, own: workerPageOf(view), asking: make(chan struct{}, 1)}
	w.asked = load64(&w.own.ask) >> 2 // a predecessor's
	w.dict = dictionary{words: &w.own.words, mem: layout.dict(view), has: map[*event]bool{}}
	if load64(w.dict.words) != 0 {
		// A predecessor's events are there, under numbers that may be ours. We do
		// without: our events are logged as ordinary records.
		w.dict.mem = nil
	}
	w.bell.ring, w.bell.asleep = bell, &page.asleep
	w.bell.remote = t.remote && acceptBarriers()
	for i, r := range layout.rings {
		if r.class != classLane {
			continue
		}
		l, err := attachLane(layout.view(view, i), &w.bell)
		switch {
		case err == nil && i == 0 && l.max < minMaxRecord:
			err = fmt.Errorf("records of at most %d bytes, need %d: make the ring larger", l.max, minMaxRecord)
			fallthrough
		case err != nil:
			return nil, fmt.Errorf("logring: attach: %w", err)
		case i == 0:
			w.shared = l
		default:
			w.lanes = append(w.lanes, l)
		}
	}
	if w.names, err = newLoggers(layout.rules(view)); err != nil {
		return nil, fmt.Errorf("logring: attach: level rules: %w", err)
	}
	w.life, w.end = context.WithCancel(context.Background())
	w.stats.Dropped = map[string]uint64{}
	w.word.Store(&page.level)
	return w, nil
}

// Handler returns a handler that logs into the ring. nil options are the
// defaults.
func (w *Writer) Handler(opts *HandlerOptions) slog.Handler { return newHandler(w, opts) }

// Level returns the lowest level that the node wants now.
func (w *Writer) Level() slog.Level {
	l := w.level()
	runtime.KeepAlive(w) // the word may be in the mapping
	return l
}

// Enabled reports whether the node wants records of this level now.
func (w *Writer) Enabled(l slog.Level) bool { return l >= w.Level() }

func (w *Writer) gate() *wanted { return &w.wanted }

func (w *Writer) maxRecord() int { return w.shared.max }

// emit puts one record into a lane. When it returns nil the record is safe: it
// will be delivered even if this process is killed right then.
func (w *Writer) emit(payload []byte) error { return w.put(tagRecord, payload) }

func (w *Writer) put(tag uint32, payload []byte) error {
	if l := w.pin(); l != nil {
		done := w.putLane(l, tag, payload)
		due := done && w.bell.due(&l.fence)
		l.unpin()
		if due {
			w.bell.answer()
		}
		if done {
			return nil
		}
	}
	return w.putShared(tag, payload)
}

// putLane copies a record into this P's lane, if that has room.
func (w *Writer) putLane(l *lane, tag uint32, payload []byte) bool {
	b, err := l.prod.TryReserve(len(payload))
	if err != nil {
		return false
	}
	copy(b, payload)
	l.prod.Commit(len(payload), w.stamp(b, tag))
	l.count++
	return true
}

// stamp gives a record its key, the first thing in it, where that is ticks, and returns
// its tag. It is called pinned or with the lock, right before the commit, so that the keys
// of a lane never go back.
func (w *Writer) stamp(b []byte, tag uint32) uint32 {
	if !w.ticks || len(b) < 8 {
		return tag // the key is the monotonic reading of the record's time
	}
	le.PutUint64(b, rdtsc())
	return tag | tagTicks
}

// putShared puts a record into the shared lane.
func (w *Writer) putShared(tag uint32, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Attempted++
	b, err := w.reserve(len(payload))
	if err != nil {
		w.drop(err)
		return err
	}
	copy(b, payload)
	w.shared.prod.Commit(len(payload), w.stamp(b, tag))
	w.stats.Committed++
	if w.bell.due(&w.shared.fence) {
		w.bell.answer()
	}
	return nil
}

// reserve returns room for one record in the shared lane, waiting for it if the policy says so, but
// only once for a collector that does not move.
func (w *Writer) reserve(n int) ([]byte, error) {
	b, err := w.shared.prod.TryReserve(n)
	if err == nil {
		w.stalled = false
		return b, nil
	}
	if !errors.Is(err, ring.ErrFull) || w.terms.policy == DropNew {
		return nil, err
	}
	if w.stalled {
		return nil, errStalled
	}
	ctx, cancel := context.WithTimeout(w.life, w.terms.maxWait)
	defer cancel()
	b, err = w.shared.prod.ReserveContext(ctx, n)
	switch {
	case err == nil:
	case w.life.Err() != nil:
		err = errEnded
	case ctx.Err() != nil:
		w.stalled, err = true, errStalled
	}
	return b, err
}

// drop counts a record that is not in the ring, for itself and for the node.
func (w *Writer) drop(err error) {
	reason, told := DropCorrupt, ring.DropCorrupt
	switch {
	case errors.Is(err, os.ErrClosed):
		reason, told = DropClosed, ring.DropCaller
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason, told = DropTimeout, ring.DropTimeout
	case errors.Is(err, ring.ErrFull):
		reason, told = DropFull, ring.DropFull
	case errors.Is(err, ring.ErrTooLarge):
		reason, told = DropTooLarge, ring.DropTooLarge
	}
	w.stats.Dropped[reason]++
	w.shared.prod.Drop(told, 1)
}

// refuse counts a record that a [Throttle] held back.
func (w *Writer) refuse(reason string) {
	told := ring.DropCaller2
	if reason == DropLimited {
		told = ring.DropCaller3
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Attempted++
	w.stats.Dropped[reason]++
	w.shared.prod.Drop(told, 1)
}

func (w *Writer) named(name string) *loggerLevel { return w.names.named(name) }

func (w *Writer) flushTo(ctx context.Context, level FlushLevel) error { return w.FlushTo(ctx, level) }

func (w *Writer) atFlush(f func()) { w.before.add(f) }

var (
	errStalled = fmt.Errorf("logring: the node does not take records: %w", os.ErrDeadlineExceeded)
	errEnded   = fmt.Errorf("logring: writer: %w", os.ErrClosed)
)

// collected waits until the collector has taken what is in the lanes.
func (w *Writer) collected(ctx context.Context) error {
	lanes := []*lane{&w.shared}
	for i := range w.lanes {
		lanes = append(lanes, &w.lanes[i])
	}
	tails := make([]uint64, len(lanes))
	for i, l := range lanes {
		// Stored by whoever commits: what this goroutine knows to be logged is before.
		tails[i] = load64(l.tail)
	}
	for i, l := range lanes {
		for pause := 50 * time.Microsecond; w.life.Err() == nil && !l.flushed(tails[i]); pause = min(2*pause, 5*time.Millisecond) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("logring: flush: the node has not taken all records: %w", ctx.Err())
			case <-w.life.Done():
			case <-time.After(pause):
			}
		}
	}
	runtime.KeepAlive(w)
	return nil
}

// Stats returns the account as of now.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Dropped = maps.Clone(w.stats.Dropped)
	for i := range w.lanes {
		n := peek(&w.lanes[i].count)
		s.Attempted += n
		s.Committed += n
	}
	return s
}

// peek loads a count that whoever is pinned may be storing with a plain store. Not
// being inlined it is one aligned load, whole on both architectures. The race is
// deliberate and not shown to the race detector.
//
//go:norace
//go:noinline
func peek(p *uint64) uint64 { return *p }

// Close ends logging; what was logged stays in the ring for the collector. Log
// calls after it do nothing, one that waits for space gives up. A second Close
// returns nil. The memory is unmapped when the Writer and its handlers are no
// longer in use.
func (w *Writer) Close() error {
	w.end()        // a call that waits holds the lock
	w.before.run() // what does not find room now is dropped
	w.set(math.MaxInt32)
	w.names.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bell.close()
	for i := range w.lanes {
		w.lanes[i].prod.Close()
	}
	return w.shared.prod.Close()
}
