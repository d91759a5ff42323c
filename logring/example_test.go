package logring_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"shmkit/logring"
)

// Node and worker in one process: the files and words that Donate returns go to
// the worker by inheritance otherwise, and the bell through its control socket.
func Example() {
	ctx := context.Background()
	show := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" || a.Key == "pid" {
			return slog.Attr{} // they differ each time
		}
		return a
	}})
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{logring.FromHandler(show)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	files, words, lease, err := c.Donate("count", 3, 4)
	if err != nil {
		fmt.Println(err)
		return
	}

	w, err := logring.Attach(files, words, func() error {
		lease.(interface{ Message([]byte, []*os.File) }).Message(nil, nil)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	log := slog.New(w.Handler(nil))
	log.Debug("not wanted yet")
	log.Info("indexed", "path", "a.go", "lines", 120)
	c.SetLevel(slog.LevelDebug)
	log.Debug("wanted now", slog.Group("file", "size", 3141))
	w.Close()

	lease.Close() // the worker is dead: drain what it left
	c.Close(ctx)
	s := c.Stats()
	fmt.Println("attempted", s.Attempted, "delivered", s.Delivered)
	// Output:
	// level=INFO msg=indexed group=count worker=3 path=a.go lines=120
	// level=DEBUG msg="wanted now" group=count worker=3 file.size=3141
	// attempted 2 delivered 2
}

var sample = []logring.Record{
	{Time: time.Date(2025, 1, 2, 15, 4, 5, 123456789, time.UTC), Level: slog.LevelInfo, Message: "indexed a.go", Group: "count", Worker: 3, PID: 4711},
	{Time: time.Date(2025, 1, 2, 15, 4, 5, 124000000, time.UTC), Level: slog.LevelWarn, Message: "two\nlines, \x1b[31mred", Group: "job", Worker: 0, PID: 4712, Stream: "stderr"},
}

func ExampleJSON() {
	logring.JSON(os.Stdout).Write(sample)
	// Output:
	// {"time":"2025-01-02T15:04:05.123456789Z","level":"INFO","msg":"indexed a.go","group":"count","worker":3,"pid":4711}
	// {"time":"2025-01-02T15:04:05.124Z","level":"WARN","msg":"two\nlines, \u001b[31mred","group":"job","worker":0,"pid":4712,"stream":"stderr"}
}

func ExampleText() {
	logring.Text(os.Stdout).Write(sample)
	// Output:
	// time=2025-01-02T15:04:05.123456789Z level=INFO msg="indexed a.go" group=count worker=3 pid=4711
	// time=2025-01-02T15:04:05.124Z level=WARN msg="two\nlines, \u001b[31mred" group=job worker=0 pid=4712 stream=stderr
}

func ExampleConsole() {
	logring.Console(os.Stdout).Write(sample)
	// Output:
	// 15:04:05.123 INFO  count/3 indexed a.go
	// 15:04:05.124 WARN  job/0 stderr| two\nlines, \u001b[31mred
}

func ExampleFromHandler() {
	h := slog.NewJSONHandler(os.Stdout, nil)
	logring.FromHandler(h).Write(sample[:1])
	// Output:
	// {"time":"2025-01-02T15:04:05.123456789Z","level":"INFO","msg":"indexed a.go","group":"count","worker":3,"pid":4711}
}

// Warnings on the terminal, everything in the file.
func ExampleWith() {
	file, err := logring.OpenJSON(os.DevNull)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{
		logring.With(file, logring.SinkOptions{Name: "file"}),
		logring.With(logring.Console(os.Stdout), logring.SinkOptions{Name: "terminal", Level: slog.LevelWarn}),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Line("job", 0, 4712, "stdout", []byte("working"), false)
	c.Close(context.Background())
	for _, s := range c.Stats().Sinks {
		fmt.Println(s.Name, "written", s.Written, "filtered", s.Filtered)
	}
	// Output:
	// file written 1 filtered 0
	// terminal written 0 filtered 1
}

// Lines of a captured stream, and the node's own records.
func ExampleCollector_Line() {
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{printer{}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Line("job", 0, 4712, "stdout", []byte("step 1 of 2"), false)
	c.Line("job", 0, 4712, "stderr", []byte("oh no"), false)
	slog.New(c.Handler()).Info("worker ended", "code", 1)
	c.Close(context.Background())
	// Output:
	// INFO job/0 stdout: step 1 of 2
	// WARN job/0 stderr: oh no
	// INFO node/-1 : worker ended code=1
}

// A Sink of one's own.
type printer struct{}

func (printer) Write(batch []logring.Record) error {
	for i := range batch {
		r := &batch[i]
		fmt.Printf("%v %s/%d %s: %s", r.Level, r.Group, r.Worker, r.Stream, r.Message)
		r.Attrs(func(a slog.Attr) bool {
			fmt.Printf(" %s=%v", a.Key, a.Value)
			return true
		})
		fmt.Println()
	}
	return nil
}

func (printer) Sync() error  { return nil }
func (printer) Close() error { return nil }
