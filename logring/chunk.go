package logring

import (
	"sync"
	"sync/atomic"
)

// A chunk is private memory that records are copied to out of the rings. They stay
// where they are until the last sink has written them: nothing is copied twice.
type chunk struct {
	buf []byte

	// Private to the collector's goroutine.
	held    int    // entries that the merger holds
	full    bool   // no more is put in
	claimed uint64 // number of the last batch that refers to it

	// refs is one for the collector's goroutine, as long as it puts in records or
	// holds some, and one for each batch that refers to the chunk. Added to by the
	// collector's goroutine, which holds one itself at that time; taken from by any.
	refs atomic.Int32
}

const chunkSize = 256 << 10

var chunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, 0, chunkSize)} }}

// A shelf is where the collector's goroutine puts what it copies.
type shelf struct{ at *chunk }

// usualGrowth is how much longer an event usually becomes when it is made a record.
const usualGrowth = 256

// open returns the chunk to append n bytes to. Appending more moves the chunk to
// larger memory: what was there before stays where it is.
func (s *shelf) open(n int) *chunk {
	if k := s.at; k != nil && len(k.buf)+n <= cap(k.buf) {
		return k
	}
	return s.turn(n)
}

// put copies p and returns the copy.
func (s *shelf) put(p []byte) ([]byte, *chunk) {
	k := s.open(len(p))
	at := len(k.buf)
	k.buf = append(k.buf, p...)
	return k.buf[at:len(k.buf):len(k.buf)], k
}

// turn goes on to a chunk with room for n bytes.
func (s *shelf) turn(n int) *chunk {
	s.end()
	if n > chunkSize {
		s.at = &chunk{buf: make([]byte, 0, n)}
	} else {
		s.at = chunks.Get().(*chunk)
	}
	s.at.refs.Store(1)
	return s.at
}

// end lets go of the chunk.
func (s *shelf) end() {
	if s.at == nil {
		return
	}
	s.at.full = true
	if s.at.held == 0 {
		s.at.done()
	}
	s.at = nil
}

// release lets go of one entry in the chunk.
func (k *chunk) release() {
	k.held--
	if k.held == 0 && k.full {
		k.done()
	}
}

// done takes one from refs. The last one gives the memory back.
func (k *chunk) done() {
	if k.refs.Add(-1) > 0 {
		return
	}
	if cap(k.buf) == chunkSize {
		k.buf, k.held, k.full, k.claimed = k.buf[:0], 0, false, 0
		chunks.Put(k)
	}
}
