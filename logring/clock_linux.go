package logring

import "golang.org/x/sys/unix"

// systemMonotonic reads CLOCK_MONOTONIC.
func systemMonotonic() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}
