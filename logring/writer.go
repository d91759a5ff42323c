package logring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"shmkit/ring"
	"shmkit/shm"
)

// A Writer is a worker's end of its log ring. One lock, local to this process,
// puts the records of all goroutines into one order; nothing is shared with any
// other worker. Its methods may be called from any goroutine.
type Writer struct {
	prod  *ring.Producer
	terms terms
	max   int // bytes of the largest record
	bell  *doorbell
	head  *uint64 // in the ring: how far the collector has read
	tail  *uint64 // in the ring: how far this process has written

	life context.Context // ends with Close
	end  context.CancelFunc

	// wanted points to the level word in the ring, and after Close to one that
	// lets nothing pass. Stored by Attach and Close, loaded by every log call (heap
	// memory of this process).
	wanted atomic.Pointer[uint32]

	before hooks // what has something to say before a flush or the end

	mu       sync.Mutex
	stalled  bool // a wait ended without space: no more waiting until there is some
	retrying bool // ringAgain is at work
	stats    WriterStats
}

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
	_, maxRecord, err := ring.Geometry(len(view))
	if err != nil {
		return nil, fmt.Errorf("logring: attach: %w", err)
	}
	if maxRecord < minMaxRecord {
		return nil, fmt.Errorf("logring: attach: records of at most %d bytes, need %d: make the ring larger", maxRecord, minMaxRecord)
	}
	w := &Writer{terms: t, max: maxRecord, bell: &doorbell{ring: bell}, head: headWord(view), tail: tailWord(view)}
	if w.prod, err = ring.NewProducer(view, ring.ProducerOptions{Name: "log", Waiter: w.bell}); err != nil {
		return nil, fmt.Errorf("logring: attach: %w", err)
	}
	w.life, w.end = context.WithCancel(context.Background())
	w.stats.Dropped = map[string]uint64{}
	w.wanted.Store(levelWord(view))
	return w, nil
}

// Handler returns a handler that logs into the ring. nil options are the
// defaults.
func (w *Writer) Handler(opts *HandlerOptions) slog.Handler { return newHandler(w, opts) }

// Level returns the lowest level that the node wants now.
func (w *Writer) Level() slog.Level { return w.level() }

// Enabled reports whether the node wants records of this level now.
func (w *Writer) Enabled(l slog.Level) bool { return l >= w.level() }

func (w *Writer) level() slog.Level {
	l := loadLevel(w.wanted.Load())
	runtime.KeepAlive(w) // the word may be in the mapping
	return l
}

func (w *Writer) maxRecord() int { return w.max }

// emit puts one record into the ring. When it returns nil the record is safe: it
// will be delivered even if this process is killed right then.
func (w *Writer) emit(payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Attempted++
	b, err := w.reserve(len(payload))
	if err != nil {
		w.drop(err)
		return err
	}
	copy(b, payload)
	w.prod.Commit(len(payload), tagRecord)
	w.stats.Committed++
	w.prod.Flush()
	if w.bell.owed {
		w.ringAgain()
	}
	return nil
}

// reserve returns room for one record, waiting for it if the policy says so, but
// only once for a collector that does not move.
func (w *Writer) reserve(n int) ([]byte, error) {
	b, err := w.prod.TryReserve(n)
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
	b, err = w.prod.ReserveContext(ctx, n)
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
	w.prod.Drop(told, 1)
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
	w.prod.Drop(told, 1)
}

func (w *Writer) atFlush(f func()) { w.before.add(f) }

var (
	errStalled = fmt.Errorf("logring: the node does not take records: %w", os.ErrDeadlineExceeded)
	errEnded   = fmt.Errorf("logring: writer: %w", os.ErrClosed)
)

// ringAgain rings a bell that has failed (the socket was full, say) until it
// works or there is no hope. Needs mu.
func (w *Writer) ringAgain() {
	if w.retrying {
		return
	}
	w.retrying = true
	pause := time.Millisecond
	var again func()
	again = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.life.Err() == nil && w.bell.owed {
			w.bell.Wake(nil)
		}
		if w.retrying = w.bell.owed && w.life.Err() == nil && pause < 2*time.Second; w.retrying {
			pause *= 2
			time.AfterFunc(pause, again)
		}
	}
	time.AfterFunc(pause, again)
}

// Flush returns when the collector has taken everything that was logged before,
// or with the context's error. What it has taken outlives this process; so does
// what it has not, as long as the node lives, so no program needs Flush to be safe.
func (w *Writer) Flush(ctx context.Context) error {
	w.before.run()
	w.mu.Lock()
	tail := loadPosition(w.tail)
	w.mu.Unlock()
	for pause := 50 * time.Microsecond; w.life.Err() == nil && int64(loadPosition(w.head)-tail) < 0; pause = min(2*pause, 5*time.Millisecond) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("logring: flush: the node has not taken all records: %w", ctx.Err())
		case <-w.life.Done():
		case <-time.After(pause):
		}
	}
	runtime.KeepAlive(w)
	return nil
}

// loadPosition loads how far one side of the ring is. head is stored by the
// collector when it has copied the records before it; tail by this process. It is
// used for nothing but to wait.
func loadPosition(p *uint64) uint64 { return atomic.LoadUint64(p) }

// Stats returns the account as of now.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Dropped = map[string]uint64{}
	for reason, n := range w.stats.Dropped {
		s.Dropped[reason] = n
	}
	return s
}

// Close ends logging; what was logged stays in the ring for the collector. Log
// calls after it do nothing, one that waits for space gives up. A second Close
// returns nil. The memory is unmapped when the Writer and its handlers are no
// longer in use.
func (w *Writer) Close() error {
	w.end()        // a call that waits holds the lock
	w.before.run() // what does not find room now is dropped
	nothing := levelBits(math.MaxInt32)
	w.wanted.Store(&nothing)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.prod.Close()
}

// A doorbell is how a producer wakes the collector, through the control socket,
// and waits for it, on the futex in the ring. It is used with Writer.mu held.
type doorbell struct {
	futex shm.Futex
	ring  func() error
	owed  bool // the last ring failed
}

// Wake rings. That it failed is not the log call's failure: the record is in the ring.
func (d *doorbell) Wake(*uint32) error {
	d.owed = d.ring != nil && d.ring() != nil
	return nil
}

// Wait parks until the collector has moved on. While the bell does not work it
// comes back soon, having rung again.
func (d *doorbell) Wait(ctx context.Context, word *uint32, old uint32) error {
	if d.owed {
		d.Wake(word)
	}
	if !d.owed {
		return d.futex.Wait(ctx, word, old)
	}
	soon, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	d.futex.Wait(soon, word, old)
	return ctx.Err()
}
