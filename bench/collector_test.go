package bench

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"shmkit"
	"shmkit/logring"
)

// funcTick logs a thousand records a second, evenly, each with the time of its call.
var funcTick = shmkit.Func("bench-tick", func(ctx context.Context, w *shmkit.Worker) error {
	n := shmkit.Config[benchConfig](w).Load().Calls
	start := time.Now()
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Millisecond)))
		w.Log.LogAttrs(ctx, slog.LevelInfo, "tick", slog.Int("i", i))
	}
	return tell(w, time.Since(start))
})

// latencySink notes how long ago each record was logged when it is to be written.
type latencySink struct{ took []float64 } // ns

func (s *latencySink) Write(recs []logring.Record) error {
	now := time.Now()
	for i := range recs {
		if recs[i].Message == "tick" {
			s.took = append(s.took, float64(now.Sub(recs[i].Time)))
		}
	}
	return nil
}
func (s *latencySink) Sync() error  { return nil }
func (s *latencySink) Close() error { return nil }

// BenchmarkRecordToSink measures how long a record takes from its log call in a
// worker process until a sink has it, at 1,000 records a second: the window of the
// merge, and two wake-ups.
//
// The bar: 99 % within 2 ms.
func BenchmarkRecordToSink(b *testing.B) {
	const calls = 3000
	var p50, p99 []float64
	for b.Loop() {
		for range 3 {
			s := &latencySink{}
			runWorkers(b, funcTick, 1, calls, s)
			if len(s.took) != calls {
				b.Fatalf("%d of %d records", len(s.took), calls)
			}
			p50, p99 = append(p50, percentile(s.took, 50)), append(p99, percentile(s.took, 99))
		}
	}
	figure(b, "p50-us", times(p50, 1e-3))
	figure(b, "p99-us", times(p99, 1e-3))
}
