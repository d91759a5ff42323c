package main

// bars are in the order of the table.
var bars = []bar{
	{Area: "ring", What: "64-byte records between two processes, against a buffered channel in one", Bench: "bench.RingThroughput", Unit: "shmkit/channel", Least: 4},
	{Area: "ring", What: "the same against Boost.Lockfree spsc_queue", Bench: "bench.RingThroughput", Unit: "shmkit/boost", Least: 2},
	{Area: "ring", What: "64 KiB there and back, against shmipc-go", Bench: "bench.LargeRecords/65536", Unit: "shmipc/shmkit", Least: 3},
	{Area: "ring", What: "1 MiB there and back, against shmipc-go", Bench: "bench.LargeRecords/1048576", Unit: "shmipc/shmkit", Least: 3},
	{Area: "ring", What: "parked wake, p50, against a Unix socket", Bench: "bench.RingParked", Unit: "p50-ratio", Most: 0.5},
	{Area: "ring", What: "parked wake, p99, against a Unix socket", Bench: "bench.RingParked", Unit: "p99-ratio", Most: 0.5},
	{Area: "seqlock", What: "latch read of 64 bytes, against gVisor's SeqCount with a plain copy", Bench: "bench.Latch", Unit: "read-ratio", Most: 1.5},
	{Area: "seqlock", What: "latch write of 64 bytes, against the same", Bench: "bench.Latch", Unit: "write-ratio", Most: 1},
	{Area: "call", What: "a function of the owner called and answered, p50, against net/rpc on a Unix socket", Bench: "bench.ProxyCall", Unit: "netrpc-ratio", Most: 1},
}
