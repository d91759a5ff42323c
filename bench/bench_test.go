package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"shmkit"
	"shmkit/logring"
	"shmkit/spawn"
)

// The worker processes of the benchmarks are this binary.
func TestMain(m *testing.M) {
	shmkit.Main()
	os.Exit(m.Run())
}

// benchConfig is what the worker functions are told.
type benchConfig struct {
	Level string `json:"level"`
	Calls int    `json:"calls"`
}

// attr values that the compiler cannot know: constants would hide the cost of
// boxing them.
var (
	runtimeInt    = len(os.Args) + 41
	runtimeString = "GET /index.html" + os.Getenv("SHMKIT_BENCH_SUFFIX")
	runtimeFloat  = float64(os.Getpid()) / 3
)

// report is a resource through which a worker tells one figure.
type report struct {
	mu      sync.Mutex
	figures []float64
}

func (r *report) Donate(string, int, int) ([]*os.File, []string, io.Closer, error) {
	return nil, nil, reportLease{r}, nil
}

type reportLease struct{ r *report }

func (l reportLease) Close() error { return nil }

func (l reportLease) Message(p []byte, _ []*os.File) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.r.figures = append(l.r.figures, float64(binary.LittleEndian.Uint64(p)))
}

func (r *report) take() []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.figures
	r.figures = nil
	return f
}

func tell(w *shmkit.Worker, d time.Duration) error {
	return w.Send("report", binary.LittleEndian.AppendUint64(nil, uint64(d)))
}

var funcLog = shmkit.Func("bench-log", func(ctx context.Context, w *shmkit.Worker) error {
	n := shmkit.Config[benchConfig](w).Load().Calls
	start := time.Now()
	for i := range n {
		w.Log.LogAttrs(ctx, slog.LevelInfo, "request", slog.Int("n", runtimeInt+i),
			slog.String("path", runtimeString), slog.Float64("ms", runtimeFloat))
	}
	return tell(w, time.Since(start))
})

// funcLogEvents is funcLog with native events.
var funcLogEvents = shmkit.Func("bench-log-events", func(ctx context.Context, w *shmkit.Worker) error {
	n := shmkit.Config[benchConfig](w).Load().Calls
	start := time.Now()
	for i := range n {
		evRequest.Log(w.Writer(), runtimeInt+i, runtimeString, runtimeFloat)
	}
	return tell(w, time.Since(start))
})

var funcConfig = shmkit.Func("bench-config", func(ctx context.Context, w *shmkit.Worker) error {
	cfg := shmkit.Config[benchConfig](w)
	n := cfg.Load().Calls
	sum := 0
	start := time.Now()
	for range n {
		sum += cfg.Load().Calls
	}
	d := time.Since(start)
	if sum != n*n {
		return errors.New("the configuration changed: " + strconv.Itoa(sum))
	}
	return tell(w, d)
})

// runWorkers starts a node with n workers of fn and returns what each reported
// and the time from the first start to the node's Close, when all is written.
func runWorkers(tb testing.TB, fn string, n, calls int, sinks ...logring.Sink) (figures []float64, whole time.Duration) {
	tb.Helper()
	rep := &report{}
	start := time.Now()
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Name:      fmt.Sprintf("bench-%d", os.Getpid()),
		Dir:       tb.TempDir(),
		Config:    benchConfig{Level: "info", Calls: calls},
		Sinks:     sinks,
		Resources: map[string]spawn.Resource{"report": rep},
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: fn, Workers: n})
	if err != nil {
		tb.Fatal(err)
	}
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
	if err := node.Close(); err != nil {
		tb.Fatal(err)
	}
	whole = time.Since(start)
	if s := node.Stats(); (fn == funcLog || fn == funcLogEvents) && s.Delivered < uint64(n*calls) {
		tb.Fatalf("%d of %d records were delivered", s.Delivered, n*calls)
	}
	if figures = rep.take(); len(figures) != n {
		tb.Fatalf("%d of %d workers reported", len(figures), n)
	}
	return figures, whole
}
