package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/phuslu/log"

	"shmkit"
	"shmkit/logring"
	"shmkit/spawn"
)

var evRequest = logring.NewEvent3[int, string, float64](slog.LevelInfo, "request", "n", "path", "ms")

// The parties of a hot path: each logs the same message with the same three
// values. Ours goes to a node in another process, the others format JSON and throw it
// away.
var hotPaths = []struct {
	name string
	make func(*logring.Writer) func(i int)
}{
	{"event", func(w *logring.Writer) func(int) {
		return func(i int) { evRequest.Log(w, runtimeInt+i, runtimeString, runtimeFloat) }
	}},
	{"slog", func(w *logring.Writer) func(int) { return viaSlog(w.Handler(nil)) }},
	{"slog empty", func(*logring.Writer) func(int) { return viaSlog(empty{}) }},
	{"slog phuslu", func(*logring.Writer) func(int) {
		return viaSlog(log.SlogNewJSONHandler(io.Discard, nil))
	}},
	{"phuslu", func(*logring.Writer) func(int) {
		l := log.Logger{Writer: log.IOWriter{Writer: io.Discard}}
		return func(i int) {
			l.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
		}
	}},
	{"zerolog", func(*logring.Writer) func(int) {
		l := zerologTo(io.Discard)
		return func(i int) {
			l.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
		}
	}},
}

type empty struct{}

func (empty) Enabled(context.Context, slog.Level) bool  { return true }
func (empty) Handle(context.Context, slog.Record) error { return nil }
func (h empty) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h empty) WithGroup(string) slog.Handler           { return h }

func viaSlog(h slog.Handler) func(int) {
	l := slog.New(h)
	return func(i int) {
		l.LogAttrs(context.Background(), slog.LevelInfo, "request", slog.Int("n", runtimeInt+i),
			slog.String("path", runtimeString), slog.Float64("ms", runtimeFloat))
	}
}

// quill's method: a batch is 20 calls in a row, its figure their mean, and between
// batches the backend has 2 ms, spent spinning, to catch up. The percentiles are of
// batches. Single calls, timed each, are given beside it: they include the clock.
const (
	batchCalls = 20
	batches    = 300
	batchRest  = 2 * time.Millisecond
)

var percentiles = []float64{50, 99, 99.9}

// funcHotPath reports, for the party that calls names, the percentiles of batches, then
// of calls. A process has one party: a program has one logger, and its code and
// data stay in the caches between the batches.
var funcHotPath = shmkit.Func("bench-hotpath", func(ctx context.Context, w *shmkit.Worker) error {
	events, err := attachEvents(w)
	if err != nil {
		return err
	}
	defer events.Close()
	log := hotPaths[shmkit.Config[benchConfig](w).Load().Calls].make(events)
	for b := range batches / 10 { // the process is young: what starts it up is to be over
		log(b)
		spin(batchRest)
	}
	var batch, single []time.Duration
	for b := range batches {
		start := time.Now()
		for i := range batchCalls {
			log(b + i)
		}
		batch = append(batch, time.Since(start))
		spin(batchRest)
	}
	for b := range batches {
		for i := range batchCalls {
			start := time.Now()
			log(b + i)
			single = append(single, time.Since(start))
		}
		spin(batchRest / 4)
	}
	for _, all := range [][]time.Duration{batch, single} {
		slices.Sort(all)
		for _, q := range percentiles {
			if err := tell(w, all[min(int(float64(len(all))*q/100), len(all)-1)]); err != nil {
				return err
			}
		}
	}
	return nil
})

// runHotPath runs one party and returns its percentiles in ns, of batches per call.
func runHotPath(tb testing.TB, party int) []float64 {
	tb.Helper()
	f := withEvents(tb, funcHotPath, party, logring.JSON(io.Discard))
	for i := range percentiles {
		f[i] /= batchCalls
	}
	return f
}

func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// attachEvents takes over the log that is donated beside the worker's own.
func attachEvents(w *shmkit.Worker) (*logring.Writer, error) {
	files, words, ok := w.Resource("events")
	if !ok {
		return nil, fmt.Errorf("no log was donated")
	}
	return logring.Attach(files, words, func() error { return w.Send("events", nil) })
}

// withEvents runs one worker of fn with a log of its own into sink.
func withEvents(tb testing.TB, fn string, calls int, sink logring.Sink) []float64 {
	tb.Helper()
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{sink}})
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close(context.Background())
	rep := &report{}
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Name: fmt.Sprintf("bench-%d", os.Getpid()), Dir: tb.TempDir(), Config: benchConfig{Level: "info", Calls: calls},
		Resources: map[string]spawn.Resource{"report": rep, "events": c},
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: fn, Workers: 1})
	if err != nil {
		tb.Fatal(err)
	}
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
	if err := c.Flush(context.Background()); err != nil {
		tb.Fatal(err)
	}
	if s := c.Stats(); len(s.Dropped) > 0 {
		tb.Fatalf("records were dropped: %+v", s)
	}
	return rep.take()
}

// BenchmarkHotPath compares what one call costs the caller, by quill's method. The
// parties take turns, each in a process of its own.
//
// The bars: an event at most a quarter of phuslu and zerolog; slog at most 60 ns more
// than slog with a handler that does nothing, and less than phuslu's handler; and an event
// at most 1.5 times quill, see [BenchmarkQuill].
func BenchmarkHotPath(b *testing.B) {
	pinPair(b)
	all := make([][][]float64, len(hotPaths)) // by party, percentile, round
	for b.Loop() {
		for range 5 {
			for p := range hotPaths {
				for i, f := range runHotPath(b, p) {
					if all[p] == nil {
						all[p] = make([][]float64, 2*len(percentiles))
					}
					all[p][i] = append(all[p][i], f)
				}
			}
		}
	}
	at := func(party, i int) float64 { m, _ := median(all[party][i]); return m }
	for p, x := range hotPaths {
		b.Logf("%-12s batches p50 %5.0f p99 %5.0f p99.9 %6.0f ns, calls p50 %5.0f p99 %5.0f p99.9 %6.0f ns", x.name,
			at(p, 0), at(p, 1), at(p, 2), at(p, 3), at(p, 4), at(p, 5))
	}
	event, slogs := all[0][0], all[1][0]
	figure(b, "event-ns", event)
	figure(b, "phuslu-ns", all[4][0])
	figure(b, "zerolog-ns", all[5][0])
	figure(b, "phuslu/event", over(all[4][0], event))
	figure(b, "zerolog/event", over(all[5][0], event))
	figure(b, "slog-ns", slogs)
	figure(b, "phuslu-slog-ns", all[3][0])
	figure(b, "slog-over-empty-ns", minus(slogs, all[2][0]))
	figure(b, "phuslu-slog/slog", over(all[3][0], slogs))
}

const crowd, burstsATurn = 64, 7

// funcCrowd logs in bursts from 64 goroutines; the node has caught up before each.
var funcCrowd = shmkit.Func("bench-crowd", func(ctx context.Context, w *shmkit.Worker) error {
	events, err := attachEvents(w)
	if err != nil {
		return err
	}
	defer events.Close()
	log := hotPaths[0].make(events)
	for range burstsATurn {
		if err := events.Flush(ctx); err != nil {
			return err
		}
		if err := tell(w, timeCrowd(shmkit.Config[benchConfig](w).Load().Calls, log)); err != nil {
			return err
		}
	}
	return nil
})

// timeCrowd runs the calls of 64 goroutines and returns the time of all.
func timeCrowd(calls int, log func(int)) time.Duration {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for range crowd {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			for i := range calls {
				log(i)
			}
		})
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	done.Wait()
	return time.Since(start)
}

// BenchmarkCrowd compares a burst of 64 goroutines into one file: events, which the
// node writes as JSON, against zerolog writing to the file itself. The clock runs until
// the last call has returned.
//
// The bar: events cost at most a fifth.
func BenchmarkCrowd(b *testing.B) {
	const calls = 100
	var ours, theirs []float64
	for b.Loop() {
		for range rounds {
			sink, err := logring.OpenJSON(filepath.Join(b.TempDir(), "ours.jsonl"))
			if err != nil {
				b.Fatal(err)
			}
			f := withEvents(b, funcCrowd, calls, sink)
			mid, _ := median(f)
			ours = append(ours, mid/(calls*crowd))
			file, err := os.Create(filepath.Join(b.TempDir(), "theirs.jsonl"))
			if err != nil {
				b.Fatal(err)
			}
			l := zerologTo(file)
			var bursts []float64
			for range burstsATurn {
				bursts = append(bursts, float64(timeCrowd(calls, func(i int) {
					l.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
				}))/(calls*crowd))
			}
			mid, _ = median(bursts)
			theirs = append(theirs, mid)
			file.Close()
		}
	}
	reportPair(b, "ns/call", ours, theirs)
}
