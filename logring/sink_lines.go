package logring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync/atomic"
)

// Console returns a sink that writes for people: time of day, level, worker,
// message, attributes; in colour where w is a terminal, unless the environment
// has NO_COLOR (see no-color.org) or TERM=dumb. It does not close w.
func Console(w io.Writer) Sink {
	return newLines("console", w, &consoleFormat{color: w != nil && colorWanted(w)})
}

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

// Format names a way to write a record as a line.
type Format string

const (
	JSONFormat    Format = "json"    // see [JSON]
	TextFormat    Format = "text"    // see [Text]
	ConsoleFormat Format = "console" // see [Console], without colour
)

func (f Format) lines() (format, error) {
	switch f {
	case JSONFormat, "":
		return &jsonFormat{}, nil
	case TextFormat:
		return &textFormat{}, nil
	case ConsoleFormat:
		return &consoleFormat{}, nil
	}
	return nil, fmt.Errorf("unknown format %q: use %s, %s or %s", string(f), JSONFormat, TextFormat, ConsoleFormat)
}

// A LineTarget is a destination of one's own for [Lines].
type LineTarget interface {
	// Write takes whole lines. It may take a part of them only, with an error.
	io.Writer

	// Retract takes back the last n bytes that were written, and reports
	// whether it could.
	Retract(n int) bool

	Sync() error
	Close() error
}

// A renewer is a LineTarget whose file can be opened anew.
type renewer interface{ Renew() error }

// Lines returns a sink that writes lines to w, at most max bytes (0: any number)
// at a time, but for a line that is longer. It is meant for adapters: where a write
// comes out short, w takes the part of a line back, or the sink finishes that line
// before it writes anything else. If w has a method Renew() error, the sink is a
// [Reopener] that calls it, between two lines.
func Lines(name string, f Format, w LineTarget, max int) (Sink, error) {
	l, err := f.lines()
	if err != nil {
		return nil, fmt.Errorf("logring: sink %s: %w", name, err)
	}
	return &lineSink{name: name, format: l, to: w, max: max}, nil
}

// lineSink writes each batch with one write, whole lines only. When a write comes
// out short, the target takes the part of a line back or, where that cannot be,
// the sink remembers the line and finishes it before anything else.
type lineSink struct {
	name   string
	format format
	to     LineTarget
	max    int // bytes of one write, 0 for any number

	buf  []byte
	ends []int // end of each line in buf

	torn    []byte // a line that is partly out
	tornOut int    // bytes of it that are

	reopen atomic.Bool // stored by any goroutine, taken by the sink's own
}

func (s *lineSink) String() string { return s.name }
func (s *lineSink) Close() error   { return s.to.Close() }

func (s *lineSink) Sync() error { return errors.Join(s.renew(), s.to.Sync()) }

// Reopen asks for the file to be opened anew.
func (s *lineSink) Reopen() { s.reopen.Store(true) }

// renew opens the file anew if that was asked for. When that cannot be, the sink
// goes on with the old one and tries again next time, so that nothing is lost.
func (s *lineSink) renew() error {
	f, ok := s.to.(renewer)
	if !ok || !s.reopen.Swap(false) {
		return nil
	}
	if s.tornOut > 0 && s.finishTorn() != nil {
		s.tornOut = 0 // the old file keeps half a line, the new one begins with a whole one
	}
	if err := f.Renew(); err != nil {
		s.reopen.Store(true)
		return fmt.Errorf("reopen: %w", err)
	}
	return nil
}

func (s *lineSink) Write(batch []Record) error {
	if len(batch) == 0 {
		return nil
	}
	reopenErr := s.renew()
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
	n, err := s.writeFrom(s.tornOut)
	s.tornOut = 0
	if err == nil {
		if cap(s.buf) > 4<<20 {
			s.buf = nil
		}
		if reopenErr != nil {
			return &WriteError{Written: len(batch), Err: reopenErr}
		}
		return nil
	}
	whole := sort.SearchInts(s.ends, n+1)
	start := 0
	if whole > 0 {
		start = s.ends[whole-1]
	}
	if n > start && !s.to.Retract(n-start) {
		s.torn = append(s.torn[:0], s.buf[start:s.ends[whole]]...)
		s.tornOut = n - start
	}
	return &WriteError{Written: whole, Retry: true, Torn: s.tornOut > 0, Err: err}
}

// writeFrom writes s.buf from a position on, and returns how far it came.
func (s *lineSink) writeFrom(at int) (int, error) {
	for i := 0; s.max > 0 && len(s.buf)-at > s.max; {
		end := at // of the last line that fits, or of the first
		for ; i < len(s.ends) && (s.ends[i] <= at+s.max || end == at); i++ {
			end = s.ends[i]
		}
		n, err := writeAll(s.to, s.buf[at:end])
		if at += n; err != nil {
			return at, err
		}
	}
	if at == len(s.buf) {
		return at, nil
	}
	n, err := writeAll(s.to, s.buf[at:])
	return at + n, err
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

func (writerTarget) Retract(int) bool { return false }
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
