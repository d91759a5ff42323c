package main

var rows = []row{
	{What: "native log event, p50", Bench: "bench.HotPath", Ours: "event-ns", Theirs: "peer-ns", TheirsBench: "bench.LTTng", Peer: "LTTng-UST", Unit: "ns"},
	{What: "`slog` call in a worker, JSON by the node, flat out", Bench: "bench.LogCall", Ours: "shmkit-ns/call", Theirs: "peer-ns/call", Peer: "zerolog to a pipe", Unit: "ns"},
	{What: "the same from 64 goroutines in bursts, native events", Bench: "bench.Crowd", Ours: "shmkit-ns/call", Theirs: "peer-ns/call", Peer: "zerolog to a file", Unit: "ns"},
	{What: "one record until it is in one JSON file, flat out, native events", Bench: "bench.File/1", Ours: "shmkit-event-ns/record", Theirs: "zap-ns/record", Peer: "zap", Unit: "ns"},
	{What: "the same, `slog`, 64 goroutines", Bench: "bench.File/64", Ours: "shmkit-slog-ns/record", Theirs: "slog-ns/record", Peer: "`slog.JSONHandler`", Unit: "ns"},
	{What: "the same into rotated files", Bench: "bench.Rotate", Ours: "shmkit-ns/record", Theirs: "lumberjack-ns/record", Peer: "`slog` over lumberjack", Unit: "ns"},
	{What: "4 processes into one JSON file", Bench: "bench.EndToEnd", Ours: "shmkit-records/s", Theirs: "python-records/s", Peer: "Python's QueueListener", Unit: "records/s"},
	{What: "reading the live configuration in a worker", Bench: "bench.ConfigLoad", Ours: "ns/load", Theirs: "peer-ns/read", TheirsBench: "bench.ConfigPython", Peer: "Python's `Manager().dict`", Unit: "ns"},
	{What: "a value by its path", Bench: "bench.ConfigGet", Ours: "ns/get", Theirs: "viper-ns/get", Peer: "viper (one process)", Unit: "ns"},
	{What: "a change seen by the last of 64 sleeping workers, p50", Bench: "bench.ConfigWatch/64", Ours: "p50-µs", Unit: "µs"},
	{What: "ring, 64-byte records between two processes", Bench: "bench.RingThroughput", Ours: "shmkit-M/s", Theirs: "boost-M/s", Peer: "Boost.Lockfree `spsc_queue`", Unit: "M/s"},
	{What: "ring, round trip, both sides polling, p50", Bench: "bench.RingRoundTrip", Ours: "shmkit-p50-ns", Theirs: "boost-p50-ns", Peer: "Boost.Lockfree", Unit: "ns"},
	{What: "ring, round trip, both sides parking, p50", Bench: "bench.RingParked/hot", Ours: "shmkit-p50-ns", Theirs: "socket-p50-ns", Peer: "Unix socket", Unit: "µs", Scale: 1e-3},
	{What: "ring, 1 MiB there and back, p50", Bench: "bench.LargeRecords/1048576", Ours: "shmkit-p50-µs", Theirs: "shmipc-p50-µs", Peer: "shmipc-go", Unit: "µs"},
	{What: "latch, reading 64 bytes", Bench: "bench.Latch", Ours: "shmkit-read-ns", Theirs: "gvisor-read-ns", Peer: "gVisor `SeqCount` with a plain copy", Unit: "ns"},
	{What: "start and end of a function worker, log and configuration attached", Bench: "bench.Spawn", Ours: "shmkit-ms", Theirs: "exec-ms", Peer: "`os/exec` of the same binary", Unit: "ms"},
	{What: "small query on the node's SQLite, p50", Bench: "adapters/sqlitedb.Latency", Ours: "forwarded-ns", Theirs: "direct-ns", Peer: "direct", Unit: "µs", Scale: 1e-3},
	{What: "8 processes appending records to one file", Bench: "dataio/recfile.Workers", Ours: "node-Mrec/s", Theirs: "flock-Mrec/s", Peer: "`O_APPEND` under `flock`", Unit: "M/s"},
}
