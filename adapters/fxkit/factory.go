package fxkit

import (
	"context"
	"reflect"
	"sync"

	"go.uber.org/fx"
)

// A Factory makes a new T at each call. What it makes is the caller's.
type Factory[T any] func(ctx context.Context) (T, error)

// ProvideFactory lets a worker ask for a Factory[T]. The constructor takes what it
// depends on, from the graph, and the caller's context first if it likes; it returns
// a T, or a T and an error. Its dependencies are those of the graph, the same at each
// call; what is to be new each time is a Factory among them.
func ProvideFactory[T any](constructor any) fx.Option {
	m, err := makerOf[T](constructor)
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider([]maker{m}, nil, func(_ []reflect.Value, r []recipe[T]) Factory[T] {
		return func(ctx context.Context) (T, error) {
			v, _, err := r[0](ctx)
			return v, err
		}
	}))
}

// A Singleton makes one T, when it is first asked for, and keeps it until it is reset.
// Any number of goroutines may use it. (What fx provides is a singleton as well; this
// is for those that have to be made anew.)
type Singleton[T any] struct {
	make recipe[T]

	mu      sync.Mutex
	value   T
	release func() error // nil: there is none
}

// ProvideSingleton lets a worker ask for a *Singleton[T]. The constructor may return
// a func() error after the T, which lets go of it: at Reset, or when the worker stops.
func ProvideSingleton[T any](constructor any) fx.Option {
	m, err := makerOf[T](constructor)
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider([]maker{m}, []reflect.Type{lifecycleType}, func(extra []reflect.Value, r []recipe[T]) *Singleton[T] {
		s := &Singleton[T]{make: r[0]}
		extra[0].Interface().(fx.Lifecycle).Append(fx.StopHook(s.Reset))
		return s
	}))
}

var lifecycleType = reflect.TypeFor[fx.Lifecycle]()

// Get returns the T. If there is none it is made, with this context; others who come
// meanwhile wait for it. An error is not kept: the next Get tries again.
func (s *Singleton[T]) Get(ctx context.Context) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release == nil {
		v, release, err := s.make(ctx)
		if err != nil {
			return v, err
		}
		s.value, s.release = v, release
	}
	return s.value, nil
}

// Reset lets go of the T, if there is one: the next Get makes another. Whoever still
// has it has one that was let go.
func (s *Singleton[T]) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release == nil {
		return nil
	}
	release := s.release
	var none T
	s.value, s.release = none, nil
	return release()
}
