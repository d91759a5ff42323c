package logring_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"shmkit/logring"
)

// A run that was killed is looked after by the next one, or by hand.
func ExampleSalvage() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	crash := filepath.Join(dir, "crash") // on /dev/shm in earnest

	c, err := logring.NewCollector(logring.CollectorOptions{CrashDir: crash})
	if err != nil {
		panic(err)
	}
	// … workers log, and the node is not killed.
	if err := c.Close(context.Background()); err != nil {
		panic(err)
	}

	found, err := logring.Salvage(context.Background(), crash, logring.SalvageOptions{Sinks: []logring.Sink{logring.Text(os.Stdout)}})
	if err != nil {
		panic(err)
	}
	fmt.Println(found.Records, "records of", found.Segments, "workers")
	// Output: 0 records of 0 workers
}
