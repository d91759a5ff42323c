package logring

import (
	"math"
	"sort"
	"time"
)

// An entry is a record that was copied out and checked, waiting to be merged.
type entry struct {
	key     int64  // merge time in ns of the collector's clock, see merger
	lag     int64  // how long before its key the record says that it was made
	arrived int64  // when it was taken, by the same clock as key
	p       []byte // the payload, in the chunk
	in      *chunk
	from    *tally
	pid     int
	stream  string

	salvaged bool
}

// A source is a queue of entries whose order is never changed: one ring, or the
// node's own queue. Private memory of the collector's goroutine.
type source struct {
	q     []entry
	head  int   // entries before it are gone
	bytes int   // of the payloads of the others
	key   int64 // of q[head], while there is one
	last  int64 // key of the newest entry so far
	safe  int64 // entries up to this key may go out
	kept  *kept // where its entries' memory in the ring is kept until they are written, else nil
	more  bool  // the last look did not take everything: what comes has a key ≥ last
	at    int   // position in the heap + 1; 0: not there
}

// An emitFunc takes an entry that goes out. late says that one with a larger key went
// before it.
type emitFunc func(s *source, e *entry, late bool)

// A merger puts the entries of many sources into one order by time: the
// monotonic time of the log calls, so that no step of the wall clock changes an
// order or makes anything wait. An entry goes out once every source was looked
// at a window after its time. A source that says nothing holds up nobody, and one
// that is read a window too late finds its records flagged as late.
//
// The lanes of one worker are a source each. What a goroutine logged in one lane was
// published before it took the time of what it logs next in another: so an entry
// may go out once all lanes of its worker were read after its time (allow), and
// no lack of room or patience changes that.
//
// A worker may lie about its times, so a time counts as no earlier than its
// predecessor's in the same source and no later than the moment of arrival. Only
// the order is affected: the record keeps the time it came with.
type merger struct {
	window int64     // ns
	heap   []*source // those with entries that may go out, the earliest head first
	count  int       // entries held
	bytes  int       // of their payloads
	newest int64     // largest key released
	late   uint64    // entries released after one with a larger key
}

const (
	// maxHeld is how many bytes of payloads are held for merging. Beyond it they go
	// out in the best order that is known.
	maxHeld = 8 << 20

	// overdue is after how many windows an entry goes out even though a source that
	// was not read to its end may hold earlier ones: its worker may write faster
	// than it is read, and lie about its times.
	overdue = 1000
)

// enqueue appends an entry. now is the latest that its key can be. It goes nowhere
// before the next allow.
func (m *merger) enqueue(s *source, e entry, now int64) {
	e.key = max(min(e.key, now), s.last)
	s.last = e.key
	e.in.held++
	s.bytes += len(e.p)
	m.bytes += len(e.p)
	m.count++
	s.q = append(s.q, e)
}

// allow lets entries up to a key go out.
func (m *merger) allow(s *source, key int64) {
	s.safe = key
	if s.at == 0 && s.head < len(s.q) {
		s.key = s.q[s.head].key
		m.heap = append(m.heap, s)
		s.at = len(m.heap)
		m.up(len(m.heap) - 1)
	}
}

// release hands out, in order, what is due after all sources were looked at at
// time read, and more if too much is held.
func (m *merger) release(read int64, emit emitFunc) {
	m.upTo(m.limit(read), emit)
	for m.bytes > maxHeld && len(m.heap) > 0 {
		m.first(emit)
	}
}

// releaseArrived hands out, in order, all that had arrived by a time, and what is
// earlier than that.
func (m *merger) releaseArrived(by int64, emit emitFunc) {
	limit := int64(math.MinInt64)
	for _, s := range m.heap {
		s.safe = math.MaxInt64
		limit = max(limit, s.arrivedBy(by))
	}
	m.upTo(limit, emit)
}

// upTo hands out, in order, the entries up to a key.
func (m *merger) upTo(limit int64, emit emitFunc) {
	for len(m.heap) > 0 && m.heap[0].key <= limit {
		m.first(emit)
	}
}

// limit returns the largest key that may go out.
func (m *merger) limit(read int64) int64 {
	due := read - m.window
	known := due // up to here all sources were read
	for _, s := range m.heap {
		if s.more {
			known = min(known, s.last)
		}
	}
	if known < due {
		for _, s := range m.heap {
			known = max(known, min(due, s.arrivedBy(read-overdue*m.window)))
		}
	}
	return known
}

// arrivedBy returns the largest key of the entries that arrived by t.
func (s *source) arrivedBy(t int64) int64 {
	q := s.q[s.head:]
	n := sort.Search(len(q), func(i int) bool { return q[i].arrived > t })
	if n == 0 {
		return math.MinInt64
	}
	return q[n-1].key
}

// oldest returns the key of the first entry that is held, 0 if there is none.
func (m *merger) oldest() int64 {
	if len(m.heap) == 0 {
		return 0
	}
	return m.heap[0].key
}

// wait returns how long nothing is due, or false if nothing is held.
func (m *merger) wait(now int64) (time.Duration, bool) {
	if m.count == 0 {
		return 0, false
	}
	if len(m.heap) == 0 {
		return time.Duration(m.window), true
	}
	return time.Duration(max(m.heap[0].key+m.window-now, 0)), true
}

// first hands out the earliest entry, or sets its source aside if it may not go out.
func (m *merger) first(emit emitFunc) {
	s := m.heap[0]
	if s.key > s.safe {
		m.drop(s)
		return
	}
	e := &s.q[s.head]
	// A record's time is taken before it is published, where it gets its key. Who was
	// stopped in between is late, too.
	late := e.key < m.newest || e.lag > m.window && e.key-e.lag < m.newest
	if late {
		m.late++
	}
	m.newest = max(m.newest, e.key)
	s.bytes -= len(e.p)
	m.bytes -= len(e.p)
	m.count--
	emit(s, e, late)
	e.in.release()
	s.head++
	if s.head == len(s.q) {
		s.clear()
		m.drop(s)
		return
	}
	s.key = s.q[s.head].key
	s.compact()
	m.down(0)
}

// drop takes the first source out of the heap.
func (m *merger) drop(s *source) {
	last := len(m.heap) - 1
	m.heap[0] = m.heap[last]
	m.heap[0].at = 1
	m.heap[last] = nil
	m.heap = m.heap[:last]
	s.at = 0
	m.down(0)
}

// clear empties the queue, and gives a large one back.
func (s *source) clear() {
	if cap(s.q) > 1<<14 {
		s.q = nil
	}
	clear(s.q)
	s.q, s.head = s.q[:0], 0
}

// compact moves what is left to the front once most is gone, so that a source
// that never runs empty does not grow for ever.
func (s *source) compact() {
	if s.head < 1024 || s.head < len(s.q)/2 {
		return
	}
	n := copy(s.q, s.q[s.head:])
	clear(s.q[n:])
	s.q, s.head = s.q[:n], 0
}

func (m *merger) less(i, j int) bool { return m.heap[i].key < m.heap[j].key }

func (m *merger) swap(i, j int) {
	m.heap[i], m.heap[j] = m.heap[j], m.heap[i]
	m.heap[i].at, m.heap[j].at = i+1, j+1
}

func (m *merger) up(i int) {
	for i > 0 && m.less(i, (i-1)/2) {
		m.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (m *merger) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(m.heap) {
			return
		}
		if c+1 < len(m.heap) && m.less(c+1, c) {
			c++
		}
		if !m.less(c, i) {
			return
		}
		m.swap(i, c)
		i = c
	}
}
