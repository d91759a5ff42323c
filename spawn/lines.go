package spawn

import "bytes"

// keepPending is the largest buffer a stream keeps between two long lines.
const keepPending = 8 << 10

// A splitter cuts a byte stream into lines and hands them to emit, in pieces of
// MaxLine bytes where they are longer.
//
// What is not yet terminated waits in pending, which never holds more than
// MaxLine+1 bytes between two writes: one piece, and a byte that may turn out to
// be the '\r' of a line of exactly MaxLine bytes.
type splitter struct {
	emit      func(line []byte, continued bool) // line is valid during the call
	pending   []byte
	continued bool // a piece of the line in hand was already emitted
}

func (s *splitter) write(p []byte) {
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.hold(p)
			return
		}
		if len(s.pending) == 0 {
			s.end(trimCR(p[:i])) // the common case: no copy
		} else {
			s.hold(p[:i])
			s.end(trimCR(s.pending))
		}
		p = p[i+1:]
	}
}

// flush emits the unterminated rest at the end of the stream.
func (s *splitter) flush() {
	if len(s.pending) > 0 {
		s.end(s.pending)
	}
}

// hold appends p to pending and emits pieces as they fill up.
func (s *splitter) hold(p []byte) {
	for len(p) > 0 {
		n := min(len(p), MaxLine+2-len(s.pending))
		s.pending = append(s.pending, p[:n]...)
		p = p[n:]
		if len(s.pending) == MaxLine+2 {
			s.piece(s.pending[:MaxLine])
			s.pending = append(s.pending[:0], s.pending[MaxLine:]...)
		}
	}
}

// end emits the last pieces of the line in hand.
func (s *splitter) end(line []byte) {
	for len(line) > MaxLine {
		s.piece(line[:MaxLine])
		line = line[MaxLine:]
	}
	s.piece(line)
	s.continued = false
	if s.pending = s.pending[:0]; cap(s.pending) > keepPending {
		s.pending = nil
	}
}

func (s *splitter) piece(p []byte) {
	s.emit(p, s.continued)
	s.continued = true
}

// trimCR takes one '\r' off: lines may end in "\r\n".
func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

const (
	tailLines = 20      // lines of stderr that are kept for Exit.Stderr
	tailBytes = 1 << 10 // of each
)

// A tail keeps the last lines of a stream.
type tail struct {
	lines [tailLines]string
	n     int // lines ever seen
}

func (t *tail) add(line []byte, continued bool) {
	if continued {
		return // its first piece is longer than what is kept
	}
	t.lines[t.n%tailLines] = string(line[:min(len(line), tailBytes)])
	t.n++
}

// last returns the kept lines, oldest first.
func (t *tail) last() []string {
	var out []string
	for i := max(0, t.n-tailLines); i < t.n; i++ {
		out = append(out, t.lines[i%tailLines])
	}
	return out
}
