package logring_test

import (
	"fmt"
	"log/slog"

	"shmkit/logring"
)

// Loggers with names have levels of their own, which change while they run.
func ExampleCollector_SetLevels() {
	c, w, done := showing(logring.CollectorOptions{})
	defer done()

	log := slog.New(w.Handler(nil))
	db := log.With(logring.LoggerKey, "db.pool")
	db.Debug("not wanted yet")
	err := c.SetLevels(map[string]slog.Level{
		"db.*":         slog.LevelDebug, // db and all below it, everywhere
		"count/3:http": slog.LevelError, // one logger of one worker
	})
	if err != nil {
		fmt.Println(err)
	}
	db.Debug("wanted now", "open", 7)
	log.Debug("still not wanted")
	log.With(logring.LoggerKey, "http").Warn("not wanted any more")
	// Output:
	// level=DEBUG msg="wanted now" logger=db.pool open=7
}
