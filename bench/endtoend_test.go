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
// shmkit, by native events and by slog, against Python's QueueHandler and QueueListener
// with the forkserver start method. Same message, same three fields, same JSON keys.
//
// The bar: at least 60 times the records per second.
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
	var events, slogs, theirs []float64
	for b.Loop() {
		for range 5 {
			events = append(events, shmkitEndToEnd(b, funcLogEvents, workers, calls))
			slogs = append(slogs, shmkitEndToEnd(b, funcLog, workers, calls))
			theirs = append(theirs, pythonEndToEnd(b, python, workers, pythonCalls))
		}
	}
	figure(b, "event-records/s", events)
	figure(b, "slog-records/s", slogs)
	figure(b, "python-records/s", theirs)
	figure(b, "event/python", over(events, theirs))
	figure(b, "slog/python", over(slogs, theirs))
}

func shmkitEndToEnd(b *testing.B, fn string, workers, calls int) float64 {
	path := filepath.Join(b.TempDir(), "run.jsonl")
	sink, err := logring.OpenJSON(path)
	if err != nil {
		b.Fatal(err)
	}
	_, whole := runWorkers(b, fn, workers, calls, sink)
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
