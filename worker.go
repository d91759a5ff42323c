package shmkit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"os"

	"shmkit/cfgblob"
	"shmkit/dataio/recfile"
	"shmkit/dataio/sqlproxy"
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

	databases *sqlproxy.Client // nil if the node has none
	files     *recfile.Client  // nil if the node has none
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
	w.config.Connect(func(payload []byte, files ...*os.File) error {
		return child.Send(resourceConfig, payload, files...)
	})
	child.Handle(resourceConfig, w.config.Message)
	if files, words, ok := child.Resource(resourceDatabases); ok {
		if w.databases, err = sqlproxy.Attach(files, words); err != nil {
			w.close()
			return nil, err
		}
	}
	if files, words, ok := child.Resource(resourceFiles); ok {
		if w.files, err = recfile.Attach(files, words, func() error { return child.Send(resourceFiles, nil) }); err != nil {
			w.close()
			return nil, err
		}
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
	if w.databases != nil {
		w.databases.Close()
	}
	if w.files != nil {
		w.files.Close()
	}
}

// DB returns the database that the node has under that name: a plain [sql.DB], whose
// connections are the node's. It is the same at each call; do not close it. A name
// that the node does not have is an error at the first use.
func (w *Worker) DB(name string) *sql.DB {
	if w.databases == nil {
		return sql.OpenDB(noDatabases{w.Run, name})
	}
	return w.databases.DB(name)
}

// noDatabases is what a node without databases has to say.
type noDatabases struct{ run, name string }

func (n noDatabases) Driver() driver.Driver { return n }
func (n noDatabases) Open(string) (driver.Conn, error) {
	return n.Connect(context.Background())
}
func (n noDatabases) Connect(context.Context) (driver.Conn, error) {
	return nil, fmt.Errorf("shmkit: run %q: database %q: the node has no databases: set Options.Databases", n.run, n.name)
}

// File returns the file that the node has under that name, for appending whole
// records. A name that the node does not have is an error at the first record.
func (w *Worker) File(name string) *recfile.File { return w.files.File(name) }

// Writer is the worker's end of the log: what native events ([logring.NewEvent3] and
// its like) are logged through, where even a few dozen nanoseconds count, and what
// can be flushed.
func (w *Worker) Writer() *logring.Writer { return w.log }

// Logger returns a logger of that name, which has a level of its own: see
// [Options].LevelKey.
func (w *Worker) Logger(name string) *slog.Logger { return w.Log.With(logring.LoggerKey, name) }

// Flush returns when everything this worker has logged before is collected, written,
// or synced by all sinks, as level says. What was logged outlives the worker
// without it; it does not outlive the machine.
func (w *Worker) Flush(ctx context.Context, level logring.FlushLevel) error {
	return w.log.FlushTo(ctx, level)
}

// SetConfig asks the node to change one key of the configuration, and returns the
// version that has the change. The node has to have granted it
// ([Options].Grants). If ifVersion is not 0 and the configuration is of another
// version by then, nothing is changed: [cfgblob.ErrConflict].
func (w *Worker) SetConfig(ctx context.Context, key string, value any, ifVersion uint64) (version uint64, err error) {
	return w.config.Set(ctx, key, value, ifVersion)
}

// Child is the worker's line to the node's server, for what is not wrapped here:
// tasks ([shmkit/spawn/task]), inherited files, messages from resources.
func (w *Worker) Child() *spawn.Child { return w.child }

// Ready tells the node that the worker is ready, where Spec.ReadyTimeout asks for
// that.
func (w *Worker) Ready() error { return w.child.Ready() }

// Beat is the worker's heartbeat, where Spec.Heartbeat asks for one: it says "I am
// getting on", and costs a few nanoseconds.
func (w *Worker) Beat() { w.child.Beat() }

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
