package logring_test

import (
	"log/slog"

	"shmkit/logring"
)

// What a log call does when the node does not keep up depends on the level: errors wait
// for room, infos are dropped, of debug records the newest are kept. For each, a
// record in the stream tells how many are missing.
func ExamplePolicy() {
	_, w, done := showing(logring.CollectorOptions{
		Level:  slog.LevelDebug,
		Policy: logring.OverwriteOldest,
		PolicyFrom: map[slog.Level]logring.Policy{
			slog.LevelInfo:  logring.DropNew,
			slog.LevelError: logring.Block,
		},
	})
	defer done()
	slog.New(w.Handler(nil)).Debug("kept if there is room, and if not, longer than older ones")
	// Output:
	// level=DEBUG msg="kept if there is room, and if not, longer than older ones"
}
