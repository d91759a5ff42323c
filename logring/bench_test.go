package logring

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"
)

type emptyHandler struct{}

func (emptyHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (emptyHandler) Handle(context.Context, slog.Record) error { return nil }
func (h emptyHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h emptyHandler) WithGroup(string) slog.Handler           { return h }

// discardSink takes everything.
type discardSink struct{}

func (discardSink) Write([]Record) error { return nil }
func (discardSink) Sync() error          { return nil }
func (discardSink) Close() error         { return nil }

// One log call with three attributes that vary at run time, so that nothing is
// boxed at compile time. The collector works meanwhile, as it would in the node.
func BenchmarkCall(b *testing.B) {
	c := newCollector(b, CollectorOptions{Sinks: []Sink{discardSink{}}})
	w, _ := onHeap(b, c, "g", 0)
	for _, x := range []struct {
		name string
		h    slog.Handler
	}{
		{"empty", emptyHandler{}},
		{"logring", w.Handler(nil)},
		{"slogJSONdiscard", slog.NewJSONHandler(io.Discard, nil)},
	} {
		b.Run(x.name, func(b *testing.B) {
			l := slog.New(x.h)
			names := []string{"a.go", "b.go", "c/d.go", "e.go"}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.LogAttrs(context.Background(), slog.LevelInfo, "indexed",
					slog.String("path", names[i&3]), slog.Int("lines", i), slog.Float64("share", float64(i)*0.25))
			}
		})
	}
}

// The same from 64 goroutines that share one ring.
func BenchmarkCall64(b *testing.B) {
	c := newCollector(b, CollectorOptions{Sinks: []Sink{discardSink{}}})
	w, _ := onHeap(b, c, "g", 0)
	l := slog.New(w.Handler(nil))
	b.SetParallelism(max(64/runtime.GOMAXPROCS(0), 1))
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			l.LogAttrs(context.Background(), slog.LevelInfo, "indexed",
				slog.String("path", "a.go"), slog.Int("lines", i), slog.Float64("share", float64(i)*0.25))
		}
	})
}

func BenchmarkDisabled(b *testing.B) {
	c := newCollector(b, CollectorOptions{})
	w, _ := onHeap(b, c, "g", 0)
	l := slog.New(w.Handler(nil))
	for i := 0; b.Loop(); i++ {
		l.LogAttrs(context.Background(), slog.LevelDebug, "no", slog.Int("i", i))
	}
}

func BenchmarkFormat(b *testing.B) {
	p := &pipe{}
	slog.New(newHandler(p, nil)).LogAttrs(context.Background(), slog.LevelInfo, "indexed",
		slog.String("path", "net/http/server.go"), slog.Int("lines", 4003), slog.Float64("share", 0.25), slog.Duration("took", 1234*time.Microsecond))
	recs := make([]Record, 512)
	for i := range recs {
		recs[i] = p.record(b, 0)
		recs[i].Time = recs[i].Time.Add(time.Duration(i) * time.Microsecond)
	}
	for _, x := range []struct {
		name string
		f    format
	}{{"json", &jsonFormat{}}, {"text", &textFormat{}}, {"console", &consoleFormat{}}} {
		b.Run(x.name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				buf = x.f.append(buf[:0], &recs[i&511])
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
		})
	}
}

// What the collector takes from one ring, checks, merges and hands to a sink
// that writes JSON nowhere.
func BenchmarkCollector(b *testing.B) {
	for _, x := range []struct {
		name string
		sink Sink
	}{{"discard", discardSink{}}, {"json", JSON(io.Discard)}} {
		b.Run(x.name, func(b *testing.B) {
			c := newCollector(b, CollectorOptions{Sinks: []Sink{x.sink}})
			w, _ := onHeap(b, c, "g", 0)
			p := &pipe{}
			slog.New(newHandler(p, nil)).LogAttrs(context.Background(), slog.LevelInfo, "indexed",
				slog.String("path", "net/http/server.go"), slog.Int("lines", 4003), slog.Float64("share", 0.25))
			for b.Loop() {
				w.emit(p.got[0])
			}
			flushAll(b, c)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
		})
	}
}
