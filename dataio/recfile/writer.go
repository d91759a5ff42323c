package recfile

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A writer writes one file, in a goroutine of its own: a file that cannot be written,
// or a disk that is slow, is in the way of nobody else.
type writer struct {
	part    *part         // the goroutine's own
	bell    chan struct{} // there may be something to do
	hurry   chan struct{} // closed: nothing is tried again
	stopped chan struct{} // closed: the goroutine has ended, and err is valid
	err     error

	mu     sync.Mutex
	inlets []*inlet
	stats  Stats
	ending bool // it ends when the rings are empty
	leave  bool // and leaves the file unfinished
}

// Stats of one file. At any time Attempted = Written + Refused + Lost.
type Stats struct {
	Attempted uint64 // records taken from the rings; what is still in these is not counted
	Written   uint64
	Refused   uint64 // could not be told from their neighbours: a broken worker's
	Lost      uint64 // the file could not be written

	Cut int64 // bytes that Resume found behind the last whole record, and cut off
}

func newWriter(p *part) *writer {
	return &writer{part: p, bell: make(chan struct{}, 1), hurry: make(chan struct{}), stopped: make(chan struct{})}
}

// add is called for each new ring. It returns false when the writer has ended.
func (w *writer) add(in *inlet) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		return false
	}
	w.inlets = append(w.inlets, in)
	w.ring()
	return true
}

func (w *writer) ring() {
	select {
	case w.bell <- struct{}{}:
	default: // one is pending already
	}
}

// end lets the writer end. The first call decides how.
func (w *writer) end(leave bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ending {
		w.ending, w.leave = true, leave
		w.ring()
	}
}

const (
	// burst is how many bytes are taken from one ring before the next one's turn, and
	// full how many from all before they are written: the node's memory for a file.
	burst = 256 << 10
	full  = 1 << 20

	// plenty is a round's worth of bytes that is written without waiting for more, and
	// gather how long less than that is left to grow: a write for each record, and a
	// doorbell for each write, costs the workers more than it brings.
	plenty = 64 << 10
	gather = 100 * time.Microsecond

	// The time between two attempts to write, which doubles.
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
)

// run takes what is in the rings, writes it, and gives the space back, in rounds, until
// it is told to end.
func (w *writer) run() {
	defer close(w.stopped)
	w.tell(w.part.note)
	var inlets []*inlet
	for turn := 0; ; turn++ {
		w.mu.Lock()
		ending := w.ending
		inlets = append(inlets[:0], w.inlets...)
		w.mu.Unlock()

		taken, busy := w.round(inlets, turn, ending)
		switch {
		case busy && taken < plenty && !ending:
			time.Sleep(gather) // little came: let more of it gather, and the workers run
		case busy:
		case ending:
			w.finish()
			return
		default:
			w.wait()
		}
	}
}

// round takes once from each ring, or from as many as fill a write, and writes it.
func (w *writer) round(inlets []*inlet, turn int, ending bool) (taken int, busy bool) {
	var now Stats
	for i := range inlets {
		in := inlets[(turn+i)%len(inlets)]
		n, more := in.take(w.part, &now, ending)
		taken, busy = taken+n, busy || more
		if taken >= full {
			break // the others are first the next time
		}
	}
	w.try(w.part.settle)
	written := w.part.pending == 0
	if fate := now.Attempted - now.Refused - now.Lost; written {
		now.Written = fate
	} else {
		now.Lost += fate
		w.part.buf, w.part.pending = nil, 0
	}
	w.mu.Lock()
	w.stats.Attempted += now.Attempted
	w.stats.Written += now.Written
	w.stats.Refused += now.Refused
	w.stats.Lost += now.Lost
	w.mu.Unlock()
	for _, in := range inlets {
		in.release(written, w.part.broken != nil)
		if in.over {
			w.remove(in)
		}
	}
	return taken, busy
}

func (w *writer) remove(in *inlet) {
	w.mu.Lock()
	w.inlets = slices.DeleteFunc(w.inlets, func(o *inlet) bool { return o == in })
	w.mu.Unlock()
	if in.err != nil {
		in.err = w.part.error("take records for", in.err, "its ring is given up, no other: look at the worker")
		w.tell(in.err)
	}
	in.end()
}

// try repeats step until it is done, or the file is given up. It tells of the first
// failure, and of the end.
func (w *writer) try(step func() error) {
	p := w.part
	var since time.Time
	for pause := firstPause; p.broken == nil; pause = min(2*pause, lastPause) {
		err := step()
		if err == nil {
			return
		}
		if since.IsZero() {
			since = time.Now()
			if p.broken == nil && p.opts.Patience > 0 {
				w.tell(p.error("write", err, fmt.Sprintf("it is tried again for %v", p.opts.Patience)))
			}
		}
		if p.broken == nil && (time.Since(since) >= p.opts.Patience || !w.again(pause)) {
			p.giveUp(err)
		}
		w.tell(p.broken)
	}
}

// again waits before another attempt. It returns false when there shall be none.
func (w *writer) again(pause time.Duration) bool {
	select {
	case <-w.hurry:
		return false
	default:
	}
	select {
	case <-w.hurry: // one more
	case <-time.After(pause):
	}
	return true
}

// wait sleeps until the bell rings, or something written is to be flushed to the disk.
func (w *writer) wait() {
	var timer <-chan time.Time
	if wait, ok := w.part.due(); ok && w.part.broken == nil {
		timer = time.After(max(0, wait))
	}
	select {
	case <-w.bell:
	case <-timer:
	}
}

// finish is the end of the file, when all rings are given back.
func (w *writer) finish() {
	p := w.part
	w.mu.Lock()
	leave, st := w.leave, w.stats
	w.mu.Unlock()
	if !leave && p.broken == nil {
		w.try(p.complete)
	}
	w.err = p.leave() // nothing to do for what is complete
	if st.Lost > 0 || st.Refused > 0 {
		w.err = errors.Join(w.err, p.error("complete", fmt.Errorf("%w: %d, and %d were refused, of %d", ErrLost, st.Lost, st.Refused, st.Attempted), ""))
	}
}

func (w *writer) tell(err error) {
	if err != nil && w.part.opts.OnError != nil {
		w.part.opts.OnError(err)
	}
}
