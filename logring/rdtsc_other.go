//go:build !amd64

package logring

// rdtsc is never called here: the monotonic clock is used.
func rdtsc() uint64 { return 0 }

const hasTicks = false
