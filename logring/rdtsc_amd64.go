package logring

// rdtsc reads the time stamp counter. It is used only where the kernel makes its own
// clock of it ([ticksTrusted]). BenchmarkClocks shows what it saves.
//
//go:noescape
func rdtsc() uint64

const hasTicks = true
