package logring

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
)

var evTrace = NewEvent1[int](slog.LevelDebug, "event", "i")

// said returns what the records say, each with its mark.
func said(t testing.TB, recs []Record) (all []string) {
	t.Helper()
	for _, r := range recs {
		s := r.Message
		marked := false
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case backtraceKey:
				marked = a.Value.Bool()
			case "i":
				s += fmt.Sprint(" ", a.Value)
			}
			return true
		})
		if marked {
			s = "(" + s + ")"
		}
		all = append(all, s)
	}
	return all
}

// What was kept comes in front of the error, in order and marked, once; what comes
// after the error waits for the next one.
func TestBacktrace(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Backtrace: &Backtrace{}, Sinks: []Sink{k}})
	w, r := onHeap(t, c, "g", 0)
	c.SetLevels(map[string]slog.Level{"loud": slog.LevelDebug, "quiet": slog.LevelError, "off": math.MaxInt32})
	l := slog.New(w.Handler(&HandlerOptions{AddSource: true})).With("x", "y")
	loud, quiet, off := l.With(LoggerKey, "loud"), l.With(LoggerKey, "quiet"), l.With(LoggerKey, "off")
	l.Debug("a", "i", 1)
	l.Info("b", "i", 2)
	evTrace.Log(w, 3)
	quiet.WithGroup("g").Warn("c")
	loud.Debug("d", "i", 5)
	off.Error("never")
	l.Log(t.Context(), slog.LevelDebug-1, "below the backtrace")
	NewLineWriter(w.Handler(nil), LineOptions{Level: slog.LevelDebug}).Write([]byte("e\n"))
	l.Warn("f", "i", 7)
	l.Error("g", "i", 8)
	l.Debug("h", "i", 9)
	l.Info("i", "i", 10)
	flushAll(t, c)
	want := []string{"b 2", "d 5", "f 7", "(a 1)", "(event 3)", "(c)", "(e)", "g 8", "i 10"}
	// The records of a worker that were there before the error may come before or
	// behind its backtrace, which is about them.
	got := said(t, k.all())
	inOrder := func(marked bool, all []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.HasPrefix(s, "(") != marked })
	}
	equal(t, inOrder(false, got), inOrder(false, want))
	equal(t, inOrder(true, got), inOrder(true, want))
	if at := slices.Index(got, "g 8"); at < 0 || at+1 >= len(got) || got[at+1] != "i 10" || slices.Index(got, "(e)") != at-1 {
		t.Errorf("the backtrace does not stand in front of the error: %q", got)
	}
	s := c.Stats()
	checkAccount(t, s)
	if s.Attempted != 9 || s.Delivered != 9 || len(s.Dropped) != 0 {
		t.Errorf("account %+v", s)
	}
	if s := w.Stats(); s.Attempted != 5 || s.Committed != 5 {
		t.Errorf("worker's account %+v, want 5: what is only kept does not count", s)
	}
	for _, rec := range k.all() {
		if src, ok := rec.Source(); rec.Message == "a" && (!ok || !strings.HasSuffix(src.File, "backtrace_test.go") || attrOf(t, rec, "x").String() != "y") {
			t.Errorf("the record lost something: %s", jsonLine(rec))
		}
		checkLines(t, rec)
	}
	l.Error("again")
	flushAll(t, c)
	equal(t, said(t, k.all())[9:], []string{"(h 9)", "again"})

	// A log that was closed leaves nothing.
	l.Debug("not told")
	w.Close()
	r.Close()
	flushAll(t, c)
	if n := len(k.all()); n != 11 {
		t.Errorf("%d records after Close: %q", n, said(t, k.all()))
	}
}

// Only so much is kept: the newest. And what is kept for ever costs nothing but that.
func TestBacktraceIsBounded(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{MaxRecord: 1024, Backtrace: &Backtrace{Size: 4096, Level: slog.Level(-8), Trigger: slog.LevelWarn}, Sinks: []Sink{k}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	const n = 5000
	for i := range n {
		l.Log(context.Background(), -8, "kept", "i", i)
	}
	flushAll(t, c)
	if s := c.Stats(); s.Attempted != 0 {
		t.Errorf("account %+v", s)
	}
	l.Warn("now")
	flushAll(t, c)
	got := said(t, k.all())
	if len(got) < 10 || len(got) > 4096/40 || got[len(got)-1] != "now" {
		t.Fatalf("%d records: %.100q", len(got), got)
	}
	for i, s := range got[:len(got)-1] {
		if want := fmt.Sprintf("(kept %d)", n-len(got)+1+i); s != want {
			t.Fatalf("record %d is %q, want %q", i, s, want)
		}
	}
	checkAccount(t, c.Stats())
}

func TestBacktraceOptions(t *testing.T) {
	for want, b := range map[string]Backtrace{
		"Backtrace.Size 2147483648: choose at most 1 GiB": {Size: 2 << 30},
		"Backtrace.Level ERROR is not below":              {Level: slog.LevelError},
		"Backtrace.Trigger DEBUG: nothing would be kept":  {Trigger: slog.LevelDebug},
	} {
		if _, err := NewCollector(CollectorOptions{Backtrace: &b}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", b, err, want)
		}
	}
	for _, size := range []int{-1, 0, 1, 100_000, 1 << 20} {
		b := Backtrace{Size: size}
		if n := b.capacity(64 << 10); n < 128<<10 || n < size || n > max(4*size, 256<<10) {
			t.Errorf("Size %d: a ring of %d bytes", size, n)
		}
	}
	if _, err := parseTerms(append(terms{}.words(), "backtrace=soon")); err == nil || !strings.Contains(err.Error(), "backtrace=soon") {
		t.Errorf("a worker's word: %v", err)
	}
}

// With a backtrace the level still says what goes to the sinks.
func TestBacktraceLevels(t *testing.T) {
	c := newCollector(t, CollectorOptions{Backtrace: &Backtrace{}})
	w, _ := onHeap(t, c, "g", 0)
	h := w.Handler(nil)
	enabled := func(want slog.Level) {
		t.Helper()
		if !h.Enabled(t.Context(), want) || h.Enabled(t.Context(), want-1) || w.Level() != want {
			t.Errorf("enabled from %v, want %v", w.Level(), want)
		}
	}
	enabled(slog.LevelDebug)
	c.SetLevel(slog.LevelError)
	enabled(slog.LevelDebug)
	if !w.kept(slog.LevelWarn) || w.kept(slog.LevelError) {
		t.Error("the level does not say what is kept")
	}
	c.SetLevel(-8)
	enabled(-8)
	if w.kept(-8) {
		t.Error("a record that is wanted is kept")
	}
	w.Close()
	if h.Enabled(t.Context(), 100) {
		t.Error("enabled after Close")
	}
	w.keep(make([]byte, headerSize)) // nothing happens
}

// A call that is kept, beside one that goes to the collector, and beside the same
// without a backtrace.
func BenchmarkBacktrace(b *testing.B) {
	for _, x := range []struct {
		name  string
		trace *Backtrace
		level slog.Level
	}{{"without/logged", nil, slog.LevelInfo}, {"with/logged", &Backtrace{}, slog.LevelInfo}, {"with/kept", &Backtrace{}, slog.LevelDebug}} {
		b.Run(x.name, func(b *testing.B) {
			c := newCollector(b, CollectorOptions{Sinks: []Sink{discardSink{}}, Backtrace: x.trace})
			w, _ := onHeap(b, c, "g", 0)
			l := slog.New(w.Handler(nil))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.LogAttrs(context.Background(), x.level, "indexed", slog.Int("lines", i), slog.Float64("share", float64(i)*0.25))
			}
		})
	}
}
