// Package fxkit builds workers and their owner with go.uber.org/fx: a worker
// function asks for what it needs, and is given it.
//
//	func main() {
//		shmkit.Main()
//		fx.New(
//			fxkit.Node(shmkit.Options{Name: "count", Config: Config{Limit: 10}}),
//			fxkit.Database("main", sqlproxy.Policy{}, openDB),
//			fxkit.Workers(shmkit.Spec{Func: count, Workers: 4}),
//		).Run()
//	}
//
//	var count = fxkit.Func("count",
//		func(ctx context.Context, log *slog.Logger, cfg *cfgblob.Live[Config], db *sql.DB, rank fxkit.Rank) error {
//			log.Info("counting", "rank", rank, "limit", cfg.Load().Limit)
//			…
//		},
//		fxkit.Config[Config](),
//		fxkit.DB("main"),
//	)
//
// # Three classes of provider
//
// What a worker is given comes from one of three places:
//
//   - Local: made in each process, by its own constructor ([fx.Provide],
//     [ProvideFactory], [ProvideSingleton], [ProvideScoped], [ProvideSelector],
//     [ProvideAggregate]). Nothing is shared; a change in one worker is not seen in
//     another.
//   - Shared: backed by memory that the processes share: the logger, the
//     configuration ([Config]), and whatever the owner gives with [Share] and the
//     worker attaches with [Shared]. As fast as memory; the rules of the thing itself
//     say who may write what.
//   - Proxy: functions that run in the owner, on an object that only exists there
//     ([Serve] in the owner, [Proxy] in the worker). A controlled subset, with
//     contexts, errors and deadlines; a call costs a round trip between processes.
//     Databases are that, too ([Database] in the owner, [DB] in the worker), and files
//     that many append to ([File]). For an interface, the command shmkit/call/proxygen
//     makes what [Serve] and [Proxy] want.
//
// # The life of a worker
//
// In the worker process: the graph is built, OnStart hooks run in order, the worker
// is told ready (spawn.Spec.ReadyTimeout), the function runs, and however it ends
// (it returns, fails, panics, or its context ends because the worker is to stop)
// OnStop hooks run in reverse order before the process ends. An error of any of
// these is the worker's, and told by [shmkit.Group.Wait].
//
// What a worker function is given is valid until it returns, and in OnStop hooks. A
// [Scoped] thing lives as long as its scope ([NewScope]), a [Singleton] until it is
// reset, what a [Factory] makes as long as its caller likes.
//
// # What is checked
//
// [Check] finds what a worker's graph lacks before any worker is started, [CheckSpec]
// also what its owner lacks; [Workers] and [Start] call it.
package fxkit
