package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"shmkit/logring"
)

// BenchmarkEndToEnd compares records per second from four worker processes into
// one JSON file, from the start of the first worker until the file is complete:
// shmkit against Python's QueueHandler and QueueListener with the forkserver
// start method. Same message, same three fields, same JSON keys.
//
// The bar: shmkit moves at least 20 times the records per second.
func BenchmarkEndToEnd(b *testing.B) {
	python, err := exec.LookPath("python3")
	if err != nil {
		b.Skip("python3 is not installed (Debian package python3): nothing to compare with")
	}
	const (
		workers     = 4
		calls       = 500_000 // a worker of ours
		pythonCalls = 10_000  // a worker of theirs: the rate is what counts, and this is seconds
	)
	var ours, theirs []float64
	for b.Loop() {
		for range 3 {
			ours = append(ours, shmkitEndToEnd(b, workers, calls))
			theirs = append(theirs, pythonEndToEnd(b, python, workers, pythonCalls))
		}
	}
	figure(b, "shmkit-records/s", ours)
	figure(b, "python-records/s", theirs)
	figure(b, "shmkit/python", over(ours, theirs))
}

func shmkitEndToEnd(b *testing.B, workers, calls int) float64 {
	path := filepath.Join(b.TempDir(), "run.jsonl")
	sink, err := logring.OpenJSON(path)
	if err != nil {
		b.Fatal(err)
	}
	_, whole := runWorkers(b, funcLog, workers, calls, sink)
	countLines(b, path, workers*calls)
	return float64(workers*calls) / whole.Seconds()
}

// pythonEndToEnd runs the same job in Python, which prints its own seconds.
func pythonEndToEnd(b *testing.B, python string, workers, calls int) float64 {
	path := filepath.Join(b.TempDir(), "run.jsonl")
	cmd := exec.Command(python, "python/queue_listener.py", path, strconv.Itoa(workers), strconv.Itoa(calls))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("queue_listener.py: %v", err)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatalf("queue_listener.py printed %q", out)
	}
	countLines(b, path, workers*calls)
	return float64(workers*calls) / seconds
}

func countLines(b *testing.B, path string, want int) {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n != want {
		b.Fatal(fmt.Errorf("%s: %d records, want %d", path, n, want))
	}
}
