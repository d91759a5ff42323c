package logring

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// Values that have broken loggers: what comes of them is one line, at once.
type (
	loops       struct{}              // a LogValuer that answers with itself
	pingPong    struct{ other *bool } // two that answer with each other
	panics      struct{ with any }    // its LogValue panics
	badError    struct{}              // its Error panics
	badStringer struct{}              // its String panics, and JSON cannot have it
	notJSON     struct{}              // says it is JSON, and is not
	logsItself  struct{ l *slog.Logger }
	cyclic      struct{ Next *cyclic }
)

func (v loops) LogValue() slog.Value             { return slog.AnyValue(v) }
func (v pingPong) LogValue() slog.Value          { return slog.AnyValue(pingPong{v.other}) }
func (v panics) LogValue() slog.Value            { panic(v.with) }
func (badError) Error() string                   { panic("no text") }
func (badStringer) String() string               { panic("no text") }
func (badStringer) MarshalJSON() ([]byte, error) { return nil, errors.New("no JSON\n\x1b[31m") }
func (notJSON) MarshalJSON() ([]byte, error)     { return []byte("{\n\"a\":}"), nil }
func (v logsItself) LogValue() slog.Value {
	v.l.Info("from within")
	return slog.StringValue("done")
}

// Through the ring and the collector into every text sink and a handler: each record
// is one line with all its other attributes, and nothing hangs.
func TestBadValues(t *testing.T) {
	ring := &cyclic{}
	ring.Next = ring
	var nilError *os.PathError
	var nilStringer *strings.Builder
	values := map[string]any{
		"endless LogValuer":      loops{},
		"LogValuers in a circle": pingPong{},
		"panicking LogValuer":    panics{"a\nb\x1b[31m"},
		"panic with an error":    panics{errors.New("x")},
		"panic with nil pointer": panics{nilError},
		"panicking error":        badError{},
		"panicking String":       badStringer{},
		"bad JSON":               notJSON{},
		"nil error":              nilError,
		"nil Stringer":           nilStringer,
		"nil":                    nil,
		"cycle":                  ring,
		"channel":                make(chan int),
		"function":               func() {},
		"NaN in a struct":        struct{ F any }{func() {}},
		"raw JSON of lines":      json.RawMessage("[1,\n2,\r\n\u20283]"),
		"10 MB":                  strings.Repeat("\x1b\n\u202e\xff", 10<<20/6),
		"10 MB of bytes":         make([]byte, 10<<20),
		"10 MB in a map":         map[string]string{strings.Repeat("k", 5<<20): strings.Repeat("\n", 5<<20)},
		"empty group":            slog.GroupValue(),
		"deep":                   deep(100),
		"attrs":                  []slog.Attr{slog.String("a\n", "b\n")},
		"time out of range":      time.Date(1<<30, 1, 1, 0, 0, 0, 0, time.FixedZone("x\ny", 1<<30)),
	}
	var j, x, cons, h safeBuffer
	c := newCollector(t, CollectorOptions{Sinks: []Sink{JSON(&j), Text(&x), Console(&cons), FromHandler(slog.NewJSONHandler(&h, nil))}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	l.Info("m", "before", 1, "bad", logsItself{l}, "after", 2)
	for name, v := range values {
		l.Info("m", "name", name, "bad", v, "after", 2)
		l.With("bad", v).WithGroup("g").Error("m", "name", name, slog.Any("\x1b[2J\n", v), "after", 2)
	}
	flushAll(t, c)
	want := 2 + 2*len(values)
	for name, out := range map[string]string{"JSON": j.String(), "text": x.String(), "console": cons.String(), "handler": h.String()} {
		if n := strings.Count(out, "\n"); n != want {
			t.Errorf("%s: %d lines, want %d", name, n, want)
		}
		if name == "handler" {
			continue // slog's own escapes are its own
		}
		for line := range strings.Lines(out) {
			if bad := unsafeIn([]byte(strings.TrimSuffix(line, "\n"))); bad != "" {
				t.Errorf("%s: %s: %.200q", name, bad, line)
			}
		}
	}
	for _, m := range objects(t, j.String()) {
		if m["after"] == nil && m["g"] == nil && m["msg"] != "from within" && m["truncated"] == nil {
			t.Errorf("attributes behind the bad one are gone: %.300v", m)
		}
	}
	checkAccount(t, c.Stats())
}

func deep(n int) slog.Value {
	v := slog.StringValue("bottom")
	for range n {
		v = slog.GroupValue(slog.Attr{Key: "d", Value: v})
	}
	return v
}

// A filter or key function that panics is its caller's mistake, like a panic anywhere
// in its code: it comes out there, no lock stays behind, and the next call works.
func TestCallbacksThatPanic(t *testing.T) {
	bad := true
	boom := func() {
		if bad {
			panic("boom")
		}
	}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{discardSink{}}})
	w, _ := onHeap(t, c, "g", 0)
	for name, o := range map[string]*HandlerOptions{
		"filter": {Filter: func(context.Context, slog.Record) bool { boom(); return true }},
		"key":    {Sample: Sample{First: 1 << 20, Key: func(slog.Record) string { boom(); return "" }}},
	} {
		l := slog.New(w.Handler(o))
		out := NewLineWriter(l.Handler(), LineOptions{Parse: func(line []byte) (slog.Level, []byte) { return 0, line }})
		for _, call := range []func(){func() { l.Info("x") }, func() { io.WriteString(out, "x\n") }} {
			func() {
				defer func() {
					if p := recover(); p != "boom" {
						t.Errorf("%s: recovered %v", name, p)
					}
				}()
				call()
			}()
		}
		bad = false
		before := w.Stats().Attempted
		l.Info("x")
		io.WriteString(out, "y\n")
		if n := w.Stats().Attempted - before; n < 2 {
			t.Errorf("%s: %d records after the panic, want 2 or more", name, n)
		}
		bad = true
	}
}

// What cannot be given says what it is and what to give instead.
func TestNilThings(t *testing.T) {
	for name, s := range map[string]Sink{
		"FromHandler": FromHandler(nil), "console": Console(nil), "text": Text(nil), "json": JSON(nil), "sink 0": nil,
		"sink  0": With(nil, SinkOptions{}),
	} {
		c, err := NewCollector(CollectorOptions{Sinks: []Sink{s}})
		if err == nil {
			c.Close(t.Context())
		}
		if want := strings.ReplaceAll(name, "  ", " "); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nil") {
			t.Errorf("%s: error %v, want one that names it", name, err)
		}
	}
	if _, err := Attach(nil, nil, nil); err == nil || !strings.Contains(err.Error(), "pass on what Donate returned") {
		t.Errorf("Attach: %v", err)
	}
	if _, err := Attach([]*os.File{nil}, terms{}.words(), nil); err == nil || !strings.HasPrefix(err.Error(), "logring: attach: ") {
		t.Errorf("Attach with a nil file: %v", err)
	}
	defer CaptureDefault(slog.DiscardHandler, 0)()
	var none *slog.Logger
	if p := func() (p any) { defer func() { p = recover() }(); defer LogPanic(none); panic("through") }(); p != "through" {
		t.Errorf("LogPanic with a nil logger: %v", p)
	}
}
