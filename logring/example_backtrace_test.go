package logring_test

import (
	"log/slog"

	"shmkit/logring"
)

// Debug records are kept in memory, and shown when something goes wrong.
func ExampleBacktrace() {
	_, w, done := showing(logring.CollectorOptions{Backtrace: &logring.Backtrace{}})
	defer done()

	log := slog.New(w.Handler(nil))
	log.Debug("request", "id", 7)
	log.Debug("cache miss", "id", 7)
	log.Error("no answer", "id", 7)
	log.Debug("closed without need")
	// Output:
	// level=DEBUG msg=request backtrace=true id=7
	// level=DEBUG msg="cache miss" backtrace=true id=7
	// level=ERROR msg="no answer" id=7
}
