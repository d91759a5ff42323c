package fxkit

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"go.uber.org/fx"
)

// NewScope begins a scope: a request, a file, a transaction. Each [Scoped] thing
// exists at most once in it. end lets go of them in the reverse order of their making
// and must be called; the second call does nothing. A scope inside another one is
// one of its own.
func NewScope(ctx context.Context) (scoped context.Context, end func() error) {
	s := &scope{things: map[any]any{}}
	return context.WithValue(ctx, scopeKey{}, s), s.end
}

type scopeKey struct{}

type scope struct {
	mu       sync.Mutex
	ended    bool
	things   map[any]any // *Scoped[T] → *thing[T]
	releases []func() error
}

func (s *scope) end() error {
	s.mu.Lock()
	releases := s.releases
	s.ended, s.releases = true, nil
	s.mu.Unlock()
	var errs []error
	for _, release := range slices.Backward(releases) {
		errs = append(errs, release())
	}
	return errors.Join(errs...)
}

// A Scoped makes one T for each scope, when it is first asked for there. Any number
// of goroutines may use it.
type Scoped[T any] struct{ make recipe[T] }

// ProvideScoped lets a worker ask for a *Scoped[T]. The constructor may take the
// scope's context first, to Get other scoped things, and may return a func() error
// after the T, which lets go of it at the end of the scope.
func ProvideScoped[T any](constructor any) fx.Option {
	m, err := makerOf[T](constructor)
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider([]maker{m}, nil, func(_ []reflect.Value, r []recipe[T]) *Scoped[T] {
		return &Scoped[T]{r[0]}
	}))
}

type thing[T any] struct {
	mu    sync.Mutex // held while it is made
	made  bool
	value T
}

// Get returns the T of the scope that ctx belongs to. An error is not kept: the next
// Get tries again.
func (s *Scoped[T]) Get(ctx context.Context) (v T, err error) {
	sc, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		return v, fmt.Errorf("fxkit: scoped %v: the context has no scope: begin one with fxkit.NewScope", reflect.TypeFor[T]())
	}
	sc.mu.Lock()
	t, ok := sc.things[s].(*thing[T])
	if !ok {
		t = new(thing[T])
		sc.things[s] = t
	}
	sc.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made {
		return t.value, nil
	}
	v, release, err := s.make(ctx)
	if err != nil {
		return v, err
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.ended {
		var none T
		return none, errors.Join(fmt.Errorf("fxkit: scoped %v: the scope has ended: begin another with fxkit.NewScope", reflect.TypeFor[T]()), release())
	}
	t.value, t.made = v, true
	sc.releases = append(sc.releases, release)
	return v, nil
}
