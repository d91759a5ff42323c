package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"shmkit"
	"shmkit/logring"
	"shmkit/spawn"
)

// BenchmarkWorkers is how many records a second n worker processes log into one
// JSON file, from the start of the first until the file is complete; and how many when
// each writes its lines into the file by itself, as programs without a collector do: slog's
// JSON handler, and a write in append mode for each record.
func BenchmarkWorkers(b *testing.B) {
	const records = 1_000_000
	for n := 1; n <= 64; n *= 2 {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var rates, direct []float64
			for b.Loop() {
				for range 3 {
					rates = append(rates, shmkitEndToEnd(b, funcLog, n, records/n))
					direct = append(direct, directEndToEnd(b, n, records/5/n))
				}
			}
			figure(b, "records/s", rates)
			figure(b, "direct-records/s", direct)
		})
	}
}

// A crowdJob is what goroutines of a worker log, through the node or into a file.
type crowdJob struct {
	Level      string `json:"level"`
	Goroutines int    `json:"goroutines"`
	Calls      int    `json:"calls"` // of each
	Path       string `json:"path"`  // "": through the node
}

var funcCrowdJob = shmkit.Func("bench-crowd-job", func(ctx context.Context, w *shmkit.Worker) error {
	job := shmkit.Config[crowdJob](w).Load()
	handler := w.Log.Handler()
	if job.Path != "" {
		f, err := os.OpenFile(job.Path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		handler = slog.NewJSONHandler(f, nil)
	}
	fromMany(job.Goroutines, job.Calls, viaSlog(handler))
	return nil
})

// runCrowd returns the records a second of n workers that do the job.
func runCrowd(b *testing.B, n int, job crowdJob, sinks ...logring.Sink) float64 {
	b.Helper()
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Name: fmt.Sprintf("bench-%d", os.Getpid()), Dir: b.TempDir(), Config: job, Sinks: sinks,
		Resources: map[string]spawn.Resource{},
	})
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	startWait(b, node, shmkit.Spec{Func: funcCrowdJob, Workers: n})
	if err := node.Close(); err != nil {
		b.Fatal(err)
	}
	return float64(n*job.Goroutines*job.Calls) / time.Since(begin).Seconds()
}

func directEndToEnd(b *testing.B, n, calls int) float64 {
	path := filepath.Join(b.TempDir(), "direct.jsonl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	rate := runCrowd(b, n, crowdJob{"info", 1, calls, path}, nullSink{})
	countLines(b, path, n*calls)
	return rate
}

// BenchmarkGoroutines is how many records a second g goroutines of one worker process
// log into one JSON file, through the node or by themselves, as in [BenchmarkWorkers].
func BenchmarkGoroutines(b *testing.B) {
	const records = 1_000_000
	for g := 1; g <= 64; g *= 2 {
		b.Run(strconv.Itoa(g), func(b *testing.B) {
			var rates, direct []float64
			for b.Loop() {
				for range 3 {
					path := filepath.Join(b.TempDir(), "run.jsonl")
					sink, err := logring.OpenJSON(path)
					if err != nil {
						b.Fatal(err)
					}
					rates = append(rates, runCrowd(b, 1, crowdJob{"info", g, records / g, ""}, sink))
					countLines(b, path, records/g*g)
					os.Remove(path)
					if err := os.WriteFile(path, nil, 0o600); err != nil {
						b.Fatal(err)
					}
					direct = append(direct, runCrowd(b, 1, crowdJob{"info", g, records / 5 / g, path}, nullSink{}))
				}
			}
			figure(b, "records/s", rates)
			figure(b, "direct-records/s", direct)
		})
	}
}
