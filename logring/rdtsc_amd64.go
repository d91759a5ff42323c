package logring

// rdtsc reads the time stamp counter. It is used only where the kernel itself
// takes the counter for its clock, having found it constant, never stopping and
// the same on all CPUs ([ticksTrusted]). BenchmarkClocks shows what it saves.
//
//go:noescape
func rdtsc() uint64

const hasTicks = true
