package ring_test

import (
	"syscall"
	"testing"
	"time"

	"shmkit/ring"
)

// twice returns two mappings of one ring.
func twice(t testing.TB, capacity, maxRecord int) (one, other []byte) {
	t.Helper()
	size, err := ring.Size(capacity, maxRecord)
	if err != nil {
		t.Fatal(err)
	}
	f := memfd(t, size)
	return mapped(t, f, size), mapped(t, f, size)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
