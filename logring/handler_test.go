package logring

import (
	"context"
	"log/slog"
	"testing"
	"testing/slogtest"
)

// slog's own conformance suite, through the ring and the collector: with the JSON
// sink, and with slog's JSONHandler as a sink, whose records are rebuilt.
func TestSlogtest(t *testing.T) {
	for name, sink := range map[string]func(*safeBuffer) Sink{
		"JSON":        func(b *safeBuffer) Sink { return JSON(b) },
		"FromHandler": func(b *safeBuffer) Sink { return FromHandler(slog.NewJSONHandler(b, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			var out *safeBuffer
			var c *Collector
			slogtest.Run(t, func(t *testing.T) slog.Handler {
				out = &safeBuffer{}
				c = newCollector(t, CollectorOptions{Sinks: []Sink{sink(out)}})
				w, _ := onHeap(t, c, "g", 0)
				return w.Handler(&HandlerOptions{AddSource: true})
			}, func(t *testing.T) map[string]any {
				flushAll(t, c)
				all := objects(t, out.String())
				if len(all) != 1 {
					t.Fatalf("%d lines, want 1:\n%s", len(all), out)
				}
				return all[0]
			})
		})
	}
}

func TestNoAllocations(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil)).With("job", "count")
	n := 0
	allocs := testing.AllocsPerRun(1000, func() {
		n++
		l.LogAttrs(context.Background(), slog.LevelInfo, "indexed",
			slog.Int("n", n), slog.String("path", "a.go"), slog.Float64("share", float64(n)/3),
			slog.Bool("odd", n&1 == 1), slog.Uint64("u", uint64(n)))
	})
	if allocs > 0 {
		t.Errorf("%v allocations a call, want 0", allocs)
	}
}
