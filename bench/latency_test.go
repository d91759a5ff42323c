package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"shmkit"
	"shmkit/logring"
)

// Calls are due at fixed times, and the latency of each runs from when it was due: one
// that is late because of the one before it counts with what it waited (no coordinated
// omission). The rate is one that all parties sustain.
const (
	dueEvery = 20 * time.Microsecond
	dueCalls = 50_000
)

// oneIn are the percentiles of the curve: one call in so many takes longer.
var oneIn = []int{2, 4, 10, 100, 1_000, 10_000}

// histogram times calls, clock included.
func histogram(log func(int)) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, int64(10*time.Second), 3)
	due := time.Now()
	for i := range dueCalls {
		due = due.Add(dueEvery)
		for time.Now().Before(due) {
		}
		log(i)
		h.RecordValue(int64(time.Since(due)))
	}
	return h
}

func curve(h *hdrhistogram.Histogram) (ns []float64) {
	for _, n := range oneIn {
		ns = append(ns, float64(h.ValueAtQuantile(100-100/float64(n))))
	}
	return ns
}

// latencyParties are a native event and a slog call, whose node writes JSON to nowhere,
// and zerolog to a pipe with a reader. Each is a process of its own.
var latencyParties = []string{"event", "slog", "zerolog-pipe"}

// funcLatency tells the curve of one party.
var funcLatency = shmkit.Func("bench-latency", func(ctx context.Context, w *shmkit.Worker) error {
	events, err := attachEvents(w)
	if err != nil {
		return err
	}
	defer events.Close()
	party := shmkit.Config[benchConfig](w).Load().Calls
	var log func(int)
	if party < 2 {
		log = hotPaths[party].make(events)
	} else {
		r, pipe, err := os.Pipe()
		if err != nil {
			return err
		}
		reader := exec.Command("cat") // its stdout is the null device
		reader.Stdin = r
		if err := reader.Start(); err != nil {
			return err
		}
		r.Close()
		defer reader.Wait()
		defer pipe.Close()
		l := zerologTo(pipe)
		log = func(i int) {
			l.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
		}
	}
	for i := range 1000 { // all is warm, and the reader runs
		log(i)
	}
	for _, ns := range curve(histogram(log)) {
		if err := tell(w, time.Duration(ns)); err != nil {
			return err
		}
	}
	return nil
})

// BenchmarkLatency is the curve of what single calls take.
func BenchmarkLatency(b *testing.B) {
	pinPair(b)
	all := make([][][]float64, len(latencyParties))
	for b.Loop() {
		for range 3 {
			for p := range all {
				if all[p] == nil {
					all[p] = make([][]float64, len(oneIn))
				}
				for i, ns := range withEvents(b, funcLatency, p, logring.JSON(io.Discard)) {
					all[p][i] = append(all[p][i], ns)
				}
			}
		}
	}
	for p, name := range latencyParties {
		for i, n := range oneIn {
			figure(b, fmt.Sprintf("%s-1in%d-ns", name, n), all[p][i])
		}
	}
}
