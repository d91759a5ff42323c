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

	over    *lane // for OverwriteOldest, with overMu held; nil: no level has it
	overMu  sync.Mutex
	trace   *lane // keeps a backtrace, with traceMu held; nil: none
	traceMu sync.Mutex
	apart   bool // some records do not take the lanes

	// waiting is set while somebody waits for room with mu held; owed are drops that
	// did not wait for mu. Stored and loaded by any log call of this process.
	waiting atomic.Bool
	owed    [ring.NumReasons]atomic.Uint64

	before hooks // what has something to say before a flush or the end

	mu      sync.Mutex
	shared  lane // used with mu held; waits
	stalled bool // a wait ended without space: no more waiting until there is some
	stats   WriterStats
	gaps    gaps
	toldOf  [ring.NumReasons]uint64
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
	w := &Writer{terms: t, ticks: t.ticks && hasTicks, node: page, own: workerPageOf(view), asking: make(chan struct{}, 1)}
	w.asked = load64(&w.own.ask) >> 2 // a predecessor's, as what was told
	for i := range w.toldOf {
		w.toldOf[i] = load64(&w.own.told[i])
	}
	w.dict = dictionary{words: &w.own.words, mem: layout.dict(view), has: map[*event]bool{}}
	if load64(w.dict.words) != 0 {
		// A predecessor's events are there, under numbers that may be ours. We do
		// without: our events are logged as ordinary records.
		w.dict.mem = nil
	}
	w.bell.ring, w.bell.asleep = bell, &page.asleep
	w.bell.remote = t.remote
	if t.remote {
		acceptBarriers()
	}
	for i, r := range layout.rings {
		policy := ring.DropNew // lanes refuse; only the shared one waits, and says so in each call
		if r.class != classLane {
			policy = ring.OverwriteOldest
		}
		l, err := attachLane(layout.view(view, i), &w.bell, policy)
		switch {
		case err == nil && r.class == classOverwrite:
			w.over = &l
		case err == nil && r.class == classBacktrace:
			w.trace = &l
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
	w.apart = w.over != nil || w.trace != nil
	w.names.floor = math.MaxInt32
	if w.trace != nil && t.trace != nil {
		w.names.floor = t.trace.floor()
	}
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
func (w *Writer) emit(payload []byte) error {
	level := slog.Level(int32(le.Uint32(payload[offLevel:])))
	if w.apart && w.elsewhere(level) {
		return w.putOver(payload)
	}
	return w.put(tagRecord, payload, level)
}

// elsewhere reports whether records of this level do not take the lanes.
func (w *Writer) elsewhere(level slog.Level) bool {
	return w.terms.policy.of(level) == OverwriteOldest
}

// putOver puts a record into the ring that overwrites.
func (w *Writer) putOver(payload []byte) error {
	w.overMu.Lock()
	defer w.overMu.Unlock()
	if !w.putLane(w.over, tagRecord, payload) {
		w.owe(ring.DropCaller) // it has no other reason than that the ring is closed
		return errEnded
	}
	if w.bell.due(&w.over.fence) {
		w.bell.answer()
	}
	return nil
}

func (w *Writer) put(tag uint32, payload []byte, level slog.Level) error {
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
	return w.putShared(tag, payload, level)
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
func (w *Writer) putShared(tag uint32, payload []byte, level slog.Level) error {
	if w.evades(level) {
		return errFull
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.reserve(len(payload), level)
	if err != nil {
		return err
	}
	copy(b, payload)
	w.commit(len(payload), w.stamp(b, tag))
	return nil
}

// evades drops a record that must not wait, while somebody else does with the lock
// held.
func (w *Writer) evades(level slog.Level) bool {
	if w.waiting.Load() && w.terms.policy.of(level) != Block {
		w.owe(ring.DropFull)
		return true
	}
	return false
}

// commit publishes what was reserved in the shared lane. It needs mu.
func (w *Writer) commit(n int, tag uint32) {
	w.shared.prod.Commit(n, tag)
	w.stats.Attempted++
	w.stats.Committed++
	if w.bell.due(&w.shared.fence) {
		w.bell.answer()
	}
}

// reserve returns room for one record in the shared lane, behind what has to be
// told of those dropped before it; or it counts the record as dropped. It needs mu.
func (w *Writer) reserve(n int, level slog.Level) ([]byte, error) {
	w.settle()
	w.tellGaps()
	b, err := w.room(n, level)
	if err == nil && w.gaps.open {
		// There was none for the gap before the wait.
		w.shared.prod.Abort()
		w.tellGaps()
		b, err = w.room(n, level)
	}
	if err != nil {
		w.drop(err)
	}
	return b, err
}

// room waits for it, if the policy says so, but only once for a collector that does
// not move.
func (w *Writer) room(n int, level slog.Level) ([]byte, error) {
	b, err := w.shared.prod.TryReserve(n)
	if err == nil {
		w.stalled = false
		return b, nil
	}
	if !errors.Is(err, ring.ErrFull) || w.terms.policy.of(level) != Block {
		return nil, err
	}
	if w.stalled {
		return nil, errStalled
	}
	ctx, cancel := context.WithTimeout(w.life, w.terms.maxWait)
	defer cancel()
	w.waiting.Store(true)
	defer w.waiting.Store(false)
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

// drop counts a record that found no room. It needs mu.
func (w *Writer) drop(err error) {
	reason := ring.DropCorrupt
	switch {
	case errors.Is(err, os.ErrClosed):
		reason = ring.DropCaller
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = ring.DropTimeout
	case errors.Is(err, ring.ErrFull):
		reason = ring.DropFull
	case errors.Is(err, ring.ErrTooLarge):
		reason = ring.DropTooLarge
	}
	w.lose(reason, 1)
}

// refuse counts a record that a [Throttle] held back, told one that its stream tells
// of n of them.
func (w *Writer) refuse(reason ring.Reason) { w.owe(reason) }

func (w *Writer) told(reason ring.Reason, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(reason, n)
}

func (w *Writer) named(name string) *loggerLevel { return w.names.named(name) }

func (w *Writer) flushTo(ctx context.Context, level FlushLevel) error { return w.FlushTo(ctx, level) }

func (w *Writer) atFlush(f func()) { w.before.add(f) }

var (
	errFull    = fmt.Errorf("logring: %w", ring.ErrFull)
	errStalled = fmt.Errorf("logring: the node does not take records: %w", os.ErrDeadlineExceeded)
	errEnded   = fmt.Errorf("logring: writer: %w", os.ErrClosed)
)

// collected waits until the collector has taken what is in the lanes.
func (w *Writer) collected(ctx context.Context) error {
	lanes := []*lane{&w.shared}
	for i := range w.lanes {
		lanes = append(lanes, &w.lanes[i])
	}
	if w.over != nil {
		lanes = append(lanes, w.over)
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
	w.settle()
	s := w.stats
	s.Dropped = maps.Clone(w.stats.Dropped)
	for i := range w.lanes {
		n := peek(&w.lanes[i].count)
		s.Attempted += n
		s.Committed += n
	}
	if w.over != nil {
		n := peek(&w.over.count)
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
	if w.over != nil {
		w.overMu.Lock()
		w.over.prod.Close()
		w.overMu.Unlock()
	}
	if w.trace != nil {
		w.traceMu.Lock()
		w.trace.prod.Close()
		w.traceMu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	w.tellGaps()
	store32(&w.own.closed, 1) // loaded by the node when this process is dead
	w.bell.close()
	for i := range w.lanes {
		w.lanes[i].prod.Close()
	}
	return w.shared.prod.Close()
}
