package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/call"
	"shmkit/cfgblob"
)

// limits are a configuration of their own, beside the run's.
func newLimits() (*cfgblob.Store, error) {
	return cfgblob.NewStore(cfgblob.StoreOptions{Name: "limits"}, []byte(`{"rate":7}`))
}

var shares = fxkit.Func("shares", func(log *slog.Logger, limits *cfgblob.Reader, hits *hits) error {
	rate, err := limits.Get("rate")
	for range 1000 {
		hits.add()
	}
	log.Info(fmt.Sprint("rate ", rate))
	return err
}, fxkit.Shared("limits", cfgblob.Attach), fxkit.Shared("hits", attachHits))

// What the owner shares is one thing in all workers: a second configuration, and
// counters that each worker has one of and the owner sums.
func TestShared(t *testing.T) {
	o, out := options(t)
	var limits *cfgblob.Store
	var sum uint64
	code := run(t, o, shmkit.Spec{Func: shares, Workers: 3},
		fxkit.Share[*cfgblob.Store]("limits", newLimits),
		fxkit.Share[*board]("hits", newBoard),
		fx.Invoke(fx.Annotate(func(lc fx.Lifecycle, l *cfgblob.Store, b *board) {
			limits = l
			lc.Append(fx.StopHook(func() { sum = b.sum() }))
		}, fx.ParamTags("", `name:"limits"`, `name:"hits"`))))
	if code != 0 || sum != 3000 {
		t.Errorf("exit code %d, sum %d", code, sum)
	}
	if got := out.messages(t, 1); !slices.Equal(got, []string{"rate 7"}) {
		t.Errorf("%q", got)
	}
	if _, err := limits.Set("", "rate", 8, 0); err == nil {
		t.Error("the shared store was not closed")
	}
}

// account is an object of the owner; workers may do a part of what it can.
type account struct {
	stopped chan struct{} // closed when it is

	mu      sync.Mutex
	balance int
}

func newAccount(lc fx.Lifecycle) *account {
	a := &account{balance: 100, stopped: make(chan struct{})}
	lc.Append(fx.StopHook(func() { close(a.stopped) }))
	return a
}

func (a *account) isStopped() bool {
	select {
	case <-a.stopped:
		return true
	default:
		return false
	}
}

var errBroke = errors.New("not that much left")

func init() { call.RegisterError("fxkit_test.errBroke", errBroke) }

func (a *account) Withdraw(ctx context.Context, n int) (left int, err error) {
	if a.isStopped() {
		panic("used after its stop")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > a.balance {
		return a.balance, errBroke
	}
	a.balance -= n
	return a.balance, nil
}

// bank is the part. Workers can ask for it, or for an interface.
type bank struct {
	Withdraw func(ctx context.Context, n int) (int, error)
	Wait     func(ctx context.Context) error
}

//go:generate go run shmkit/call/proxygen -type withdrawer

type withdrawer interface {
	Withdraw(ctx context.Context, n int) (left int, err error)
}

var spends = fxkit.Func("spends", func(ctx context.Context, log *slog.Logger, w withdrawer) error {
	for n := 0; ; n++ {
		_, err := w.Withdraw(ctx, 1)
		if errors.Is(err, errBroke) {
			log.Info("spent", "n", n)
			return nil
		}
		if err != nil {
			return err
		}
	}
}, fxkit.Proxy[withdrawerCalls]("bank"), fx.Provide(func(c withdrawerCalls) withdrawer { return newWithdrawerProxy(c, time.Hour) }))

// Calls run in the owner, on the one object there is; its errors are found again.
func TestProxy(t *testing.T) {
	o, _ := options(t)
	var a *account
	code := run(t, o, shmkit.Spec{Func: spends, Workers: 3}, fx.Provide(newAccount), fx.Populate(&a),
		fxkit.Serve[withdrawerCalls](call.Options{Name: "bank"}, func(a *account) withdrawerCalls { return newWithdrawerCalls(a) }))
	if code != 0 || a.balance != 0 || !a.isStopped() {
		t.Errorf("exit code %d, balance %d, stopped %v", code, a.balance, a.isStopped())
	}
}

var hangs = fxkit.Func("hangs", func(ctx context.Context, b bank) error { return b.Wait(context.Background()) }, fxkit.Proxy[bank]("bank"))

// The owner stops in the reverse order of its start while workers still call: nobody
// waits for ever, and what a function uses is there until it has returned.
//
// (Planted once: a Serve whose hook does not wait. The account was stopped.)
func TestProxyWhenTheOwnerStops(t *testing.T) {
	o, _ := options(t)
	entered, cause := make(chan struct{}), make(chan error, 1)
	app := fx.New(fxkit.Node(o), fxkit.Workers(shmkit.Spec{Func: hangs, Workers: 1, StopTimeout: -1}), fx.NopLogger, fx.Provide(newAccount),
		fxkit.Serve[bank](call.Options{Name: "bank"}, func(a *account) bank {
			return bank{Wait: func(ctx context.Context) error {
				close(entered)
				<-ctx.Done()
				cause <- context.Cause(ctx)
				select {
				case <-a.stopped:
					t.Error("stopped while a function used it")
				case <-time.After(50 * time.Millisecond): // nothing is waited for but what shall not happen
				}
				return ctx.Err()
			}}
		}))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := app.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-cause; !errors.Is(err, call.ErrWorkerGone) {
		t.Errorf("the call was ended by %v", err)
	}
}

// What the owner does not give is said by name, and so is a name given twice.
func TestSharedErrors(t *testing.T) {
	o, _ := options(t)
	n := node(t, o)
	for fn, want := range map[string]string{spends: `no resource \"bank\": add fxkit.Serve of that name`, shares: `no resource \"limits\": add fxkit.Share of that name`} {
		g, err := n.Start(shmkit.Spec{Func: fn, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Wait(); !says(err, want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	o, _ = options(t)
	b, err := newBoard()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() // fx stops nothing when it could not build everything
	app := fx.New(fxkit.Node(o), fx.NopLogger, fxkit.Share[*board]("x", func() *board { return b }), fxkit.Serve[bank](call.Options{Name: "x"}, func() bank { return bank{Wait: func(context.Context) error { return nil }} }))
	if !says(app.Err(), `two resources are called "x": give one of them another name`) {
		t.Error(app.Err())
	}
	o, _ = options(t)
	app = fx.New(fxkit.Node(o), fx.NopLogger, fxkit.Serve[bank](call.Options{Name: "x"}, func() bank { return bank{} }))
	if !says(app.Err(), "every function of the API fxkit_test.bank is nil") {
		t.Error(app.Err())
	}
}
