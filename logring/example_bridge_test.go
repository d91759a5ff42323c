package logring_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"shmkit/logring"
)

// showing returns a collector that prints its records without what differs from
// run to run, and a worker's end of a ring in the same process.
func showing(o logring.CollectorOptions) (c *logring.Collector, w *logring.Writer, done func()) {
	show := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case "time", "pid", "group", "worker", "since", "for":
			return slog.Attr{}
		}
		return a
	}})
	o.Sinks = append(o.Sinks, logring.FromHandler(show))
	c, err := logring.NewCollector(o)
	if err != nil {
		panic(err)
	}
	files, words, lease, err := c.Donate("count", 3, 4)
	if err != nil {
		panic(err)
	}
	bell := lease.(interface{ Message([]byte, []*os.File) })
	w, err = logring.Attach(files, words, func() error { bell.Message(nil, nil); return nil })
	if err != nil {
		panic(err)
	}
	return c, w, func() {
		w.Close()
		lease.Close()
		c.Close(context.Background())
	}
}

// Code that only knows how to write text.
func ExampleNewLineWriter() {
	_, w, done := showing(logring.CollectorOptions{})
	defer done()

	out := logring.NewLineWriter(w.Handler(nil).WithAttrs([]slog.Attr{slog.String("tool", "make")}), logring.LineOptions{Level: slog.LevelWarn})
	defer out.Close() // writes what has no newline
	fmt.Fprint(out, "one line\nand ")
	fmt.Fprint(out, "another\nthe end")
	// Output:
	// level=WARN msg="one line" tool=make
	// level=WARN msg="and another" tool=make
	// level=WARN msg="the end" tool=make
}

// Everything that logs without being told where.
func ExampleCaptureDefault() {
	_, w, done := showing(logring.CollectorOptions{})
	defer done()
	defer logring.CaptureDefault(w.Handler(nil), slog.LevelInfo)()

	log.Printf("%d files", 12)
	slog.Warn("slow", "sec", 3)
	// Output:
	// level=INFO msg="12 files"
	// level=WARN msg=slow sec=3
}

// Code that takes a *log.Logger.
func Example_logLogger() {
	_, w, done := showing(logring.CollectorOptions{})
	defer done()

	old := slog.NewLogLogger(w.Handler(nil), slog.LevelError)
	old.Print("http: TLS handshake error")
	// Output:
	// level=ERROR msg="http: TLS handshake error"
}
