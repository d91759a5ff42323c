package logring

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// alone is a worker without a collector: what it logs is thrown away while the
// clock stands, so that only the calls are measured.
type alone struct {
	*Writer
	r *inlet
}

func newAlone(tb testing.TB, o CollectorOptions) alone {
	tb.Helper()
	c := newCollector(tb, o)
	view, layout := heapLease(tb, &c.o)
	r, err := c.inletOver(view, layout, "heap", "g", 0)
	if err != nil {
		tb.Fatal(err)
	}
	w, err := newWriter(view, c.terms(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { w.Close() })
	return alone{w, r}
}

// empty throws away what was logged.
func (a alone) empty() {
	for _, l := range a.r.lanes {
		for ok := true; ok; {
			_, ok, _ = l.cons.Next()
		}
		l.cons.Release()
	}
}

// run calls log in bursts that fit into the ring.
func (a alone) run(b *testing.B, log func(i int)) {
	const burst = 1000
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		for range min(burst, b.N-i) {
			log(i)
			i++
		}
		b.StopTimer()
		a.empty()
		b.StartTimer()
	}
}

// What a call costs the caller while the collector is elsewhere, all parties with
// the same three values that vary at run time: nothing is boxed at compile time.
func BenchmarkProducer(b *testing.B) {
	a := newAlone(b, CollectorOptions{})
	attrs := func(l *slog.Logger) func(int) {
		return func(i int) {
			l.LogAttrs(context.Background(), slog.LevelInfo, "done",
				slog.Int("n", i), slog.String("path", benchNames[i&3]), slog.Float64("sec", float64(i)*0.25))
		}
	}
	for _, x := range []struct {
		name string
		log  func(int)
	}{
		{"event", func(i int) { evThree.Log(a.Writer, int64(i), benchNames[i&3], float64(i)*0.25) }},
		{"slog empty handler", attrs(slog.New(emptyHandler{}))},
		{"slog", attrs(slog.New(a.Handler(nil)))},
		{"slog JSON discarded", attrs(slog.New(slog.NewJSONHandler(io.Discard, nil)))},
	} {
		b.Run(x.name, func(b *testing.B) { a.run(b, x.log) })
	}
}

// How much more a call through slog costs than with a handler that does nothing, and
// how an event compares with both. The parties take turns, a few calls each, so that
// what else the machine does meets all of them; the figures are medians of turns.
//
// The bar: slog at most 60 ns more.
func BenchmarkOverEmpty(b *testing.B) {
	a := newAlone(b, CollectorOptions{})
	handlers := []slog.Handler{emptyHandler{}, a.Handler(nil)}
	const calls, turns = 100, 2001
	ns := make([][]time.Duration, len(handlers)+1)
	for b.Loop() {
		for range turns {
			for p, h := range handlers {
				l := slog.New(h)
				start := time.Now()
				for i := range calls {
					l.LogAttrs(context.Background(), slog.LevelInfo, "done",
						slog.Int("n", i), slog.String("path", benchNames[i&3]), slog.Float64("sec", float64(i)*0.25))
				}
				ns[p] = append(ns[p], time.Since(start))
			}
			start := time.Now()
			for i := range calls {
				evThree.Log(a.Writer, int64(i), benchNames[i&3], float64(i)*0.25)
			}
			ns[2] = append(ns[2], time.Since(start))
			a.empty()
		}
	}
	mid := func(p int) float64 {
		slices.Sort(ns[p])
		return float64(ns[p][len(ns[p])/2]) / calls
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(mid(0), "empty-ns")
	b.ReportMetric(mid(1), "slog-ns")
	b.ReportMetric(mid(1)-mid(0), "slog-over-empty-ns")
	b.ReportMetric(mid(2), "event-ns")
}
