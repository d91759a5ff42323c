package shmkit

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"shmkit/cfgblob"
	"shmkit/logring"
	"shmkit/spawn"
)

// Worker is what a worker function is given: who it is, and its side of what
// the processes of the run share. It is valid until the function returns.
type Worker struct {
	Run   string // name of the run
	Group string // name of the group this worker was started in
	Rank  int    // 0 … Size−1 within the group
	Size  int    // workers in the group

	// Log writes to the node's sinks through this worker's ring. A record whose
	// call returned survives the death of this process.
	Log *slog.Logger

	child  *spawn.Child
	config *cfgblob.Reader
	log    *logring.Writer
}

// attach maps what the node donated to this process.
func attach(child *spawn.Child) (*Worker, error) {
	w := &Worker{Run: child.Run, Group: child.Group, Rank: child.Rank, Size: child.Size, child: child}

	files, words, ok := child.Resource(resourceLog)
	if !ok {
		return nil, w.missing(resourceLog)
	}
	log, err := logring.Attach(files, words, func() error { return child.Send(resourceLog, nil) })
	if err != nil {
		return nil, err
	}
	w.log = log
	w.Log = slog.New(log.Handler(nil))

	files, words, ok = child.Resource(resourceConfig)
	if !ok {
		w.close()
		return nil, w.missing(resourceConfig)
	}
	if w.config, err = cfgblob.Attach(files, words); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *Worker) missing(resource string) error {
	return fmt.Errorf("shmkit: run %q, worker %d: the node donated no %q: node and worker are not the same program: restart the run", w.Run, w.Rank, resource)
}

// close lets go of the segments. The worker's committed records need no flush to
// survive: they are in the node's memory already.
func (w *Worker) close() {
	if w.log != nil {
		w.log.Close()
	}
	if w.config != nil {
		w.config.Close()
	}
}

// Context ends when the worker is asked to stop (SIGTERM, SIGINT, the node stops)
// or when the node is gone; [context.Cause] says which. It is what a worker
// function is given.
func (w *Worker) Context() context.Context { return w.child.Context() }

// Resource returns the files and words that the resource called name in
// [Options.Resources] donated to this worker. The caller owns the files. It
// returns them once; ok is false if there is no such resource.
func (w *Worker) Resource(name string) (files []*os.File, words []string, ok bool) {
	return w.child.Resource(name)
}

// Send passes a message to the node's side of the resource called name: to its
// lease's Message method. An empty payload serves as a doorbell.
func (w *Worker) Send(name string, payload []byte, files ...*os.File) error {
	return w.child.Send(name, payload, files...)
}

// Config binds the run's configuration to T in this worker. [cfgblob.Live.Load]
// returns the current version decoded, and costs a few nanoseconds while it does
// not change. Config panics if the current configuration cannot be decoded into
// T, which a node started with a T refuses to publish; call [Bind] to handle
// foreign types.
func Config[T any](w *Worker) *cfgblob.Live[T] {
	live, err := Bind[T](w)
	if err != nil {
		panic(err)
	}
	return live
}

// Bind is [Config] with an error instead of a panic.
func Bind[T any](w *Worker) (*cfgblob.Live[T], error) { return cfgblob.Bind[T](w.config) }

// Snapshots is the run's configuration as it is published, untyped: for
// watching, or for keys that are not known when the program is written.
func (w *Worker) Snapshots() cfgblob.View { return w.config }
