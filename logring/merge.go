package logring

import (
	"math"
	"sort"
	"time"
)

// An entry is a record that was copied out and checked, waiting to be merged.
type entry struct {
	key     int64 // merge time: the record's own, made monotone within its source
	arrived int64 // when it was taken, on the collector's monotonic clock, in ns
	off     int   // its payload in the source's buffer
	size    int
	from    *tally
	pid     int
	stream  string
}

// A source is a queue of entries whose order is never changed: one ring, or the
// node's own queue. Private memory of the collector's goroutine.
type source struct {
	buf  []byte
	q    []entry
	head int   // entries before it are gone
	last int64 // key of the newest entry so far
	more bool  // the last look did not take everything: what comes has a key ≥ last
	at   int   // position in the heap + 1; 0: no entries, not there
}

// A merger puts the entries of many sources into one order by time. An entry
// waits at most a window for earlier ones of other sources, by the monotonic
// clock, so that a source that says nothing holds up nobody, and no step of the
// wall clock can make anything wait.
//
// Times are those that the workers' records carry. Since a worker's clock may
// step, or a worker may lie, a time counts as no earlier than its
// predecessor's in the same source and no later than the moment of arrival. Only
// the order is affected: the record keeps the time it came with.
type merger struct {
	window int64     // ns
	heap   []*source // those with entries, the earliest head first
	count  int       // entries held
	bytes  int       // of their payloads
	newest int64     // largest key released
	late   uint64    // entries released after one with a larger key
}

// maxHeld bounds the payload bytes held for merging.
const maxHeld = 8 << 20

// overdue is after how many windows an entry goes out even though a source that
// was not read to its end may hold earlier ones.
const overdue = 1000

// clockSlack is how far a key may be ahead of the wall clock before the clock is
// taken to have been set back.
const clockSlack = int64(time.Second)

// enqueue appends an entry whose payload is the last size bytes of s.buf.
func (m *merger) enqueue(s *source, e entry, wall int64) {
	if s.last > wall+clockSlack && s.head == len(s.q) {
		s.last = wall // the clock was set back, and nothing older is left
	}
	e.key = max(min(e.key, wall), s.last)
	s.last = e.key
	e.off = len(s.buf) - e.size
	m.bytes += e.size
	m.count++
	s.q = append(s.q, e)
	if s.at == 0 {
		m.heap = append(m.heap, s)
		s.at = len(m.heap)
		m.up(len(m.heap) - 1)
	}
}

// release hands out, in order, what has waited long enough by now; with all,
// everything.
func (m *merger) release(now, wall int64, all bool, emit func(*source, *entry)) {
	if m.newest > wall+clockSlack {
		m.newest = wall
	}
	limit := int64(math.MinInt64)
	if !all {
		limit = m.limit(now)
	} else {
		for _, s := range m.heap {
			limit = max(limit, s.keyArrivedBy(now))
		}
	}
	for len(m.heap) > 0 {
		s := m.heap[0]
		e := &s.q[s.head]
		if e.key > limit {
			return
		}
		if e.key < m.newest {
			m.late++
		} else {
			m.newest = e.key
		}
		emit(s, e)
		m.pop(s)
	}
}

// limit returns the largest key that may go out.
func (m *merger) limit(now int64) int64 {
	due := int64(math.MinInt64)   // newest key that has waited a window
	must := int64(math.MinInt64)  // newest key that has waited too long for that
	known := int64(math.MaxInt64) // up to here all sources have been read
	for _, s := range m.heap {
		due = max(due, s.keyArrivedBy(now-m.window))
		must = max(must, s.keyArrivedBy(now-overdue*m.window))
		if s.more {
			known = min(known, s.last)
		}
	}
	if m.bytes > maxHeld {
		if known < m.heap[0].q[m.heap[0].head].key {
			return math.MaxInt64
		}
		return known
	}
	return max(min(due, known), must)
}

// keyArrivedBy returns the largest key among the entries that arrived by t.
func (s *source) keyArrivedBy(t int64) int64 {
	q := s.q[s.head:]
	if len(q) == 0 || q[0].arrived > t {
		return math.MinInt64
	}
	n := sort.Search(len(q), func(i int) bool { return q[i].arrived > t })
	return q[n-1].key
}

// wait returns how long nothing is due, or false if nothing is held.
func (m *merger) wait(now int64) (time.Duration, bool) {
	if len(m.heap) == 0 {
		return 0, false
	}
	first := int64(math.MaxInt64)
	for _, s := range m.heap {
		first = min(first, s.q[s.head].arrived)
	}
	return time.Duration(max(first+m.window-now, 0)), true
}

// pop removes the head of the earliest source.
func (m *merger) pop(s *source) {
	m.bytes -= s.q[s.head].size
	m.count--
	s.q[s.head] = entry{}
	s.head++
	if s.head < len(s.q) {
		m.down(0)
		s.compact()
		return
	}
	s.reset()
	last := len(m.heap) - 1
	m.heap[0] = m.heap[last]
	m.heap[0].at = 1
	m.heap[last] = nil
	m.heap = m.heap[:last]
	s.at = 0
	m.down(0)
}

// reset empties the buffers and gives large ones back.
func (s *source) reset() {
	s.q, s.head, s.buf = s.q[:0], 0, s.buf[:0]
	if cap(s.buf) > 1<<20 {
		s.buf, s.q = nil, nil
	}
}

// compact moves what is left to the front once most is gone, so that a source
// that never runs empty does not grow for ever.
func (s *source) compact() {
	if s.head < 1024 || s.head < len(s.q)/2 {
		return
	}
	off := s.q[s.head].off
	s.buf = s.buf[:copy(s.buf, s.buf[off:])]
	n := copy(s.q, s.q[s.head:])
	clear(s.q[n:])
	s.q, s.head = s.q[:n], 0
	for i := range s.q {
		s.q[i].off -= off
	}
}

func (m *merger) less(i, j int) bool {
	a, b := m.heap[i], m.heap[j]
	return a.q[a.head].key < b.q[b.head].key
}

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
