package shmkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"shmkit/spawn"
)

// JoinOptions say which run to join, and as whom. In a Slurm or MPI job the zero
// value is the rank that the launcher made this process, in the run of its job step
// on this machine.
type JoinOptions struct {
	// Run is the run's name. Default: that of the job step, which srun or mpirun
	// tell by their variables; else $SHMKIT_RUN.
	Run string

	// Dir is the runtime directory. Default: [spawn.RuntimeDir].
	Dir string

	// Group is the group to be listed in. Default: "ranks" in a job, else "guests".
	Group string

	// Rank and Size say who this is in the group. When Size is 0, the launcher
	// does; without one, the node gives the lowest rank that is free.
	Rank, Size int

	// Node names what [Node] has registered: it is started, as a process of its own,
	// if no node of the run lives on this machine. The process ends when the last
	// rank has left. Default: a run that has no node cannot be joined.
	Node string

	// StopSignals end [Worker.Context] as SIGTERM and SIGINT do: those by which the
	// batch system warns (sbatch --signal), say.
	StopSignals []os.Signal
}

const (
	rankGroup = "ranks"

	// How long ranks wait for the first of them to start the node, before each of
	// them tries.
	starterPatience = 10 * time.Second

	// leaveTimeout bounds Worker.Close.
	leaveTimeout = 60 * time.Second
)

// Attach makes this process, a Go program that a node started by Spec.Cmd, a
// worker in full: with the logger, the configuration and the resources that worker
// functions have. It is the rank that it was started as. Call [Worker.Close]
// before the end; a worker that is killed loses nothing that it logged all the
// same. The error wraps [spawn.ErrNotWorker] in a process that no node started.
func Attach(ctx context.Context) (*Worker, error) {
	if os.Getenv("SHMKIT_RUN") == "" {
		return nil, fmt.Errorf("shmkit: attach: %w", spawn.ErrNotWorker)
	}
	rank, err1 := strconv.Atoi(os.Getenv("SHMKIT_RANK"))
	size, err2 := strconv.Atoi(os.Getenv("SHMKIT_SIZE"))
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("shmkit: attach: SHMKIT_RANK and SHMKIT_SIZE: %w", err)
	}
	child, err := spawn.Join(ctx, spawn.JoinOptions{Group: os.Getenv("SHMKIT_GROUP"), Rank: rank, Size: size})
	if err != nil {
		return nil, err
	}
	return join(child)
}

// Join makes this process a member of a run that did not start it: a rank of a
// Slurm or MPI job, or any other process of the user. It logs into the same
// sinks, sees the same configuration and is given the same resources as the node's
// own workers. Call [Worker.Close] before the end: it returns when what was logged
// is taken, and, for the last rank, when the node's process has ended.
func Join(ctx context.Context, o JoinOptions) (*Worker, error) {
	how := spawn.JoinOptions{Run: o.Run, Dir: o.Dir, Group: o.Group, Rank: o.Rank, Size: o.Size, StopSignals: o.StopSignals}
	batch, inBatch := spawn.BatchRank()
	if how.Run == "" && inBatch {
		how.Run = batch.Job
	}
	if how.Size == 0 && inBatch {
		how.Rank, how.Size = batch.Rank, batch.Size
		if how.Group == "" {
			how.Group = rankGroup
		}
	} else if how.Size == 0 {
		how.Rank = spawn.AnyRank
	}
	if how.Run == "" {
		how.Run = os.Getenv("SHMKIT_RUN")
	}
	if o.Node != "" {
		if _, err := lookupNode(o.Node); err != nil {
			return nil, err
		}
	}
	began, tried := time.Now(), false
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		child, err := spawn.Join(ctx, how)
		if err == nil {
			return join(child)
		}
		absent, ending := errors.Is(err, fs.ErrNotExist), errors.Is(err, spawn.ErrEnding)
		if o.Node == "" || !absent && !ending {
			return nil, err
		}
		if first := batch.LocalRank <= 0 && !tried; absent && (first || time.Since(began) > starterPatience) {
			if err := startNode(ctx, o.Node, how.Run, how.Dir, batch.LocalSize); err != nil {
				return nil, err
			}
			began, tried = time.Now(), true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("shmkit: join run %q: waiting for its node: %w", how.Run, ctx.Err())
		}
	}
}

func join(child *spawn.Child) (*Worker, error) {
	w, err := attach(child)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		return nil, errors.Join(err, child.Leave(ctx))
	}
	return w, nil
}

// Close ends a membership that [Attach] or [Join] began: it lets go of the
// segments and returns when the node has taken all that was logged. It is
// idempotent. Worker functions need not call it.
func (w *Worker) Close() error {
	w.close()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	return w.child.Leave(ctx)
}
