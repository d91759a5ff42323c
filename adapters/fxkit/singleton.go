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

// A Singleton makes one T, when it is first asked for, and keeps it until it is reset.
// Any number of goroutines may use it. (What fx provides is a singleton as well; this
// is for those that have to be made late, or anew.) The zero value is of no use: it is
// made by [ProvideSingleton].
type Singleton[T any] struct {
	how  recipe[T]
	cell cell[T]
}

// ProvideSingleton lets a worker ask for a *Singleton[T]. The constructor may return
// a func() error after the T, which lets go of it: at Reset, or when the application
// stops.
func ProvideSingleton[T any](constructor any) fx.Option {
	m, err := makerOf[T](constructor)
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider([]maker{m}, singletonNeeds, func(extra []reflect.Value, r []recipe[T]) *Singleton[T] {
		return newSingleton(extra, r[0])
	}))
}

// singletonNeeds are what newSingleton is given.
var singletonNeeds = []reflect.Type{reflect.TypeFor[fx.Lifecycle](), reflect.TypeFor[registry]()}

type registry struct {
	fx.In
	All *Singletons `optional:"true"`
}

func newSingleton[T any](extra []reflect.Value, how recipe[T]) *Singleton[T] {
	s := &Singleton[T]{how: how}
	lc, all := extra[0].Interface().(fx.Lifecycle), extra[1].Interface().(registry).All
	lc.Append(fx.StartStopHook(s.cell.renew, func(ctx context.Context) error { return s.cell.empty(ctx, errStopped[T]()) }))
	all.add(s.Reset)
	return s
}

// ErrStopped is what a [Singleton] or a [Selector] says that is asked after the stop of
// its application.
var ErrStopped = errors.New("its application has stopped, and it with it")

func errStopped[T any]() error {
	return fmt.Errorf("fxkit: singleton %v: %w", reflect.TypeFor[T](), ErrStopped)
}

// Get returns the T. If there is none it is made, with this context; others who come
// meanwhile wait for it, as long as their own contexts allow. An error is not kept: the
// next Get tries again. After the stop of the application it is [ErrStopped].
func (s *Singleton[T]) Get(ctx context.Context) (T, error) { return s.cell.get(ctx, s.how) }

// Reset lets go of the T, if there is one: the next Get makes another. Whoever still
// has it has one that was let go. One that is being made is waited for.
func (s *Singleton[T]) Reset() error { return s.cell.reset() }

// Singletons are all of [ProvideSingleton] and [ProvideSelector] in one graph. Workers
// and applications with a [Node] can ask for a *Singletons; others supply an empty one:
//
//	fx.Supply(new(fxkit.Singletons))
//
// What fx itself provides is not among them: there is one of each, from start to stop.
type Singletons struct {
	mu     sync.Mutex
	resets []func() error
}

// add notes a singleton. Those of which it is made have been added before.
func (a *Singletons) add(reset func() error) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resets = append(a.resets, reset)
}

// Reset resets all of them, a singleton before those that it is made of.
func (a *Singletons) Reset() error {
	a.mu.Lock()
	resets := slices.Clone(a.resets)
	a.mu.Unlock()
	var errs []error
	for _, reset := range slices.Backward(resets) {
		errs = append(errs, reset())
	}
	return errors.Join(errs...)
}
