package callgrind

// HotPaths are benchmarks of one goroutine whose every operation does the same. A record
// of the ring is counted with its reading; a log call with its record's taking out, by a
// collector that does nothing else.
var HotPaths = []HotPath{
	{"./cfgblob", "Load"},
	{"./seqlock", "Read/64/Latch"},
	{"./seqlock", "Write/64/Latch"},
	{"./ring", "Alone/batch"},
	{"./logring", "Producer/event"},
	{"./logring", "Producer/slog_empty_handler"},
	{"./logring", "Producer/slog"},
	{"./logring", "Event/native_disabled"},
	{"./spawn", "Beat"},
}
