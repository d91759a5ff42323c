package logring_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"shmkit/logring"
)

// A record is safe once its call has returned. Who wants to know that it is on disk
// asks for it.
func ExampleWriter_FlushTo() {
	_, w, done := showing(logring.CollectorOptions{})
	defer done()

	slog.New(w.Handler(nil)).Info("checkpoint", "step", 1000)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println("synced:", w.FlushTo(ctx, logring.Synced) == nil)
	// Output:
	// level=INFO msg=checkpoint step=1000
	// synced: true
}
