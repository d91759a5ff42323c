// Package spawn starts, watches and ends the worker processes of a run, from
// one server that is the only one of its run on this machine.
//
//	s, err := spawn.NewServer(spawn.Options{Run: "wordcount"})
//	g, err := s.Start(ctx, spawn.Spec{Cmd: []string{"python3", "job.py"}, Workers: 4})
//	err = g.Wait() // nil, or who died and why:
//	               // spawn: worker 3 (pid 4711) of group "python3": killed by signal 9 (SIGKILL); last stderr: "…"
//	err = s.Close()
//
// What holds, whatever the workers do:
//
//   - One server per run name and runtime directory. The lock is the kernel's: it
//     ends with its holder, so a killed server is never cleaned up by hand.
//   - All workers of a group are started, or none.
//   - All children are killed by the kernel when the server dies (parent-death
//     signal), and none by the mere end of one of its threads.
//   - Each worker's exit code, signal and last lines of stderr are reported once,
//     when all it had written was delivered.
//   - Each line of stdout and stderr is delivered once and in order, up to
//     [MaxLine] bytes unbroken, the last unterminated one included, also after
//     SIGKILL.
//   - A worker costs the server at most four descriptors and no thread.
//   - After Close no process, descriptor, goroutine, file or directory of the run
//     is left.
//
// # Two kinds of workers
//
// A foreign command ([Spec].Cmd) gets the run, its rank and the size in its
// environment and nothing else: no plumbing and no extra descriptors. With
// [Spec].ReadyTimeout it also gets NOTIFY_SOCKET, and says there that it is ready, as
// sd_notify(3) does.
//
// A function worker ([Spec].Func) is the server's own binary once more. It calls
// [Attach] as early as it can and dispatches on [Child].Func. It is connected to
// the server by one control socket, and is given the [Resource]s of the server:
// files, and a few words, under a name.
//
// # Guests
//
// With [Options].Guests processes that the server did not start may [Join] the run
// and are given the same resources: the ranks of an MPI job, which its launcher
// starts, or a program of Spec.Cmd that is written in Go. The server knows such a
// process by its connection, learns of its end by the end of that, and does not
// know its exit status. One that runs in the process group of a worker is that
// worker, by the kernel's word and not by its own.
//
// # The environment of a worker
//
//	SHMKIT_RUN    the name of the run
//	SHMKIT_GROUP  the name of its group
//	SHMKIT_RANK   0 … size−1
//	SHMKIT_SIZE   number of workers in the group
//	SHMKIT_DIR    the runtime directory
//	PYTHONUNBUFFERED=1, unless set
//
// Function workers also get SHMKIT_FUNC and SHMKIT_FD, which Attach removes.
//
// # What is left behind
//
// The parent-death signal reaches the workers, not their children. As long as the
// server lives, the process group of a worker is killed when the worker has ended (a
// quarter of a second later, if something of it still holds the output, so that the
// tee of a script can finish its line). What leaves the group (setsid), and all
// grandchildren when the server itself is killed, are reached by the means of
// [Options].Contain, as far as this system has them: see [Containment]. The kernel
// also drops the parent-death signal when a worker executes a set-user-id program.
//
// # Supervision
//
// [Spec].Restart starts workers again that have ended, in Erlang's manner.
// [Spec].ReadyTimeout makes Start wait until they are at work, [Spec].Heartbeat finds
// those that got stuck, [Spec].Recycle replaces those that wear out, and
// [Spec].Spares keeps processes ready. [Group.Resize] and [Group.Reload] change the
// number and the program while the others work. [Spec].Placement and [Spec].Process
// say what the processes are given. Package task hands out work and collects results.
//
// # Reading the source
//
// One actor, one file: claim (the run's directory and locks), launcher (the thread
// that forks), start (what a worker is given), worker (its life, from the start to
// its last line; worker_end its end, worker_signal how it is told), output and lines (capture), control and frame (messages), guests
// and join (processes from outside), group, server, child (the other side); restart
// (the rules) and supervise (who applies them); monitor, spare, reload, resize; attributes and shim (before the first
// instruction); contain, mark, orphans, guardian (what is left behind).
//
// Linux only. On other systems everything compiles, and returns an error that
// wraps [errors.ErrUnsupported].
package spawn
