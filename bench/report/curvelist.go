package main

var curves = []curve{
	{
		File: "ring-sizes.svg", Title: "Throughput by record size, two processes", X: "bytes a record", Y: "million records a second", LogX: true, LogY: true, Readme: true,
		Lines: []line{{"shmkit ring", `bench\.RingSizes/(.+)`, "M/s"}, {"pipe", `bench\.RingSizes/(.+)`, "pipe-M/s"}},
	},
	{
		File: "large-records.svg", Title: "There and back by payload, two processes, p50", X: "bytes", Y: "µs", LogX: true, LogY: true,
		Lines: []line{{"shmkit ring", `bench\.LargeRecords/(.+)`, "shmkit-p50-µs"}, {"shmipc-go", `bench\.LargeRecords/(.+)`, "shmipc-p50-µs"}, {"shmipc-go, tuned", `bench\.LargeRecords/(.+)`, "tuned-p50-µs"}},
	},
	{
		File: "log-latency.svg", Title: "A log call, on a schedule: one in so many takes longer", X: "one call in", Y: "ns", LogX: true, LogY: true, Readme: true,
		Lines: []line{{"native event", `bench\.Latency`, `event-1in(\d+)-ns`}, {"slog", `bench\.Latency`, `slog-1in(\d+)-ns`}, {"zerolog to a pipe", `bench\.Latency`, `zerolog-pipe-1in(\d+)-ns`}},
	},
	{
		File: "workers.svg", Title: "Worker processes into one JSON file", X: "workers", Y: "records a second", LogX: true, Readme: true,
		Lines: []line{{"shmkit", `bench\.Workers/(.+)`, "records/s"}, {"slog.JSONHandler in each, O_APPEND", `bench\.Workers/(.+)`, "direct-records/s"}},
	},
	{
		File: "goroutines.svg", Title: "Goroutines of one worker into one JSON file", X: "goroutines", Y: "records a second", LogX: true,
		Lines: []line{{"shmkit", `bench\.Goroutines/(.+)`, "records/s"}, {"slog.JSONHandler to the file", `bench\.Goroutines/(.+)`, "direct-records/s"}},
	},
	{
		File: "lanes.svg", Title: "A native event in bursts: a lane for each P, against one ring with a lock", X: "goroutines", Y: "ns a call", LogX: true,
		Lines: []line{{"lanes", `logring\.Lanes/(\d+)/lanes=true`, "ns/op"}, {"lock", `logring\.Lanes/(\d+)/lanes=false`, "ns/op"}},
	},
	{
		File: "rings.svg", Title: "A record's cost to the caller and collector, by rings attached", X: "rings", Y: "ns a record", LogX: true,
		Lines: []line{{"one busy, the others idle", `bench\.Rings/(.+)`, "ns/record"}},
	},
	{
		File: "rings-idle.svg", Title: "Processor time of the collector when nothing is logged", X: "rings", Y: "% of one processor", LogX: true,
		Lines: []line{{"all idle", `bench\.Rings/(.+)`, "idle-cpu-%"}},
	},
	{
		File: "config-reads.svg", Title: "Reading a configuration by its size", X: "keys", Y: "ns a read", LogX: true, LogY: true,
		Lines: []line{{"Live.Load and a field", `bench\.ConfigReads/(.+)`, "live-ns/get"}, {"Dict, by path", `bench\.ConfigReads/(.+)`, "ns/get"},
			{"koanf, by path", `bench\.ConfigReads/(.+)`, "koanf-ns/get"}, {"viper, by path", `bench\.ConfigReads/(.+)`, "viper-ns/get"}},
	},
	{
		File: "config-watch.svg", Title: "A change of the configuration, until the last sleeping worker has it", X: "workers", Y: "µs", LogX: true, LogY: true, Readme: true,
		Lines: []line{{"p50", `bench\.ConfigWatch/(.+)`, "p50-µs"}, {"p99", `bench\.ConfigWatch/(.+)`, "p99-µs"}, {"threads asleep in a bare futex, p50", `bench\.ConfigWatch/(.+)`, "bare-p50-µs"}},
	},
	{
		File: "spawn.svg", Title: "Start and end of workers that are started together", X: "workers", Y: "ms a worker", LogX: true,
		Lines: []line{{"shmkit function worker", `bench\.SpawnMany/(.+)`, "shmkit-ms"}, {"os/exec of the same binary", `bench\.SpawnMany/(.+)`, "exec-ms"}},
	},
}
