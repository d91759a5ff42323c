package shmkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"shmkit/dataio/recfile"
	"shmkit/spawn"
)

// A verdict is what the node knows of how its run went: whether Files may appear as
// complete.
type verdict struct {
	mu    sync.Mutex
	cause error              // the first of Fail
	ends  map[position]error // of workers whose last end was none in order
}

type position struct {
	group string
	rank  int
}

// interrupted begins the message of a worker that stopped because it was asked to, and
// says that it had not come to its end.
const interrupted = "interrupted: "

// ended takes note of the end of a worker. Of one that is started again, under the same
// group and rank, the last end counts.
func (v *verdict) ended(e Exit) {
	asked := e.Stopped && e.Signal == syscall.SIGTERM // a program that does not handle it
	ok := e.Code == 0 && !strings.HasPrefix(e.Message, interrupted) || e.Code != 0 && asked ||
		e.Code == 0 && e.Reason == spawn.ReasonResize
	v.mu.Lock()
	defer v.mu.Unlock()
	at := position{e.Group, e.Rank}
	if ok {
		delete(v.ends, at)
		return
	}
	if v.ends == nil {
		v.ends = map[position]error{}
	}
	v.ends[at] = errors.New(e.String())
}

func (v *verdict) fail(cause error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cause == nil {
		v.cause = cause
	}
}

// failure is why the run has failed, or nil.
func (v *verdict) failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cause != nil || len(v.ends) == 0 {
		return v.cause
	}
	first := slices.MinFunc(slices.Collect(maps.Keys(v.ends)), func(a, b position) int {
		return cmp.Or(strings.Compare(a.group, b.group), a.rank-b.rank)
	})
	if n := len(v.ends); n > 1 {
		return fmt.Errorf("%w (and %d more)", v.ends[first], n-1)
	}
	return v.ends[first]
}

// Fail says that the run has failed, for a reason that the node cannot see: [Options].Files
// stay unfinished. The first cause counts; nil is none.
func (n *Node) Fail(cause error) { n.verdict.fail(cause) }

// serveFiles opens Options.Files. What becomes of them is in the log, too.
func (n *Node) serveFiles() (err error) {
	files := maps.Clone(n.opts.Files)
	for name, o := range files {
		told := o.OnError
		o.OnError = func(err error) {
			level := slog.LevelError
			if errors.Is(err, recfile.ErrCut) {
				level = slog.LevelWarn // nothing is lost
			}
			n.Log.Log(context.Background(), level, "file", "name", name, "error", err)
			if told != nil {
				told(err)
			}
		}
		files[name] = o
	}
	n.files, err = recfile.NewServer(files)
	return err
}

// closeFiles gives the files their names, or leaves them unfinished when the run has
// failed.
func (n *Node) closeFiles(ctx context.Context) error {
	if !n.begun { // Start has failed, and says why
		return n.files.Abandon()
	}
	why := n.verdict.failure()
	if ctx.Err() != nil && why == nil {
		why = fmt.Errorf("not closed in time: %w", context.Cause(ctx))
	}
	if why == nil || n.opts.AlwaysComplete {
		return within(ctx, "files", n.files.Close)
	}
	n.Log.Warn("files are left unfinished", "why", why)
	return errors.Join(
		fmt.Errorf("files: %w: %w: go on with their Options.Resume, or set Options.AlwaysComplete", recfile.ErrUnfinished, why),
		within(ctx, "files", n.files.Abandon))
}

// FileStats counts the records of one of [Options].Files; zeros for another name.
func (n *Node) FileStats(name string) recfile.Stats {
	if n.files == nil {
		return recfile.Stats{}
	}
	return n.files.Stats(name)
}

// grace is what somebody still gets who works when the context of Shutdown ends.
const grace = time.Second

// within calls fn and waits for it until ctx ends, and a moment longer.
func within(ctx context.Context, what string, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	late := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(late) }) })()
	select {
	case err := <-done:
		return err
	case <-late:
		return fmt.Errorf("%s: still at work: given up: %w", what, context.Cause(ctx))
	}
}
