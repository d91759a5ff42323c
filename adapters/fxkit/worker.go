package fxkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strings"

	"go.uber.org/dig"
	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"

	"shmkit"
	"shmkit/cfgblob"
)

// Who a worker is: ask for these types.
type (
	Run   string // name of the run
	Group string // name of the group this worker was started in
	Rank  int    // 0 … Size−1 within the group
	Size  int    // workers in the group
)

// Func registers fn, with the options it is built with, as the worker function
// called name, and returns name. Like [shmkit.Func] it is for package-level
// variables, and panics on a name that is taken and on a fn of another shape.
//
// fn is a function that returns an error; its parameters, [fx.In] structs among
// them, are what it is given. Beside what the options provide, everything in a worker
// can ask for
//
//	context.Context     ends when the worker is to stop
//	*slog.Logger        the worker's logger
//	cfgblob.View        the run's configuration, untyped
//	Run, Group, Rank, Size
//	*shmkit.Worker      all of it
//	*Singletons         to reset all of them
//
// and, as in every application, for [fx.Lifecycle] and [fx.Shutdowner], which ends the
// context. fx's own events are logged at level debug.
func Func(name string, fn any, options ...fx.Option) string {
	t := reflect.TypeOf(fn)
	if t == nil || t.Kind() != reflect.Func || t.NumOut() != 1 || t.Out(0) != errorType || t.IsVariadic() {
		panic(fmt.Sprintf("fxkit: worker function %q is a %v: want a func(…) error that is not variadic", name, t))
	}
	g := &graph{name: name, fn: reflect.ValueOf(fn), options: options}
	shmkit.Func(name, g.run)
	graphs[name] = g // Func calls are in order: package initialization
	return name
}

// graphs are the registered worker functions. Written while packages are
// initialized, only read after that.
var graphs = map[string]*graph{}

// A graph is a worker function and what it is built from.
type graph struct {
	name    string
	fn      reflect.Value
	options []fx.Option
}

var errorType = reflect.TypeFor[error]()

// run is the worker function as shmkit knows it.
func (g *graph) run(outer context.Context, w *shmkit.Worker) (err error) {
	overrides, err := overridesHere()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	var args []reflect.Value
	app := fx.New(fx.Options(g.base(ctx, w)...), shutdowner(cancel), fx.Options(overrides...), g.invoke(&args))
	if err := app.Err(); err != nil {
		return g.explain(err)
	}
	if err := g.start(outer, app); err != nil {
		return err
	}
	// Deferred, so that hooks run after a panic too, which goes on afterwards.
	defer func() { err = g.stop(ctx, app, err) }()
	if err := w.Ready(); err != nil {
		return err
	}
	err, _ = g.fn.Call(args)[0].Interface().(error)
	return err
}

func (g *graph) start(ctx context.Context, app *fx.App) error {
	ctx, cancel := context.WithTimeout(ctx, app.StartTimeout())
	defer cancel()
	if err := app.Start(ctx); err != nil {
		return fmt.Errorf("fxkit: worker function %q: start: %w", g.name, err)
	}
	return nil
}

// stop runs the OnStop hooks, for which the end of ctx does not matter, and returns
// what the worker is to fail with: err is what its function returned.
func (g *graph) stop(ctx context.Context, app *fx.App, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // asked to stop, and stopped
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), app.StopTimeout())
	defer cancel()
	if stopErr := app.Stop(ctx); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("fxkit: worker function %q: stop: %w", g.name, stopErr))
	}
	return err
}

// shutdowner makes the fx.Shutdowner of a worker end its context. (fx's own tells
// those who wait for the application, which in a worker is nobody. Exit codes are the
// function's, by its error.)
func shutdowner(cancel context.CancelCauseFunc) fx.Option {
	return fx.Decorate(func() fx.Shutdowner { return endContext(cancel) })
}

type endContext context.CancelCauseFunc

// ErrShutdown is the cause of a worker's context after fx.Shutdowner.Shutdown.
var ErrShutdown = errors.New("fxkit: a part of the worker has asked for its end")

func (e endContext) Shutdown(...fx.ShutdownOption) error {
	e(ErrShutdown)
	return nil
}

// base is what every worker is built from. Without a worker it is good for looking
// at the graph only.
func (g *graph) base(ctx context.Context, w *shmkit.Worker) []fx.Option {
	return append([]fx.Option{
		fx.Provide(
			func() context.Context { return ctx },
			func() *shmkit.Worker { return w },
			func() *slog.Logger { return w.Log },
			func() cfgblob.View { return w.Snapshots() },
			func() (Run, Group, Rank, Size) { return Run(w.Run), Group(w.Group), Rank(w.Rank), Size(w.Size) },
			func() *Singletons { return new(Singletons) },
		),
		fx.Logger(quiet{}), // what fx falls back to when it cannot make the other one
		fx.WithLogger(func() fxevent.Logger { return eventLogger(w) }),
	}, g.options...)
}

// invoke takes what the worker function is to be called with out of the graph. It is
// called later: when everything has been started.
func (g *graph) invoke(args *[]reflect.Value) fx.Option {
	t := g.fn.Type()
	in := make([]reflect.Type, t.NumIn())
	for i := range in {
		in[i] = t.In(i)
	}
	return fx.Invoke(reflect.MakeFunc(reflect.FuncOf(in, nil, false), func(a []reflect.Value) []reflect.Value {
		*args = a
		return nil
	}).Interface())
}

// explain says which worker function cannot be built.
func (g *graph) explain(err error) error {
	return &GraphError{Func: g.name, Err: err}
}

// A GraphError says that what a worker function needs cannot be built. Its text is the
// cause; the way there, through functions made by reflection, would not help.
type GraphError struct {
	Func string // the worker function
	Err  error  // fx's
}

func (e *GraphError) Error() string {
	text := madeByReflection.ReplaceAllString(dig.RootCause(e.Err).Error(), "")
	text = fmt.Sprintf("fxkit: worker function %q cannot be built: %s", e.Func, strings.ReplaceAll(text, "\n", " "))
	if isMissing(e.Err) {
		text += ": add its provider to the options of fxkit.Func, or an override"
	}
	return text
}

// madeByReflection matches the name of a function that has none.
var madeByReflection = regexp.MustCompile(`missing dependencies for function "reflect"\.makeFuncStub \([^)]*\): `)

func (e *GraphError) Unwrap() error { return e.Err }

// eventLogger takes what fx has to say. Without a worker nobody asked.
func eventLogger(w *shmkit.Worker) fxevent.Logger {
	if w == nil {
		return fxevent.NopLogger
	}
	l := &fxevent.SlogLogger{Logger: w.Log}
	l.UseLogLevel(slog.LevelDebug)
	return l
}

// quiet drops what fx would print of a graph that is too broken for a logger. The
// error tells it, too.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
