package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	phuslu "github.com/phuslu/log"
	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/natefinch/lumberjack.v2"

	"shmkit"
	"shmkit/adapters/rotatefile"
	"shmkit/logring"
	"shmkit/spawn"
)

// A fileJob is what a worker logs into a file of the node.
type fileJob struct {
	Level      string `json:"level"`
	Goroutines int    `json:"goroutines"`
	Calls      int    `json:"calls"` // of each
	Event      bool   `json:"event"` // native events, not slog
}

// funcFile tells the time from the first call until the node has written everything.
var funcFile = shmkit.Func("bench-file", func(ctx context.Context, w *shmkit.Worker) error {
	job := shmkit.Config[fileJob](w).Load()
	log := viaSlog(w.Log.Handler())
	if job.Event {
		log = func(i int) { evRequest.Log(w.Writer(), runtimeInt+i, runtimeString, runtimeFloat) }
	}
	start := time.Now()
	fromMany(job.Goroutines, job.Calls, log)
	if err := w.Writer().FlushTo(ctx, logring.Written); err != nil {
		return err
	}
	return tell(w, time.Since(start))
})

// fromMany makes the calls of each of n goroutines.
func fromMany(n, calls int, log func(int)) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for i := range calls {
				log(i)
			}
		})
	}
	all.Wait()
}

// shmkitFile returns the nanoseconds a record of one worker until sink has it.
func shmkitFile(b *testing.B, job fileJob, sink logring.Sink) float64 {
	rep := &report{}
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Dir: b.TempDir(), Config: job, Sinks: []logring.Sink{sink}, Resources: map[string]spawn.Resource{"report": rep},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: funcFile, Workers: 1})
	if err == nil {
		err = group.Wait()
	}
	if err != nil {
		b.Fatal(err)
	}
	if err := node.Close(); err != nil {
		b.Fatal(err)
	}
	return rep.take()[0] / float64(job.Goroutines*job.Calls)
}

// The loggers of one process that write JSON lines with the same time, level, message
// and three values into a file, each call with a write of its own.
var fileLoggers = []struct {
	name string
	make func(f io.Writer) func(int)
}{
	{"slog", func(f io.Writer) func(int) { return viaSlog(slog.NewJSONHandler(f, nil)) }},
	{"zap", func(f io.Writer) func(int) {
		c := zap.NewProductionEncoderConfig()
		c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		l := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(c), zapcore.AddSync(f), zap.InfoLevel))
		return func(i int) {
			l.Info("request", zap.Int("n", runtimeInt+i), zap.String("path", runtimeString), zap.Float64("ms", runtimeFloat))
		}
	}},
	{"zerolog", func(f io.Writer) func(int) {
		l := zerologTo(f)
		return func(i int) {
			l.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
		}
	}},
	{"phuslu", func(f io.Writer) func(int) {
		l := phuslu.Logger{TimeFormat: time.RFC3339Nano, Writer: phuslu.IOWriter{Writer: f}}
		return func(i int) {
			l.Info().Int("n", runtimeInt+i).Str("path", runtimeString).Float64("ms", runtimeFloat).Msg("request")
		}
	}},
}

// zerologTo makes zerolog's logger with the time in nanoseconds, as all others have it.
func zerologTo(w io.Writer) zerolog.Logger {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	return zerolog.New(w).With().Timestamp().Logger()
}

// BenchmarkFile is the time a record takes until it is written into one JSON file, flat
// out, from 1 and from 64 goroutines: a worker through its node, as slog calls and as
// native events, against loggers that write into the file themselves, and spdlog's
// asynchronous logger in C++, which formats its lines as JSON and has a writer thread as
// we have a node.
func BenchmarkFile(b *testing.B) {
	const records = 128_000
	spd := spdlogFile(b)
	for _, g := range []int{1, 64} {
		b.Run(strconv.Itoa(g), func(b *testing.B) {
			ns := map[string][]float64{}
			for b.Loop() {
				for round := range 5 {
					path := func(name string) string {
						return filepath.Join(b.TempDir(), fmt.Sprintf("%s-%d.jsonl", name, round))
					}
					for name, event := range map[string]bool{"shmkit-slog": false, "shmkit-event": true} {
						p := path(name)
						sink, err := logring.OpenJSON(p)
						if err != nil {
							b.Fatal(err)
						}
						ns[name] = append(ns[name], shmkitFile(b, fileJob{"info", g, records / g, event}, sink))
						countLines(b, p, records)
					}
					for _, l := range fileLoggers {
						p := path(l.name)
						f, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
						if err != nil {
							b.Fatal(err)
						}
						log := l.make(f)
						start := time.Now()
						fromMany(g, records/g, log)
						ns[l.name] = append(ns[l.name], float64(time.Since(start))/records)
						f.Close()
						countLines(b, p, records)
					}
					if spd != "" {
						p := path("spdlog")
						ns["spdlog"] = append(ns["spdlog"], runPeer(b, spd, p, records, strconv.Itoa(g)))
						countLines(b, p, records)
					}
				}
			}
			reportParties(b, "ns/record", "shmkit-slog", ns)
		})
	}
}

// BenchmarkRotate is the time a record takes until it is written into files of 2 MiB, the
// newest three kept: slog in a worker through its node and adapters/rotatefile, against
// slog's JSON handler over lumberjack.
func BenchmarkRotate(b *testing.B) {
	const records = 128_000
	ns := map[string][]float64{}
	for b.Loop() {
		for range 5 {
			sink, err := rotatefile.Open(filepath.Join(b.TempDir(), "ours.jsonl"), rotatefile.Options{Megabytes: 2, Keep: 3})
			if err != nil {
				b.Fatal(err)
			}
			ns["shmkit"] = append(ns["shmkit"], shmkitFile(b, fileJob{"info", 1, records, false}, sink))
			jack := &lumberjack.Logger{Filename: filepath.Join(b.TempDir(), "theirs.jsonl"), MaxSize: 2, MaxBackups: 3}
			log := viaSlog(slog.NewJSONHandler(jack, nil))
			start := time.Now()
			fromMany(1, records, log)
			ns["lumberjack"] = append(ns["lumberjack"], float64(time.Since(start))/records)
			jack.Close()
		}
	}
	reportParties(b, "ns/record", "shmkit", ns)
}
