package logring_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"shmkit/logring"
)

// One file gets everything and is durable within a second; the terminal gets warnings,
// without what only a machine wants to read.
func ExampleOpenFile() {
	dir, err := os.MkdirTemp("", "logring")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "run.log")

	file, err := logring.OpenFile(path, logring.FileOptions{Format: logring.TextFormat})
	if err != nil {
		panic(err)
	}
	_, err = logring.OpenFile(path, logring.FileOptions{})
	fmt.Println("a second writer:", err != nil)

	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{
		logring.With(file, logring.SinkOptions{Sync: logring.SyncPolicy{Every: time.Second, Level: slog.LevelError}}),
		logring.With(printer{}, logring.SinkOptions{
			Level:  slog.LevelWarn,
			Fields: &logring.Fields{Drop: []string{"trace"}, Rename: map[string]string{"http.status": "code"}},
		}),
	}})
	if err != nil {
		panic(err)
	}
	log := slog.New(c.Handler())
	log.Info("started")
	log.Warn("refused", "trace", "8f3a", slog.Group("http", "status", 403))
	c.Close(context.Background())
	// Output:
	// a second writer: true
	// WARN node/-1 : refused http=[code=403]
}
