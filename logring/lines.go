package logring

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// LineOptions are options for [NewLineWriter]. Zero means the defaults.
type LineOptions struct {
	// Level is the level of the records; nil: INFO.
	Level slog.Leveler

	// Parse, if set, is asked for the level of each line and for what of the line
	// is the message, so that a prefix such as "ERROR: " can become the level. The
	// line is valid until Parse returns; the message may point into it.
	Parse func(line []byte) (level slog.Level, message []byte)

	// Stream, "stdout" or "stderr", is shown as [Record.Stream]: for a worker that
	// captures the output of a program of its own.
	Stream string
}

// A LineWriter is an [io.Writer] for code that only knows how to write text: each
// line written to it is one record. A line may come in any number of writes; what
// has no newline yet is kept until it has, or until [LineWriter.Close]. A line too
// long for a record becomes several, all but the last marked [Record.Continued]
// (handlers of other packages get the attribute continued=true).
//
// Its methods may be called from any goroutine, but lines that are written in pieces
// by several goroutines mix, as in any file.
type LineWriter struct {
	h slog.Handler
	o LineOptions

	mu     sync.Mutex
	part   []byte // the line so far
	max    int    // bytes of a line that go into one record
	closed bool
}

// NewLineWriter returns a writer whose lines go to h: of a worker
// ([Writer.Handler]), of the node ([Collector.Handler]) or any other. h must not
// write to it in turn. A nil h panics.
func NewLineWriter(h slog.Handler, o LineOptions) *LineWriter {
	if h == nil {
		panic("logring: NewLineWriter: the handler is nil: give it what Writer.Handler or Collector.Handler returns")
	}
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	w := &LineWriter{h: h, o: o, max: maxLine}
	if own, ok := h.(*handler); ok {
		w.max = own.maxMessage()
	}
	return w
}

// Write takes text. It returns len(p) and nil even if a record was dropped, which
// the account tells ([Writer.Stats]): a program that checks its writes must not end
// because its log is full. After Close it returns [os.ErrClosed].
func (w *LineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, fmt.Errorf("logring: line writer: write of %d bytes: %w", len(p), os.ErrClosed)
	}
	n := len(p)
	for {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		p = rest
		if len(w.part) > 0 || !whole {
			line = w.keep(line)
		}
		if !whole {
			return n, nil
		}
		w.emit(w.cut(bytes.TrimSuffix(line, []byte{'\r'})), false)
		w.part = w.part[:0]
		if cap(w.part) > maxLine {
			w.part = nil
		}
	}
}

// keep appends to the line begun, writes what is too much of it, and returns it.
func (w *LineWriter) keep(p []byte) []byte {
	w.part = append(w.part, p...)
	if rest := w.cut(w.part); len(rest) < len(w.part) {
		w.part = w.part[:copy(w.part, rest)]
	}
	return w.part
}

// cut writes records until what is left of the line fits into one.
func (w *LineWriter) cut(line []byte) []byte {
	for len(line) > w.max {
		n := w.max
		for back := 0; back < utf8.UTFMax-1 && !utf8.RuneStart(line[n]); back++ {
			n--
		}
		w.emit(line[:n], true)
		line = line[n:]
	}
	return line
}

func (w *LineWriter) emit(line []byte, continued bool) {
	level := w.o.Level.Level()
	if w.o.Parse != nil {
		level, line = w.o.Parse(line)
	}
	ctx := context.Background()
	if !w.h.Enabled(ctx, level) {
		return
	}
	if own, ok := w.h.(*handler); ok {
		own.line(ctx, level, line, w.flags(continued))
		return
	}
	r := slog.NewRecord(time.Now(), level, string(line), 0)
	if continued {
		r.AddAttrs(slog.Bool("continued", true))
	}
	if w.o.Stream != "" {
		r.AddAttrs(slog.String("stream", w.o.Stream))
	}
	w.h.Handle(ctx, r)
}

func (w *LineWriter) flags(continued bool) (f uint16) {
	if continued {
		f |= flagContinued
	}
	switch w.o.Stream {
	case "stdout":
		f |= flagStdout
	case "stderr":
		f |= flagStderr
	}
	return f
}

// Close writes the line begun, if there is one. A second Close does nothing.
func (w *LineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && len(w.part) > 0 {
		w.emit(w.part, false)
	}
	w.closed, w.part = true, nil
	return nil
}

// line logs a line of text, which it copies.
func (h *handler) line(ctx context.Context, level slog.Level, text []byte, flags uint16) error {
	now := time.Now()
	kept := h.worker != nil && h.worker.trace != nil && h.kept(level)
	if h.filter != nil || h.throttle != nil {
		if !h.passes(ctx, slog.NewRecord(now, level, string(text), 0), kept) {
			return nil
		}
	}
	max := h.out.maxRecord()
	e := newEncoder(now, level, stringOf(text), max)
	defer e.free()
	e.flags |= flags
	e.buf = append(e.buf, h.prefix...)
	e.cut += h.cut
	e.depth = h.open
	p := e.finish(max)
	if kept {
		h.worker.keep(p)
		return nil
	}
	return h.out.emit(p)
}

// maxMessage is how long a message is kept whole, if there is nothing else but
// what With gave the handler.
func (h *handler) maxMessage() int {
	return min(maxLine, h.out.maxRecord()-headerSize-len(h.prefix)-h.open)
}
