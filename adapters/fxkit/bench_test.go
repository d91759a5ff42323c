package fxkit_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/cfgblob"
)

var (
	plainWorker = shmkit.Func("plain", func(ctx context.Context, w *shmkit.Worker) error {
		w.Log.Info("at work", "limit", shmkit.Config[config](w).Load().Limit, "rank", w.Rank)
		return nil
	})
	builtWorker = fxkit.Func("built", func(log *slog.Logger, cfg *cfgblob.Live[config], rank fxkit.Rank) error {
		log.Info("at work", "limit", cfg.Load().Limit, "rank", int(rank))
		return nil
	}, fxkit.Config[config]())
)

// BenchmarkBuiltStart starts a worker built with fx and waits for its end, beside one that
// takes the same things by hand, in turns.
func BenchmarkBuiltStart(b *testing.B) {
	built, plain := startTimes(b, b.N+20)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(built), "p50-ns")
	b.ReportMetric(float64(plain), "plain-p50-ns")
	b.ReportMetric(float64(built)/float64(plain), "plain-ratio")
}

// Both parties of the benchmark do what they should.
func TestStartTimes(t *testing.T) {
	if built, plain := startTimes(t, 1); built <= 0 || plain <= 0 {
		t.Error(built, plain)
	}
}

func startTimes(t testing.TB, n int) (built, plain time.Duration) {
	o, out := options(t)
	node := node(t, o)
	times := map[string][]time.Duration{}
	for range n {
		for _, fn := range []string{plainWorker, builtWorker} {
			began := time.Now()
			g, err := node.Start(shmkit.Spec{Func: fn, Workers: 1})
			if err == nil {
				err = g.Wait()
			}
			if err != nil {
				t.Fatal(err)
			}
			times[fn] = append(times[fn], time.Since(began))
		}
	}
	if err := node.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := out.count(); got != 2*n {
		t.Fatalf("%d records of %d workers", got, 2*n)
	}
	for _, list := range times {
		slices.Sort(list)
	}
	return times[builtWorker][n/2], times[plainWorker][n/2]
}
