package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
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

// funcQuiet does nothing until it is told to stop.
var funcQuiet = shmkit.Func("bench-quiet", func(ctx context.Context, w *shmkit.Worker) error {
	w.Log.Info("here")
	<-ctx.Done()
	return nil
})

// BenchmarkIdle measures the CPU time of a node with 64 workers that have logged once
// and say nothing, over a few seconds.
//
// The bar: 0.1 % of one CPU.
func BenchmarkIdle(b *testing.B) {
	const workers, while = 64, 5 * time.Second
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Name: fmt.Sprintf("bench-idle-%d", os.Getpid()), Dir: b.TempDir(),
		Config: benchConfig{Level: "info"}, Sinks: []logring.Sink{&latencySink{}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	if _, err := node.Start(shmkit.Spec{Func: funcQuiet, Workers: workers}); err != nil {
		b.Fatal(err)
	}
	for s := node.Stats(); s.Delivered < workers || s.Pending > 0; s = node.Stats() {
		time.Sleep(10 * time.Millisecond)
	}
	var share float64
	var wakes uint64
	for b.Loop() {
		used, woken := cpuTime(), node.Stats().Wakes
		time.Sleep(while)
		share = 100 * (cpuTime() - used).Seconds() / while.Seconds()
		wakes = node.Stats().Wakes - woken
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(share, "cpu-%")
	b.ReportMetric(float64(wakes), "wakes")
}
