package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/cfgblob"
	"shmkit/spawn"
)

type store struct{ log *slog.Logger }

// newStore is a constructor with a start and a stop.
func newStore(lc fx.Lifecycle, log *slog.Logger) *store {
	log.Info("store: made")
	lc.Append(fx.StartStopHook(func() { log.Info("store: start") }, func() { log.Info("store: stop") }))
	return &store{log}
}

type session struct{ *store }

func newSession(lc fx.Lifecycle, s *store) session {
	lc.Append(fx.StartStopHook(func() { s.log.Info("session: start") }, func() { s.log.Info("session: stop") }))
	return session{s}
}

var asks = fxkit.Func("asks", func(ctx context.Context, in struct {
	fx.In
	Log    *slog.Logger
	Config *cfgblob.Live[config]
	View   cfgblob.View
	Rank   fxkit.Rank
	Size   fxkit.Size
	Group  fxkit.Group
	Run    fxkit.Run
	Worker *shmkit.Worker
}, s session) error {
	in.Log.Info(fmt.Sprint("body: ", in.Config.Load().Cipher, " ", in.View.Version(), " ", int(in.Rank), in.Size, in.Group, in.Run, in.Worker.Rank))
	return ctx.Err()
}, fxkit.Config[config](), fx.Provide(newStore, newSession))

// A worker function is given what it asks for, between the start and the stop of
// what that is made of.
func TestWorkerIsGivenWhatItAsksFor(t *testing.T) {
	o, out := options(t)
	o.Name = "given"
	if code := run(t, o, shmkit.Spec{Func: asks, Workers: 2, ReadyTimeout: time.Minute}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for rank := range 2 {
		want := []string{"store: made", "store: start", "session: start",
			fmt.Sprintf("body: rot13 1 %d 2asksgiven%d", rank, rank), "session: stop", "store: stop"}
		if got := out.messages(t, rank); !slices.Equal(got, want) {
			t.Errorf("worker %d: %q\nwant %q", rank, got, want)
		}
	}
}

var ends = fxkit.Func("ends", func(ctx context.Context, log *slog.Logger, rank fxkit.Rank, _ session) error {
	switch rank {
	case 0:
		return errors.New("out of cheese")
	case 1:
		panic("redo from start")
	case 2:
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}, fx.Provide(newStore, newSession))

// However a worker ends by itself, what was started is stopped.
func TestStopsHoweverItEnds(t *testing.T) {
	o, out := options(t)
	if code := run(t, o, shmkit.Spec{Func: ends, Workers: 4}); code != 2 { // a panic's
		t.Errorf("exit code %d", code)
	}
	for rank := range 4 {
		got := out.messages(t, rank)
		if i := slices.Index(got, "session: stop"); i < 0 || i+1 >= len(got) || got[i+1] != "store: stop" {
			t.Errorf("worker %d: %q", rank, got)
		}
	}
	if m := out.messages(t, 1); !slices.Contains(m, "worker panicked") {
		t.Errorf("%q", m)
	}
}

type broken struct{}

var (
	cannotMake = fxkit.Func("cannot-make", func(broken) error { return nil },
		fx.Provide(func() (broken, error) { return broken{}, errors.New("no cheese") }))
	cannotStart = fxkit.Func("cannot-start", func(session) error { return nil },
		fx.Provide(newStore, newSession),
		fx.Invoke(func(lc fx.Lifecycle, _ session) {
			lc.Append(fx.StartHook(func() error { return errors.New("no port") }))
		}))
	cannotStop = fxkit.Func("cannot-stop", func() error { return nil },
		fx.Invoke(func(lc fx.Lifecycle) {
			lc.Append(fx.StopHook(func() error { return errors.New("no way out") }))
		}))
	wrongConfig = fxkit.Func("wrong-config", func(*cfgblob.Live[numeric]) error { return nil }, fxkit.Config[numeric]())
)

type numeric struct {
	Cipher int `json:"cipher"`
}

// What goes wrong in a worker's graph is the worker's error, in one line that says
// which function and why.
func TestErrorsOfAGraph(t *testing.T) {
	o, out := options(t)
	n := node(t, o)
	for name, words := range map[string][]string{
		cannotMake:  {`worker function \"cannot-make\" cannot be built`, "no cheese"},
		cannotStart: {`worker function \"cannot-start\": start`, "no port"},
		wrongConfig: {`worker function \"wrong-config\" cannot be built`, "cipher", "expects an integer, has a string"},
		cannotStop:  {`worker function \"cannot-stop\": stop`, "no way out"},
	} {
		g, err := n.Start(shmkit.Spec{Func: name, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Wait(); !says(err, words...) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, words)
		}
	}
	_, err := n.Start(shmkit.Spec{Func: cannotStart, Workers: 1, ReadyTimeout: time.Minute})
	var notReady *spawn.NotReadyError
	if !errors.As(err, &notReady) {
		t.Errorf("ready before it had started: %v", err)
	}
	n.Close()
	if m := out.messages(t, 0); !slices.Contains(m, "store: stop") {
		t.Errorf("not stopped after a start that failed: %q", m)
	}
}

func TestWrongFunctions(t *testing.T) {
	for says, fn := range map[string]func(){
		"want a func(…) error":       func() { fxkit.Func("f", func() {}) },
		"is a int":                   func() { fxkit.Func("f", 7) },
		"is a <nil>":                 func() { fxkit.Func("f", nil) },
		"not variadic":               func() { fxkit.Func("f", func(...int) error { return nil }) },
		"asks registered twice":      func() { fxkit.Func("asks", func() error { return nil }) },
		"give it a name":             func() { fxkit.Override("a,b") },
		"fake-time registered twice": func() { fxkit.Override("fake-time") },
		`override "nosuch" is not registered (there are: `: func() { fxkit.With("nosuch") },
	} {
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, says) {
					t.Errorf("panic %q, want %q", p, says)
				}
			}()
			fn()
		}()
	}
}

var asked = fxkit.Func("asked", func(ctx context.Context, log *slog.Logger) error {
	<-ctx.Done()
	log.Info(fmt.Sprint(context.Cause(ctx)))
	return ctx.Err()
}, fx.Invoke(func(lc fx.Lifecycle, s fx.Shutdowner) {
	lc.Append(fx.StartHook(func() error { return s.Shutdown() }))
}))

// A part of a worker can ask for its end.
func TestShutdowner(t *testing.T) {
	o, out := options(t)
	if code := run(t, o, shmkit.Spec{Func: asked, Workers: 1}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := out.messages(t, 0); !slices.Equal(got, []string{"fxkit: a part of the worker has asked for its end"}) {
		t.Errorf("%q", got)
	}
}

var stubborn = fxkit.Func("stubborn", func(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}, fx.Invoke(func(lc fx.Lifecycle) {
	lc.Append(fx.StopHook(func() error { return errors.New("no way out") }))
}))

// A worker that was asked to stop and could not do it in order has failed.
func TestStopThatFails(t *testing.T) {
	o, _ := options(t)
	n := node(t, o)
	g, err := n.Start(shmkit.Spec{Func: stubborn, Workers: 1, ReadyTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	g.Stop(t.Context())
	if err := g.Wait(); !says(err, "no way out") {
		t.Error(err)
	}
}
