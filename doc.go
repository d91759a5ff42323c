// Package shmkit runs a program as many processes on one machine and gives all
// of them the same logs, the same configuration and the same files, through
// shared memory.
//
// One process, the node, starts the workers. A worker is a function of the same
// program, run in a process of its own, or any other command:
//
//	func main() {
//		shmkit.Main() // in a worker process: runs the function, then exits
//
//		node, err := shmkit.Start(ctx, shmkit.Options{Name: "hello", Config: Config{Level: "info"}})
//		…
//		group, err := node.Start(shmkit.Spec{Func: "greet", Workers: 4})
//		err = group.Wait() // who failed, and how
//		err = node.Close() // flushes, drains, stops, removes
//	}
//
//	var _ = shmkit.Func("greet", func(ctx context.Context, w *shmkit.Worker) error {
//		cfg := shmkit.Config[Config](w) // live: cfg.Load() is a few nanoseconds
//		w.Log.Info("hello", "rank", w.Rank, "level", cfg.Load().Level)
//		return nil
//	})
//
// What a program may count on:
//
//  1. A record whose log call returned reaches the sinks, also when the worker is
//     killed with SIGKILL right after it, or is counted as dropped with a reason:
//     attempted = delivered + dropped, exactly.
//  2. A worker sees a whole configuration or the one before it, never a mixture,
//     also when the node is killed while it publishes. Workers cannot write it.
//  3. When the node ends, however it ends, the workers it started end too.
//  4. After [Node.Close] nothing is left: no file, no segment, no process.
//
// Most programs need this package only. The packages below it stand on their
// own: shm (segments), ring (single producer, single consumer), seqlock (the
// latch), cfgblob (configuration), logring (logs) and spawn (workers).
//
// Linux on amd64 and arm64. Elsewhere everything compiles and [Start] returns
// [errors.ErrUnsupported]. Names in this package keep their meaning within a
// major version; the byte layouts are versioned in the segments themselves.
package shmkit
