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

// funcLatency tells the curve of native events, then that of slog.
var funcLatency = shmkit.Func("bench-latency", func(ctx context.Context, w *shmkit.Worker) error {
	events, err := attachEvents(w)
	if err != nil {
		return err
	}
	defer events.Close()
	for _, party := range hotPaths[:2] {
		for _, ns := range curve(histogram(party.make(events))) {
			if err := tell(w, time.Duration(ns)); err != nil {
				return err
			}
		}
	}
	return nil
})

// BenchmarkLatency is the curve of what single calls take: a native event and a slog call
// in a worker whose node writes JSON to nowhere, and zerolog to a pipe with a reader.
func BenchmarkLatency(b *testing.B) {
	parties := []string{"event", "slog", "zerolog-pipe"}
	all := make([][][]float64, len(parties))
	for p := range all {
		all[p] = make([][]float64, len(oneIn))
	}
	add := func(p int, ns []float64) {
		for i, v := range ns {
			all[p][i] = append(all[p][i], v)
		}
	}
	for b.Loop() {
		for range 3 {
			ns := withEvents(b, funcLatency, 0, logring.JSON(io.Discard))
			add(0, ns[:len(oneIn)])
			add(1, ns[len(oneIn):])
			add(2, zerologCurve(b))
		}
	}
	for p, name := range parties {
		for i, n := range oneIn {
			figure(b, fmt.Sprintf("%s-1in%d-ns", name, n), all[p][i])
		}
	}
}

func zerologCurve(b *testing.B) []float64 {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	reader := exec.Command("cat")
	reader.Stdin = r
	if err := reader.Start(); err != nil { // its stdout is the null device
		b.Fatal(err)
	}
	r.Close()
	log := zerologTo(w)
	ns := curve(histogram(func(i int) {
		log.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
	}))
	w.Close()
	if err := reader.Wait(); err != nil {
		b.Fatal(err)
	}
	return ns
}
