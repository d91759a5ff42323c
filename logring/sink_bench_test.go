package logring

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// What a bad sink costs a good one: the time in which the records of one worker, as
// fast as it can, reach a JSON sink, with a bad sink beside it, over the time with
// one beside it that takes everything. The variants take turns, so that what else the machine does meets all of
// them alike. The bad ones are beyond the time in which a full queue is waited
// for (SinkOptions.Stall): what they cost before is that, once.
func BenchmarkBesideABadSink(b *testing.B) {
	const records = 100_000
	variants := map[string]func() Sink{
		"good":    func() Sink { return discardSink{} },
		"good2":   func() Sink { return discardSink{} }, // shows how far chance goes
		"stalled": func() Sink { return &standing{make(chan struct{})} },
		"failing": func() Sink {
			return sinkFunc(func([]Record) error { return &WriteError{Retry: true, Err: errors.New("down")} })
		},
		"losing": func() Sink { return sinkFunc(func([]Record) error { return errors.New("down") }) },
	}
	took := map[string][]float64{}
	round := func(name string, bad func() Sink) {
		sinks := []Sink{JSON(io.Discard), With(bad(), SinkOptions{Stall: -1, Queue: 1 << 20})}
		c, err := NewCollector(CollectorOptions{Sinks: sinks})
		if err != nil {
			b.Fatal(err)
		}
		w, _ := onHeap(b, c, "g", 0)
		l := slog.New(w.Handler(nil))
		start := time.Now()
		for i := range records {
			l.LogAttrs(b.Context(), slog.LevelInfo, "indexed", slog.Int("files", i), slog.String("path", "a.go"))
		}
		for c.Stats().Sinks[0].Written < records {
			time.Sleep(100 * time.Microsecond)
		}
		took[name] = append(took[name], time.Since(start).Seconds())
		w.Close()
		if s, ok := c.sinks[1].sink.(*standing); ok {
			close(s.gone)
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		c.Close(ctx)
		cancel()
	}
	for range max(b.N, 5) {
		for _, name := range []string{"good", "stalled", "failing", "losing", "good2"} {
			round(name, variants[name])
		}
	}
	good := median(took["good"])
	b.ReportMetric(records/good, "records/s")
	for _, name := range []string{"stalled", "failing", "losing", "good2"} {
		b.ReportMetric(median(took[name])/good, name+"/good")
	}
	b.ReportMetric(0, "ns/op")
}

// A standing sink stands still until it is let go.
type standing struct{ gone chan struct{} }

func (s *standing) Write([]Record) error { <-s.gone; return nil }
func (s *standing) Sync() error          { return nil }
func (s *standing) Close() error         { return nil }

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
