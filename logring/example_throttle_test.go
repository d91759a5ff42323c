package logring_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"shmkit/logring"
)

// Of a message that repeats, the first two and then one of a hundred in each interval
// are enough. How many are missing is told in the stream.
func ExampleSample() {
	_, w, done := showing(logring.CollectorOptions{})
	log := slog.New(w.Handler(&logring.HandlerOptions{
		Sample: logring.Sample{First: 2, Every: 100, Interval: time.Hour},
		Filter: func(_ context.Context, r slog.Record) bool { return !strings.HasPrefix(r.Message, "/health") },
	}))
	for i := range 150 {
		log.Info("cache miss", "i", i)
		log.Info("/health asked")
	}
	done() // tells what the hour would have told
	// Output:
	// level=INFO msg="cache miss" i=0
	// level=INFO msg="cache miss" i=1
	// level=INFO msg="cache miss" i=101
	// level=INFO msg=suppressed of="cache miss" dropped=147 reason=sampled
}

// At most ten records a second of each logger, for code that does not log through
// a handler.
func ExampleWriter_NewThrottle() {
	_, w, done := showing(logring.CollectorOptions{})
	defer done()

	throttle := w.NewThrottle(logring.Sample{}, logring.Limit{Rate: 1e-3, Burst: 10})
	passed := 0
	for range 100 {
		if throttle.Allow("db", "", slog.LevelInfo) {
			passed++ // log here
		}
	}
	fmt.Println(passed)
	// Output:
	// 10
	// level=INFO msg=suppressed logger=db dropped=90 reason=limited
}
