package logring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// FromHandler returns a sink that hands every record to h, so that any
// slog.Handler can be a sink. The record is rebuilt: its attributes are preceded
// by group, worker, pid and, where they apply, stream, continued, late, salvaged, truncated and
// source; a slog.Record's PC is a code address of the worker and cannot be
// carried over. A record whose Handle fails or panics is counted as dropped; one
// that h says is not enabled counts as written, since the choice is h's.
func FromHandler(h slog.Handler) Sink {
	if h == nil {
		return badSink{errors.New("logring: FromHandler: the handler is nil")}
	}
	return &handlerSink{h: h}
}

type handlerSink struct {
	h     slog.Handler
	attrs []slog.Attr
}

func (s *handlerSink) String() string { return fmt.Sprintf("handler:%T", s.h) }
func (s *handlerSink) Sync() error    { return nil }
func (s *handlerSink) Close() error   { return nil }

func (s *handlerSink) Write(batch []Record) error {
	for i := range batch {
		if err := s.handle(&batch[i]); err != nil {
			return &WriteError{Written: i, Lost: 1, Retry: true, Err: err}
		}
	}
	return nil
}

func (s *handlerSink) handle(r *Record) (err error) {
	ctx := context.Background()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("logring: %v panicked: %v", s, p)
		}
	}()
	if !s.h.Enabled(ctx, r.Level) {
		return nil
	}
	out := slog.NewRecord(r.Time, r.Level, strings.Clone(r.Message), 0)
	a := append(s.attrs[:0], slog.String("group", strings.Clone(r.Group)), slog.Int("worker", r.Worker), slog.Int("pid", r.PID))
	if r.Stream != "" {
		a = append(a, slog.String("stream", strings.Clone(r.Stream)))
	}
	if r.Continued {
		a = append(a, slog.Bool("continued", true))
	}
	if r.Late {
		a = append(a, slog.Bool("late", true))
	}
	if r.Salvaged {
		a = append(a, slog.Bool("salvaged", true))
	}
	if r.Truncated > 0 {
		a = append(a, slog.Int("truncated", r.Truncated))
	}
	if src, ok := r.Source(); ok {
		a = append(a, slog.Any(slog.SourceKey, &src))
	}
	r.Attrs(func(x slog.Attr) bool {
		if reserved(bytesOf(x.Key)) {
			x.Key = reservedPrefix + x.Key
		}
		a = append(a, x)
		return true
	})
	out.AddAttrs(a...) // copies
	clear(a)
	s.attrs = a
	return s.h.Handle(ctx, out)
}
