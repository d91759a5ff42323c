package logring

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
)

// Rules act on the next call of each logger, made before or after them, in worker
// and node.
func TestNamedLoggers(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	w, _ := onHeap(t, c, "count", 3)
	other, _ := onHeap(t, c, "job", 0)
	logger := func(h slog.Handler, name string) slog.Handler {
		return slog.New(h).With("x", 1, LoggerKey, name).WithGroup("g").Handler()
	}
	pool, http := logger(w.Handler(nil), "db.pool"), logger(w.Handler(nil), "http")
	otherPool, node := logger(other.Handler(nil), "db.pool"), logger(c.Handler(), "db.pool")
	plain := w.Handler(nil)
	check := func(step string, h slog.Handler, want slog.Level) {
		t.Helper()
		ctx := context.Background()
		if !h.Enabled(ctx, want) || h.Enabled(ctx, want-1) {
			t.Errorf("%s: level is not %v", step, want)
		}
	}
	set := func(levels map[string]slog.Level) {
		t.Helper()
		if err := c.SetLevels(levels); err != nil {
			t.Fatal(err)
		}
	}
	check("no rules", pool, 0)
	c.SetLevel(slog.LevelWarn)
	check("SetLevel", pool, slog.LevelWarn)
	check("SetLevel, node", node, slog.LevelWarn)
	set(map[string]slog.Level{"db.*": slog.LevelDebug, "count/3:http": slog.LevelError, "node:db.pool": 1})
	check("rule", pool, slog.LevelDebug)
	check("rule in another worker", otherPool, slog.LevelDebug)
	check("rule for the node", node, 1)
	check("rule for one worker", http, slog.LevelError)
	check("not in another one", logger(other.Handler(nil), "http"), slog.LevelWarn)
	check("a logger made later", logger(w.Handler(nil), "db"), slog.LevelDebug)
	check("no name", plain, slog.LevelWarn)
	set(map[string]slog.Level{"count:": 2})
	check("rules are replaced", pool, 2)
	check("rules are replaced", otherPool, slog.LevelWarn)
	check("group rule", plain, 2)
	check("worker attached later", func() slog.Handler { w, _ := onHeap(t, c, "count", 4); return logger(w.Handler(nil), "db") }(), 2)
	if err := c.SetLevels(map[string]slog.Level{"a*": 0}); err == nil {
		t.Fatal("a wrong rule is taken")
	}
	check("a refused set changes nothing", pool, 2)
	set(nil)
	check("none", pool, slog.LevelWarn)

	own := slog.New(w.Handler(&HandlerOptions{Level: slog.LevelError})).With(LoggerKey, "db").Handler()
	check("the handler's own level is asked, too", own, slog.LevelError)
	for _, h := range []slog.Handler{
		slog.New(w.Handler(nil)).WithGroup("g").With(LoggerKey, "db").Handler(), // in a group
		slog.New(w.Handler(nil)).With(LoggerKey, 7).Handler(),                   // no string
		logger(w.Handler(nil), strings.Repeat("x", 256)),                        // too long
	} {
		set(map[string]slog.Level{"*": 3, "db": 5})
		check("no name that counts", h, 3)
	}

	w.Close()
	if set(map[string]slog.Level{"db.*": -100}); pool.Enabled(t.Context(), math.MaxInt32-1) || logger(plain, "db").Enabled(t.Context(), 100) {
		t.Error("enabled after Close")
	}
}

// Rules that do not fit change nothing, neither for workers there are nor for one
// to come.
func TestRulesThatDoNotFit(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	w, _ := onHeap(t, c, "g", 0)
	many := map[string]slog.Level{}
	for i := range 100 {
		many[fmt.Sprintf("later:logger.number%03d", i)] = -4
	}
	if err := c.SetLevels(many); err != nil {
		t.Fatal("rules for nobody: ", err)
	}
	_, _, _, err := c.Donate("later", 0, 1)
	if err == nil || !strings.Contains(err.Error(), "later/0 take") || !strings.Contains(err.Error(), "use fewer") {
		t.Errorf("Donate: %v, want an error with the worker, the sizes and the cure", err)
	}
	for i := range 100 {
		many[fmt.Sprintf("logger.number%03d", i)] = -4
	}
	err = c.SetLevels(many)
	if err == nil || !strings.Contains(err.Error(), "possible are 2048") {
		t.Errorf("SetLevels: %v, want an error with the worker, the sizes and the cure", err)
	}
	if l := slog.New(w.Handler(nil)).With(LoggerKey, "logger.number001"); l.Enabled(t.Context(), -1) {
		t.Error("a refused rule holds")
	}
}

// More names than there is room for, and rules that keep changing under load.
func TestManyLoggers(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	w, _ := onHeap(t, c, "g", 0)
	h := w.Handler(nil)
	for i := range maxLoggers + 10 {
		h.WithAttrs([]slog.Attr{slog.String(LoggerKey, fmt.Sprint("n", i))})
	}
	if n := len(w.names.names); n != maxLoggers {
		t.Errorf("%d names are kept, want %d", n, maxLoggers)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			c.SetLevels(map[string]slog.Level{"n1": slog.Level(i), "*": -1})
		}
	}()
	l := w.names.named("n1")
	for last := slog.Level(-2); ; {
		switch got := l.level(); {
		case got < last:
			t.Fatalf("level %d after %d: an old rule came back", int(got), int(last))
		case got == 1999:
			<-done
			return
		default:
			last = got
		}
	}
}

// A logger with a name and one without, both disabled.
func BenchmarkDisabledNamed(b *testing.B) {
	c := newCollector(b, CollectorOptions{})
	w, _ := onHeap(b, c, "g", 0)
	c.SetLevels(map[string]slog.Level{"http": slog.LevelDebug})
	plain := w.Handler(nil)
	for _, x := range []struct {
		name string
		l    *slog.Logger
	}{{"plain", slog.New(plain)}, {"named", slog.New(plain).With(LoggerKey, "db.pool")}} {
		b.Run(x.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				x.l.LogAttrs(context.Background(), slog.LevelDebug, "no", slog.Int("i", i))
			}
		})
	}
}
