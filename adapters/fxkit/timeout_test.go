package fxkit_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/call"
	"shmkit/dataio/sqlproxy"
	"shmkit/logring"
)

// deaf does not end when it is asked to.
var deaf = fxkit.Func("deaf", func(ctx context.Context, log *slog.Logger) error {
	<-ctx.Done()
	log.Info("asked to end")
	time.Sleep(time.Hour)
	return nil
})

// kept is a resource that tells when it is closed.
type kept struct{ closed bool }

func (k *kept) Close() error { k.closed = true; return nil }
func (k *kept) Donate(string, int, int) ([]*os.File, []string, io.Closer, error) {
	return nil, nil, nil, nil
}

// lastSink tells when something is written, and when the node has closed it, which is
// when its workers are dead.
type lastSink struct {
	logring.Sink
	closed chan struct{}
	wrote  func()
}

func (s *lastSink) Write(batch []logring.Record) error {
	defer s.wrote()
	return s.Sink.Write(batch)
}

func (s *lastSink) Close() error { close(s.closed); return s.Sink.Close() }

// Workers that take longer than the application waits are killed in time: the node is
// shut down, and what it shared is closed after it.
//
// (Planted once: workers stopped until the very end of the context. Nothing of what
// follows was run.)
func TestStopWithDeafWorkers(t *testing.T) {
	o, out := options(t)
	o.StopTimeout = time.Hour
	sink := &lastSink{logring.JSON(out), make(chan struct{}), func() {}}
	o.Sinks = []logring.Sink{sink}
	path := filepath.Join(t.TempDir(), "numbers.db")
	var db *sql.DB
	var a *account
	k := new(kept)
	app := fx.New(fxkit.Node(o), fx.NopLogger,
		fxkit.Share[*kept]("kept", func() *kept {
			return k
		}),
		fx.Provide(newAccount), fx.Populate(&a),
		fxkit.Serve[bank](call.Options{Name: "bank"}, func(a *account) bank { return bank{Withdraw: a.Withdraw} }),
		fx.Supply(path), fxkit.Database("main", sqlproxy.Policy{}, openNumbers),
		fx.Populate(fx.Annotate(&db, fx.ParamTags(`name:"main"`))),
		fxkit.Workers(shmkit.Spec{Func: deaf, Workers: 2, ReadyTimeout: time.Minute}))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	if err := app.Stop(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-sink.closed:
	default:
		t.Error("the node was not shut down")
	}
	if left, _ := os.ReadDir(o.Dir); len(left) > 0 {
		t.Errorf("left in the runtime directory: %v", left)
	}
	if err := db.Ping(); !says(err, "database is closed") {
		t.Errorf("the database was not closed: %v", err)
	}
	if !k.closed || !a.isStopped() {
		t.Errorf("shared resource closed: %v; account stopped: %v", k.closed, a.isStopped())
	}
}

// When the context is cancelled, fx runs no more hooks. The node is shut down all the
// same.
//
// (Planted once: a stop of the workers only. The node stayed.)
func TestStopThatIsCancelled(t *testing.T) {
	o, out := options(t)
	o.StopTimeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	sink := &lastSink{logring.JSON(out), make(chan struct{}), cancel} // when the worker says that it was asked to end
	o.Sinks = []logring.Sink{sink}
	var n *shmkit.Node
	app := fx.New(fxkit.Node(o), fx.NopLogger, fx.Populate(&n), fxkit.Workers(shmkit.Spec{Func: deaf, Workers: 1, ReadyTimeout: time.Minute}))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := app.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-sink.closed // fx does not wait for it
	n.Close()     // until the directory is gone, too
}

// An application waits as long as its workers may take, and then a little.
func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		options     shmkit.Options
		specs       []shmkit.Spec
		start, stop time.Duration
	}{
		{shmkit.Options{}, nil, fx.DefaultTimeout, 30 * time.Second},
		{shmkit.Options{StopTimeout: time.Minute}, []shmkit.Spec{{StopTimeout: time.Second}}, fx.DefaultTimeout, 70 * time.Second},
		{shmkit.Options{}, []shmkit.Spec{{StopTimeout: 2 * time.Minute}, {StopTimeout: -1}}, fx.DefaultTimeout, 130 * time.Second},
		{shmkit.Options{}, []shmkit.Spec{{ReadyTimeout: time.Minute}, {ReadyTimeout: time.Minute}}, 130 * time.Second, 30 * time.Second},
	} {
		// Nothing is built: the error comes before the node.
		app := fx.New(fx.Error(errors.New("not today")), fxkit.Node(c.options), fxkit.Workers(c.specs...), fx.NopLogger)
		if app.StartTimeout() != c.start || app.StopTimeout() != c.stop {
			t.Errorf("%v, %v: start %v, want %v; stop %v, want %v", c.options.StopTimeout, c.specs, app.StartTimeout(), c.start, app.StopTimeout(), c.stop)
		}
	}
	if app := fx.New(fx.Error(errors.New("not today")), fxkit.Node(shmkit.Options{}), fx.StopTimeout(time.Second), fx.NopLogger); app.StopTimeout() != time.Second {
		t.Errorf("the program's own timeout does not count: %v", app.StopTimeout())
	}
}
