package shmkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"shmkit/cfgblob"
	"shmkit/dataio/recfile"
	"shmkit/dataio/sqlproxy"
	"shmkit/logring"
	"shmkit/spawn"
)

// Spec says what to start and how often. Group is a set of workers started by
// one call. Exit is how one worker ended.
type (
	Spec  = spawn.Spec
	Group = spawn.Group
	Exit  = spawn.Exit

	// What a Spec says of the life of its workers.
	Restart   = spawn.Restart
	Heartbeat = spawn.Heartbeat
	Recycle   = spawn.Recycle
	Placement = spawn.Placement
	Process   = spawn.Process
)

// Node is the one process of a run that owns what the others share: it starts
// the workers, publishes the configuration, and writes the records. Its methods
// may be called from any goroutine.
type Node struct {
	// Log writes the node's own records into the same sinks, as worker −1.
	Log *slog.Logger

	opts    Options
	started time.Time
	logs    *logring.Collector
	config  *cfgblob.Store
	server  *spawn.Server
	control *controlServer

	databases *sqlproxy.Server // nil without Options.Databases
	files     *recfile.Server  // nil without Options.Files

	verdict   verdict
	begun     bool         // Start has succeeded
	unfollow  func() error // lets go of Start's context; an error if that has ended
	closeOnce sync.Once
	closeErr  error
}

// Start makes this process the node of a run. The run lives until [Node.Close],
// or until ctx ends: then its workers are stopped, as by [Node.Stop], and Close
// is still to be called. A run of the same name that is alive is a
// [*spawn.RunningError].
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, errors.Join(err, o.closeSinks())
	}
	n := &Node{opts: o, started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.abandon())
		}
	}()

	// The configuration first: it is what a user gets wrong most, and nothing
	// outside this process exists yet.
	doc, err := o.document()
	if err != nil {
		return nil, err
	}
	if n.config, err = cfgblob.NewStore(n.storeOptions(), doc); err != nil {
		return nil, err
	}
	logs := o.Log
	logs.Name, logs.Sinks = o.Name+".log", o.Sinks
	if n.logs, err = logring.NewCollector(logs); err != nil {
		return nil, err
	}
	n.Log = slog.New(n.logs.Handler())
	n.obeyLevel(1, n.config.Snapshot().Doc)
	n.config.Follow()

	resources, err := n.resources()
	if err != nil {
		return nil, err
	}
	n.server, err = spawn.NewServer(spawn.Options{
		Run:       o.Name,
		Dir:       o.Dir,
		Resources: resources,
		Output:    n.logs.Line,
		Guests:    true,
		Joined:    o.joined,

		LeaveTimeout: o.StopTimeout,
		Contain:      o.Contain,

		Exit:  n.workerEnded,
		Stall: n.workerStalled,
	})
	if err != nil {
		return nil, err
	}
	n.control, err = serveControl(n, n.server.Dir())
	if err != nil {
		return nil, err
	}
	unfollow := context.AfterFunc(ctx, func() { n.Stop(context.WithoutCancel(ctx)) })
	n.unfollow = func() error {
		if !unfollow() {
			return fmt.Errorf("cancelled: %w", context.Cause(ctx))
		}
		return nil
	}
	n.begun = true
	return n, nil
}

// storeOptions are the user's, completed.
func (n *Node) storeOptions() cfgblob.StoreOptions {
	s := n.opts.Store
	s.Name, s.Author = n.opts.Name+".config", "node"
	s.Type, s.Validate = n.opts.configType(), n.opts.validator()
	s.Sources, s.Grants = n.opts.Sources, n.opts.Grants
	first, reloaded := s.BeforePublish, s.Reloaded
	s.BeforePublish = func(version uint64, doc []byte) {
		n.obeyLevel(version, doc)
		if first != nil {
			first(version, doc)
		}
	}
	s.Reloaded = func(version uint64, err error) {
		if err != nil {
			n.Log.Error("configuration not changed", "version", version, "error", err)
		} else {
			n.Log.Info("configuration changed", "version", version)
		}
		if reloaded != nil {
			reloaded(version, err)
		}
	}
	return s
}

// resources are what each worker is given.
func (n *Node) resources() (map[string]spawn.Resource, error) {
	all := maps.Clone(n.opts.Resources)
	if all == nil {
		all = map[string]spawn.Resource{}
	}
	all[resourceLog], all[resourceConfig] = n.logs, n.config
	if len(n.opts.Databases) > 0 || len(n.opts.Policies) > 0 {
		s, err := sqlproxy.NewServer(n.opts.Databases, n.opts.Policies)
		if err != nil {
			return nil, err
		}
		n.databases, all[resourceDatabases] = s, s
	}
	if len(n.opts.Files) > 0 {
		if err := n.serveFiles(); err != nil {
			return nil, err
		}
		all[resourceFiles] = n.files
	}
	return all, nil
}

// abandon takes down a node that could not be started whole.
func (n *Node) abandon() error {
	if n.logs != nil {
		return n.Close() // closes the sinks too
	}
	var errs []error
	if n.config != nil {
		errs = append(errs, n.config.Close())
	}
	return errors.Join(append(errs, n.opts.closeSinks())...)
}

// obeyLevel sets the level of all loggers to what a configuration says, right
// before it is published: a worker that sees the version has its level.
func (n *Node) obeyLevel(_ uint64, doc []byte) {
	if n.opts.LevelKey == "" || n.logs == nil {
		return
	}
	if level, err := levelOf(doc, n.opts.LevelKey); err == nil {
		n.logs.SetLevel(level)
	}
	if levels, err := levelsOf(doc, n.opts.levelsKey()); err == nil {
		n.logs.SetLevels(levels) // the validator has seen them
	}
}

// workerEnded records a death that was not an orderly one.
func (n *Node) workerEnded(e Exit) {
	n.verdict.ended(e)
	if e.Code != 0 {
		n.Log.Warn("worker ended", "of", e)
	}
	if n.opts.OnExit != nil {
		n.opts.OnExit(e)
	}
}

// workerStalled records that a worker does not get on, or does again.
func (n *Node) workerStalled(s spawn.Stall) {
	if s.Recovered {
		n.Log.Info("worker beats again", "of", s.Group, "rank", s.Rank, "pid", s.Pid)
	} else {
		n.Log.Warn("worker stalled", "of", s.Group, "rank", s.Rank, "pid", s.Pid, "silent", s.Silent)
	}
	if n.opts.OnStall != nil {
		n.opts.OnStall(s)
	}
}

// Containment says by what means the processes of the run are kept together.
func (n *Node) Containment() spawn.Containment { return n.server.Containment() }

// Start starts s.Workers processes and returns when all of them run. If one
// cannot be started, those already running are stopped and the error says why.
func (n *Node) Start(s Spec) (*Group, error) {
	if s.StopTimeout == 0 {
		s.StopTimeout = n.opts.StopTimeout
	}
	if s.Func != "" {
		// The worker process would find out too; here the caller does.
		if _, err := lookupFunc(s.Func); err != nil {
			return nil, err
		}
	}
	return n.server.Start(context.Background(), s)
}

// Name is the name of the run.
func (n *Node) Name() string { return n.opts.Name }

// Config is the run's configuration, which only this process can change.
// Others ask for a change through [Dial].
func (n *Node) Config() *cfgblob.Store { return n.config }

// Collector is where the records of all workers arrive: for levels of groups and
// loggers, and for its statistics.
func (n *Node) Collector() *logring.Collector { return n.logs }

// Stats counts the records: attempted = delivered + dropped + pending. After
// Close pending is 0 and the figures are final.
func (n *Node) Stats() logring.Stats { return n.logs.Stats() }

// Flush returns when every record logged before it has been written and synced
// by all sinks, or with ctx's error.
func (n *Node) Flush(ctx context.Context) error { return n.logs.Flush(ctx) }

// Stop asks all workers to end with SIGTERM, kills those that are still there
// after their StopTimeout or when ctx ends, and returns when all have ended.
func (n *Node) Stop(ctx context.Context) error { return n.server.Stop(ctx) }

// Close is [Node.Shutdown] without a bound: it waits for the workers' StopTimeout
// and for the sinks as long as they take.
func (n *Node) Close() error { return n.Shutdown(context.Background()) }

// Shutdown stops the workers that still run, drains and writes what they left,
// closes the sinks, and removes everything the run had outside this process. When
// ctx ends first, workers are killed at once and what is not written by then is
// given up and counted; everything is removed all the same. It is idempotent; later
// calls return the first one's error.
//
// [Options].Files appear under their names if the run went well. They stay unfinished,
// to be gone on with ([recfile.Options].Resume), and the error says so and wraps
// [recfile.ErrUnfinished], when
//
//   - a worker ended with a failure or was killed, and was not started again under its
//     group and rank with success;
//   - a worker that was asked to stop returned its context's error, instead of nil: it
//     was interrupted;
//   - the context of Start or of Shutdown ended, or [Node.Fail] was called;
//   - records were lost, or could not be flushed to the disk.
func (n *Node) Shutdown(ctx context.Context) error {
	n.closeOnce.Do(func() {
		var errs []error
		if n.unfollow != nil {
			n.verdict.fail(n.unfollow())
		}
		if n.files != nil { // a worker's end waits for what it left to be written
			defer context.AfterFunc(ctx, n.files.Hurry)()
		}
		if n.control != nil {
			errs = append(errs, n.control.Close())
		}
		// Workers before logs, so that their last records are collected; logs before
		// the lock, so that a successor of the same name finds the files complete.
		if n.server != nil {
			err := n.server.Stop(ctx)
			n.verdict.fail(err)
			errs = append(errs, err)
		}
		if n.databases != nil {
			errs = append(errs, within(ctx, "databases", n.databases.Close))
		}
		if n.files != nil {
			errs = append(errs, n.closeFiles(ctx))
		}
		if n.logs != nil {
			errs = append(errs, n.logs.Close(ctx))
		}
		if n.config != nil {
			errs = append(errs, n.config.Close())
		}
		if n.server != nil {
			errs = append(errs, n.server.Close())
		}
		if err := errors.Join(errs...); err != nil {
			n.closeErr = fmt.Errorf("shmkit: close %q: %w", n.opts.Name, err)
		}
	})
	return n.closeErr
}
