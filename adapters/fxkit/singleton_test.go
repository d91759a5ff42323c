package fxkit_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/fx"

	"shmkit/adapters/fxkit"
)

func TestSingletonIsMadeOnceUntilReset(t *testing.T) {
	l := new(line)
	apply(t, func(one *fxkit.Singleton[*part]) {
		if l.made != 0 {
			t.Error("made before it was asked for")
		}
		a, _ := one.Get(t.Context())
		b, _ := one.Get(t.Context())
		if err := one.Reset(); a != b || a.n != 1 || err != nil {
			t.Error(a, b, err)
		}
		if c, _ := one.Get(t.Context()); c.n != 2 {
			t.Error(c)
		}
	}, fxkit.ProvideSingleton[*part](l.newPart))
	if !slices.Equal(l.said, []string{"released 1", "released 2"}) { // the second by the stop
		t.Error(l.said)
	}
}

// What cannot be made is tried again.
func TestSingletonTriesAgain(t *testing.T) {
	tries := 0
	apply(t, func(one *fxkit.Singleton[io.Closer]) {
		if _, err := one.Get(t.Context()); !says(err, "not yet") {
			t.Error(err)
		}
		if c, err := one.Get(t.Context()); c == nil || err != nil {
			t.Error(c, err)
		}
	}, fxkit.ProvideSingleton[io.Closer](func() (io.Closer, error) {
		if tries++; tries == 1 {
			return nil, errors.New("not yet")
		}
		return io.NopCloser(strings.NewReader("")), nil
	}))
}

// Who waits for one that another makes waits as long as its own context allows, and
// tries itself when the other failed.
func TestSingletonIsWaitedFor(t *testing.T) {
	entered, gate := make(chan struct{}), make(chan error)
	apply(t, func(one *fxkit.Singleton[*part]) {
		first, second := make(chan error), make(chan error)
		go func() { _, err := one.Get(t.Context()); first <- err }()
		<-entered
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := one.Get(ended); !errors.Is(err, context.Canceled) || !says(err, "*fxkit_test.part: waiting for another who makes it") {
			t.Error(err)
		}
		go func() { _, err := one.Get(t.Context()); second <- err }()
		gate <- errors.New("not yet")
		if err := <-first; !says(err, "not yet") {
			t.Error(err)
		}
		<-entered
		gate <- nil
		if err := <-second; err != nil {
			t.Error(err)
		}
	}, fxkit.ProvideSingleton[*part](func() (*part, error) {
		entered <- struct{}{}
		return new(part), <-gate
	}))
}

// A constructor that panics leaves nobody waiting.
func TestSingletonPanics(t *testing.T) {
	tries := 0
	apply(t, func(one *fxkit.Singleton[*part]) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			one.Get(t.Context())
		}()
		if p, err := one.Get(t.Context()); p == nil || err != nil {
			t.Error(p, err)
		}
	}, fxkit.ProvideSingleton[*part](func() *part {
		if tries++; tries == 1 {
			panic("out of cheese")
		}
		return new(part)
	}))
}

// After the stop nothing is made that nobody would let go; what is being made is.
//
// (Planted once: a stop that only resets. It waits for ErrStopped for ever.)
func TestSingletonAfterTheStop(t *testing.T) {
	l := new(line)
	var one *fxkit.Singleton[*part]
	entered, gate := make(chan struct{}, 2), make(chan struct{}, 2)
	app := fx.New(fx.Populate(&one), fx.NopLogger, fxkit.ProvideSingleton[*part](func() (*part, func() error, error) {
		entered <- struct{}{}
		<-gate
		return l.newPart()
	}))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, stopped := make(chan error), make(chan error)
	go func() { _, err := one.Get(t.Context()); got <- err }()
	<-entered
	go func() { stopped <- app.Stop(t.Context()) }()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for { // until the stop has come to it
		if _, err := one.Get(ended); errors.Is(err, fxkit.ErrStopped) {
			break
		}
		runtime.Gosched()
	}
	gate <- struct{}{}
	if err := <-got; !errors.Is(err, fxkit.ErrStopped) || !says(err, "singleton *fxkit_test.part") {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := one.Reset(); err != nil {
		t.Error(err)
	}
	gate <- struct{}{}
	if p, err := one.Get(t.Context()); p != nil || !errors.Is(err, fxkit.ErrStopped) {
		t.Error(p, err)
	}
	if l.made != 1 || !slices.Equal(l.said, []string{"released 1"}) {
		t.Error(l)
	}
	// An application can be started again.
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, err := one.Get(t.Context()); err != nil || p.n != 2 {
		t.Error(p, err)
	}
	if err := app.Stop(t.Context()); err != nil || !slices.Equal(l.said, []string{"released 1", "released 2"}) {
		t.Error(l.said, err)
	}
}
