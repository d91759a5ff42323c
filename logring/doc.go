// Package logring collects the logs of many processes and loses nothing, even
// to kill -9.
//
// In the node process:
//
//	file, err := logring.OpenJSON("run.jsonl")
//	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{file}})
//	files, words, lease, err := c.Donate("count", rank, size) // for a worker to inherit
//	…
//	err = c.Close(ctx)
//
// In the worker:
//
//	w, err := logring.Attach(files, words, bell)
//	log := slog.New(w.Handler(nil))
//	log.Info("indexed", "path", path, "lines", n)
//
// gives in run.jsonl
//
//	{"time":"2025-01-02T15:04:05.123456789+01:00","level":"INFO","msg":"indexed","group":"count","worker":3,"pid":4711,"path":"a.go","lines":120}
//
// A log call encodes the record in binary into shared memory and returns: no
// system call, no allocation for scalar attributes, no text. Text is made in
// the node, by one goroutine per sink.
//
// # Guarantees
//
//  1. A record whose log call returned is delivered once, even if the worker is
//     killed in the next instruction. The node owns the memory that it is in.
//  2. The records of one goroutine keep their order. Those of several, of one worker
//     or more, are merged by time within a window of 1 ms.
//  3. attempted = delivered + dropped + pending, exactly, for the total, each
//     worker and each sink, at any time ([Stats]). Nothing is dropped without a
//     reason that is counted.
//  4. Who logged is known from the ring that a record came by, not from what it
//     says; its attributes cannot take the keys that tell.
//  5. A record is one line: control characters, escape sequences, line separators,
//     bidirectional overrides and invalid UTF-8 are escaped in every text output.
//  6. A worker that breaks the format loses its own ring, and nothing else.
//  7. A sink that fails or stands still costs the others nothing while its queue
//     lasts, and little afterwards.
//  8. A level set in the node, for all, a group, a worker or a logger, acts on the next
//     log call.
//  9. An idle collector does not run. A worker rings its bell at most once each
//     time that the collector has fallen asleep.
//
// What can be lost, counted: a record that finds the ring full for 10 seconds
// (or at once, with [DropNew]), what a worker wrote behind a place where it broke
// the format, and what a sink refused.
//
// # A node that is killed
//
// Without further ado the records that a killed node held in memory, and what lies in
// the rings, are gone with it. With [CollectorOptions.CrashDir] the rings are files on
// node-local memory, and space in them is given back only when all sinks have
// written it: so every record whose log call had returned is in the sinks or still
// in the files. The next collector of that directory begins with them, marked as
// [Record.Salvaged]; [Salvage] and the command shmkit salvage deliver them without a
// node. What was written an instant before the kill may come once more.
//
// # What can be watched
//
// [Collector.Stats] tells beside the account how full the rings are, how old the
// oldest record is that was not delivered, and for each sink what it wrote, what
// failed, how far it is behind, and how long its records took. [Collector.Var] is
// for package expvar, shmkit/adapters/promtext for Prometheus.
//
// # Where the others stand
//
// The handler is slog's, and passes testing/slogtest through the ring and back. Any
// slog.Handler can be a sink ([FromHandler]). [Console], [Text], [JSON], files
// ([OpenFile]), databases ([SQL]), [Syslog] and [Journald] are built in; rotated
// files and OTLP are in shmkit/adapters; a [Sink] of one's own has three methods.
// Each has a level, a filter, attributes and a sync policy of its own ([With]).
//
// # Events
//
// Where a log call may cost a few tens of nanoseconds, an event is declared once and
// logged with values of fixed types ([NewEvent3]):
//
//	var evDone = logring.NewEvent3[int64, string, float64](slog.LevelInfo, "done", "n", "path", "sec")
//
//	evDone.Log(w, n, path, sec)
//
// Its records are like any other's, and keep their order with those of slog.
//
// # More and less
//
// What is logged is chosen in the node, while workers run ([Collector.SetLevel],
// [Collector.SetLevels] for loggers with names), and in the worker: by a filter, a
// [Sample] of what repeats and a [Limit] for each logger ([HandlerOptions]). What a
// full ring does is chosen per level ([Policy]): wait, drop the new, overwrite the
// oldest. Whatever is missing for such a reason, the stream tells: a record
// "suppressed" or "records dropped" says how many, why, since when and for how long.
// These records are counted like any other.
//
// A [Backtrace] keeps what is below the level, and shows it when something goes wrong.
//
// Code that knows other interfaces: [NewLineWriter] is an io.Writer, slog.NewLogLogger
// of a handler is a *log.Logger, [CaptureDefault] takes over the defaults of slog
// and log.
//
// A record whose call has returned is safe. Who wants to know that it is written, or
// synced, asks: [Writer.FlushTo], [Collector.FlushTo]. [Fatal], [LogPanic] and
// [Writer.FlushOnSignal] do so before the process ends.
//
// # How a call gets through
//
// The worker's memory has a lane, a ring of its own, for each P of the Go scheduler, so
// that goroutines do not meet at a lock; a record that finds its lane full takes the shared
// one and waits there. Each record begins with a key, a time of the machine's
// monotonic clock, by which the collector merges; so the wall clock may be set at any
// time.
//
// # The record
//
// The bytes are a public format, docs/FORMAT.md: what follows are those of one record,
// in a ring (package ring) of the worker's segment. All numbers are little-endian;
// nothing is padded.
//
//	offset  type  field
//	0       i64   key, for merging
//	8       i64   time, nanoseconds since 1970-01-01 UTC
//	16      i32   level as in log/slog: DEBUG -4, INFO 0, WARN 4, ERROR 8
//	20      u16   flags: 1 no time, 2 source position follows, 4 line goes on,
//	              8 line of stdout, 16 line of stderr
//	22      u16   0
//	24      u32   bytes that did not fit into the record and were cut
//	28      u32   n, the length of the message
//	32            source position, if flagged: u32 line, u16 f, u16 g,
//	              f bytes of file name, g bytes of function name
//	              attributes, one after the other
//	              message: the last n bytes of the record
//
//	attribute: u8 kind, u16 k, k bytes of key, value
//	kind  value
//	1     string: u32 length, bytes (meant to be UTF-8)
//	2     i64
//	3     u64
//	4     float: u64 IEEE 754 bits
//	5     bool: u8 0 or 1
//	6     duration: i64 nanoseconds
//	7     time: i64 seconds since 1970 UTC, u32 nanoseconds, i32 zone offset in seconds
//	8     group, no value: its members follow as attributes, then the byte 0
//	9     JSON: u32 length, one JSON value
//
// At most 32 groups are open at once. This is format 2, which the word "logring=2"
// stands for; a build that reads another one refuses to attach.
package logring
