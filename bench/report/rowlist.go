package main

var rows = []row{
	{What: "ring, 64-byte records between two processes", Bench: "bench.RingThroughput", Ours: "shmkit-M/s", Theirs: "boost-M/s", Peer: "Boost.Lockfree `spsc_queue`", Unit: "M/s"},
	{What: "ring, round trip, both sides polling, p50", Bench: "bench.RingRoundTrip", Ours: "shmkit-p50-ns", Theirs: "boost-p50-ns", Peer: "Boost.Lockfree", Unit: "ns"},
	{What: "ring, round trip, both sides parking, p50", Bench: "bench.RingParked/hot", Ours: "shmkit-p50-ns", Theirs: "socket-p50-ns", Peer: "Unix socket", Unit: "µs", Scale: 1e-3},
	{What: "latch, reading 64 bytes", Bench: "bench.Latch", Ours: "shmkit-read-ns", Theirs: "gvisor-read-ns", Peer: "gVisor `SeqCount` with a plain copy", Unit: "ns"},
	{What: "reading the live configuration", Bench: "bench.ConfigLoad", Ours: "ns/load", Unit: "ns"},
	{What: "4 processes into one JSON file", Bench: "bench.EndToEnd", Ours: "shmkit-records/s", Theirs: "python-records/s", Peer: "Python's QueueListener", Unit: "records/s"},
}
