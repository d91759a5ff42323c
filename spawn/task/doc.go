// Package task hands tasks to worker processes and brings their results home.
//
//	pool := task.NewPool[string, int](task.Options{Retries: 1})
//	s, err := spawn.NewServer(spawn.Options{Run: "count", Resources: map[string]spawn.Resource{"lines": pool}})
//	g, err := s.Start(ctx, spawn.Spec{Func: "lines", Workers: 8})
//	for n, err := range pool.Map(ctx, slices.Values(files)) {
//		…
//	}
//
// and in the worker
//
//	err = task.Serve(c.Context(), c, "lines", func(ctx context.Context, file string) (int, error) { … })
//
// What holds:
//
//   - Each task ends exactly once: with the result of one worker, the error that one
//     returned, or the reason why there is none.
//   - The death of a worker costs its own tasks only. They are given to another one
//     as often as Options.Retries says, and else fail with a *[DiedError], which
//     names the worker, how it ended and what it said last.
//   - A task is never given to two workers at a time. But a worker that dies may have
//     done it, wholly or in part: retry only what may be done twice.
//
// Arguments and results travel as JSON in the messages of the worker's control
// socket, and in sealed memory files when they are larger than 32 KiB. For bulk data
// use what the run shares: a ring, a segment, a file.
package task
