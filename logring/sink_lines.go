package logring

import (
	"bytes"
	"errors"
	"io"
	"sort"
)

// Console returns a sink that writes for people: time of day, level, worker,
// message, attributes. It does not close w.
func Console(w io.Writer) Sink { return newLines("console", w, &consoleFormat{}) }

// Text returns a sink that writes key=value lines as slog's TextHandler does.
// It does not close w.
func Text(w io.Writer) Sink { return newLines("text", w, &textFormat{}) }

// JSON returns a sink that writes one JSON object a line, as slog's JSONHandler
// does: time, level, msg, then group, worker, pid, stream, then the attributes.
// An attribute with one of these keys is written as attr.KEY. It does not close w.
func JSON(w io.Writer) Sink { return newLines("json", w, &jsonFormat{}) }

func newLines(name string, w io.Writer, f format) Sink {
	if w == nil {
		return badSink{errors.New("logring: " + name + " sink: the writer is nil")}
	}
	return &lineSink{name: name, format: f, to: writerTarget{w}}
}

// A target is where lines go.
type target interface {
	io.Writer
	// retract takes back the last n bytes written, if it can: a file is cut
	// back, a pipe is not.
	retract(n int) bool
	Sync() error
	Close() error
}

// lineSink writes each batch with one write, whole lines only. When a write comes
// out short, the target takes the part of a line back or, where that cannot be,
// the sink remembers the line and finishes it before anything else.
type lineSink struct {
	name   string
	format format
	to     target

	buf  []byte
	ends []int // end of each line in buf

	torn    []byte // a line that is partly out
	tornOut int    // bytes of it that are
}

func (s *lineSink) String() string { return s.name }
func (s *lineSink) Sync() error    { return s.to.Sync() }
func (s *lineSink) Close() error   { return s.to.Close() }

func (s *lineSink) Write(batch []Record) error {
	if len(batch) == 0 {
		return nil
	}
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	for i := range batch {
		s.buf = s.format.append(s.buf, &batch[i])
		s.ends = append(s.ends, len(s.buf))
	}
	if s.tornOut > 0 && !bytes.Equal(s.torn, s.buf[:s.ends[0]]) {
		// Not the record that was interrupted: it was given up meanwhile.
		if err := s.finishTorn(); err != nil {
			return &WriteError{Retry: true, Err: err}
		}
	}
	n, err := writeAll(s.to, s.buf[s.tornOut:])
	n += s.tornOut
	s.tornOut = 0
	if err == nil {
		if cap(s.buf) > 4<<20 {
			s.buf = nil
		}
		return nil
	}
	whole := sort.SearchInts(s.ends, n+1)
	start := 0
	if whole > 0 {
		start = s.ends[whole-1]
	}
	if n > start && !s.to.retract(n-start) {
		s.torn = append(s.torn[:0], s.buf[start:s.ends[whole]]...)
		s.tornOut = n - start
	}
	return &WriteError{Written: whole, Retry: true, Torn: s.tornOut > 0, Err: err}
}

// finishTorn writes the rest of the line that is partly out.
func (s *lineSink) finishTorn() error {
	n, err := writeAll(s.to, s.torn[s.tornOut:])
	if s.tornOut += n; err == nil {
		s.tornOut = 0
	}
	return err
}

// writeAll returns an error whenever less than all of b is written, and only then.
func writeAll(w io.Writer, b []byte) (int, error) {
	n, err := w.Write(b)
	n = max(0, min(n, len(b)))
	switch {
	case n == len(b):
		return n, nil
	case err == nil:
		err = io.ErrShortWrite
	}
	return n, err
}

// writerTarget is somebody else's writer.
type writerTarget struct{ io.Writer }

func (writerTarget) retract(int) bool { return false }
func (writerTarget) Close() error     { return nil }

// Sync flushes a buffered writer. It does not call Sync: on a terminal or a pipe
// that is an error, and the file is not ours.
func (w writerTarget) Sync() error {
	if f, ok := w.Writer.(interface{ Flush() error }); ok {
		return f.Flush()
	}
	return nil
}

// badSink stands for a sink that could not be made. NewCollector reports it.
type badSink struct{ err error }

func (b badSink) Write([]Record) error { return b.err }
func (b badSink) Sync() error          { return b.err }
func (b badSink) Close() error         { return nil }
