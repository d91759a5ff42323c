package bench

import (
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"shmkit/logring"
)

// BenchmarkLogCall compares what one log call costs the caller: slog through
// shmkit in a worker process, drained by the node and written as JSON, against
// zerolog writing JSON to a pipe with a reader at its end. Both parties have the
// same message and three attributes, a consumer process that keeps up or holds
// them back, and go flat out.
//
// The bar: shmkit costs less. Metrics: ns/call of each, and zerolog ÷ shmkit.
func BenchmarkLogCall(b *testing.B) {
	pinPair(b)
	const calls = 200_000
	var ours, theirs []float64
	for b.Loop() {
		for range rounds {
			figures, _ := runWorkers(b, funcLog, 1, calls, logring.JSON(io.Discard))
			ours = append(ours, figures[0]/calls)
			theirs = append(theirs, zerologToPipe(b, calls))
		}
	}
	reportPair(b, "ns/call", ours, theirs)
}

// zerologToPipe returns ns per call.
func zerologToPipe(b *testing.B, calls int) float64 {
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
	start := time.Now()
	for i := range calls {
		log.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
	}
	d := time.Since(start)
	w.Close()
	if err := reader.Wait(); err != nil {
		b.Fatal(err)
	}
	return float64(d) / float64(calls)
}
