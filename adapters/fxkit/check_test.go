package fxkit_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/cfgblob"
)

// clock is what a test puts in place of another.
type clock interface{ Now() time.Time }

type still struct{}

func (still) Now() time.Time { return time.Unix(0, 0).UTC() }

var tells = fxkit.Func("tells", func(log *slog.Logger, c clock) error {
	log.Info(c.Now().Format(time.RFC3339))
	return nil
}, fx.Provide(func() clock { panic("the real clock is not to be made") }))

var fakeTime = fxkit.Override("fake-time", fx.Replace(fx.Annotate(still{}, fx.As(new(clock)))))

// An override that the test names in the node holds in the worker processes, and
// what it replaces is not made there.
func TestOverrideReachesWorkers(t *testing.T) {
	o, out := options(t)
	if code := run(t, o, shmkit.Spec{Func: tells, Workers: 2, Env: fxkit.With(fakeTime)}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for rank := range 2 {
		if got := out.messages(t, rank); !slices.Equal(got, []string{"1970-01-01T00:00:00Z"}) {
			t.Errorf("worker %d: %q", rank, got)
		}
	}
}

// A name that the worker does not know fails the worker, not silently the test.
func TestUnknownOverride(t *testing.T) {
	o, _ := options(t)
	n := node(t, o)
	spec := shmkit.Spec{Func: tells, Workers: 1, Env: []string{"SHMKIT_FX_OVERRIDES=nosuch"}}
	const want = `override "nosuch" is not registered (there are: `
	if _, err := fxkit.Start(n, spec); !says(err, want) {
		t.Error(err)
	}
	g, err := n.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); !says(err, "is not registered", "nosuch") {
		t.Error(err)
	}
}

var (
	lacks = fxkit.Func("lacks", func(*sql.DB) error { return nil })
	adds  = fxkit.Override("adds", fx.Provide(func() *sql.DB { return nil }))
	cycle = fxkit.Func("cycle", func(session) error { return nil }, fx.Provide(newSession, func(session) *store { return nil }))
	twice = fxkit.Func("twice", func(*store) error { return nil }, fx.Provide(newStore, newStore))
)

// A graph that cannot be built is found before a worker is started, and drawn.
func TestCheckBeforeAnyWorker(t *testing.T) {
	started := errors.New("a worker was started")
	o, _ := options(t)
	o.OnExit = func(shmkit.Exit) { t.Error(started) }
	n := node(t, o)
	for name, words := range map[string][]string{
		lacks: {`fxkit: worker function "lacks" cannot be built: missing type`, "*sql.DB", "add its provider to the options of fxkit.Func, or an override"},
		cycle: {`worker function "cycle" cannot be built`, "cycle"},
		twice: {`worker function "twice" cannot be built`, "already provided"},
	} {
		err := fxkit.Check(name)
		if !says(err, words...) {
			t.Errorf("%v\nwant %q", err, words)
		}
		if _, e := fxkit.Start(n, shmkit.Spec{Func: name, Workers: 2}); e == nil || e.Error() != err.Error() {
			t.Errorf("Start: %v", e)
		}
		var g *fxkit.GraphError
		if !errors.As(err, &g) || g.Func != name {
			t.Errorf("%T", err)
		}
	}
	if dot, err := fx.VisualizeError(fxkit.Check(lacks)); err != nil || !strings.Contains(dot, "sql.DB") {
		t.Errorf("%q, %v", dot, err)
	}
	if err := fxkit.Check(lacks, adds); err != nil {
		t.Errorf("with what it lacks: %v", err)
	}
	if err := fxkit.Check("nosuch"); !says(err, `worker function "nosuch" is not registered (there are: `, "asks") {
		t.Error(err)
	}
	o, _ = options(t)
	app := fx.New(fxkit.Node(o), fxkit.Workers(shmkit.Spec{Func: lacks, Workers: 1}), fx.NopLogger)
	if !says(app.Err(), `worker function "lacks" cannot be built`) {
		t.Error(app.Err())
	}
}

// Drawing runs nothing: tells' constructor would panic.
func TestGraph(t *testing.T) {
	dot, err := fxkit.Graph(tells)
	if err != nil || !strings.HasPrefix(string(dot), "digraph") || !strings.Contains(string(dot), "fxkit_test.clock") {
		t.Errorf("%v\n%s", err, dot)
	}
	if _, err := fxkit.Graph("nosuch"); !says(err, "is not registered") {
		t.Error(err)
	}
	if _, err := fxkit.Graph(twice); !says(err, "already provided") {
		t.Error(err)
	}
}

// A node whose application cannot be built or started is closed: options checks that
// nothing is left.
func TestNodeIsClosed(t *testing.T) {
	o, _ := options(t)
	app := fx.New(fxkit.Node(o), fx.Invoke(func(*shmkit.Node) error { return errors.New("no luck") }), fx.NopLogger)
	if !says(app.Err(), "no luck") {
		t.Error(app.Err())
	}
	if left, _ := os.ReadDir(o.Dir); len(left) > 0 {
		t.Errorf("after a build that failed: %v", left)
	}
	o, _ = options(t)
	app = fx.New(fxkit.Node(o), fx.Invoke(func(lc fx.Lifecycle) {
		lc.Append(fx.StartHook(func() error { return errors.New("no port") }))
	}), fx.NopLogger)
	if err := app.Start(t.Context()); !says(err, "no port") {
		t.Error(err)
	}
	limits, err := newLimits()
	if err != nil {
		t.Fatal(err)
	}
	defer limits.Close()
	o, _ = options(t) // fails before it is the node's turn
	app = fx.New(fxkit.Node(o), fxkit.Share[*cfgblob.Store]("x", func(lc fx.Lifecycle) *cfgblob.Store {
		lc.Append(fx.StartHook(func() error { return errors.New("no port") }))
		return limits
	}), fx.NopLogger)
	if err := app.Start(t.Context()); !says(err, "no port") {
		t.Error(err)
	}
	o, _ = options(t)
	o.Name = "not a name"
	if app := fx.New(fxkit.Node(o), fx.NopLogger); !says(app.Err(), "not a name") {
		t.Error(app.Err())
	}
}

var endless = fxkit.Func("endless", func(ctx context.Context) error {
	<-ctx.Done()
	return nil
})

// An application that is stopped stops its workers.
func TestStopOfTheOwner(t *testing.T) {
	o, _ := options(t)
	app := fx.New(fxkit.Node(o), fxkit.Workers(shmkit.Spec{Func: endless, Workers: 2}), fx.NopLogger)
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := app.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
