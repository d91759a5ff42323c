package fxkit

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.uber.org/fx"

	"shmkit/cfgblob"
)

// Cases are constructors by name, in the form that [ProvideSingleton] takes.
type Cases map[string]any

// makersOf looks at all constructors, in the order of their names.
func makersOf[T any](cases Cases) (names []string, makers []maker, err error) {
	names = slices.Sorted(maps.Keys(cases))
	for _, name := range names {
		m, err := makerOf[T](cases[name])
		if err != nil {
			return nil, nil, fmt.Errorf("%w (case %q)", err, name)
		}
		makers = append(makers, m)
	}
	return names, makers, nil
}

// An Aggregate makes a new T by one of several constructors, chosen by name.
type Aggregate[T any] map[string]Factory[T]

// ProvideAggregate lets a worker ask for an Aggregate[T].
func ProvideAggregate[T any](cases Cases) fx.Option {
	names, makers, err := makersOf[T](cases)
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider(makers, nil, func(_ []reflect.Value, recipes []recipe[T]) Aggregate[T] {
		a := Aggregate[T]{}
		for i, make := range recipes {
			a[names[i]] = func(ctx context.Context) (T, error) {
				v, _, err := make(ctx)
				return v, err
			}
		}
		return a
	}))
}

// New makes a T by the constructor of that name.
func (a Aggregate[T]) New(ctx context.Context, name string) (v T, err error) {
	if make, ok := a[name]; ok {
		return make(ctx)
	}
	return v, fmt.Errorf("fxkit: aggregate of %v: %q is none of %s", reflect.TypeFor[T](), name, keys(a))
}

// A Selector is one of several things of a kind: the one that the live configuration
// names at the moment. Any number of goroutines may use it.
type Selector[T any] struct {
	key   func() string
	cases map[string]*Singleton[T]
}

// ProvideSelector lets a worker ask for a *Selector[T]. key names the case, given the
// current configuration, which the worker must have as well ([Config] of C). Each case
// is made when it is first selected, kept while another one is, and let go when the
// worker stops.
func ProvideSelector[T, C any](key func(*C) string, cases Cases) fx.Option {
	names, makers, err := makersOf[T](cases)
	if err != nil {
		return fx.Error(err)
	}
	extra := []reflect.Type{lifecycleType, reflect.TypeFor[*cfgblob.Live[C]]()}
	return fx.Provide(provider(makers, extra, func(extra []reflect.Value, recipes []recipe[T]) *Selector[T] {
		lc, live := extra[0].Interface().(fx.Lifecycle), extra[1].Interface().(*cfgblob.Live[C])
		s := &Selector[T]{func() string { return key(live.Load()) }, map[string]*Singleton[T]{}}
		for i, name := range names {
			s.cases[name] = &Singleton[T]{make: recipes[i]}
			lc.Append(fx.StopHook(s.cases[name].Reset))
		}
		return s
	}))
}

// Get returns what the configuration names now: no configuration is remembered, so
// a change acts on the next Get in every worker.
func (s *Selector[T]) Get(ctx context.Context) (v T, err error) {
	name := s.key()
	if one, ok := s.cases[name]; ok {
		return one.Get(ctx)
	}
	return v, fmt.Errorf("fxkit: selector of %v: the configuration says %q, which is none of %s: set it to one of them", reflect.TypeFor[T](), name, keys(s.cases))
}

// Name is the case that the configuration names now.
func (s *Selector[T]) Name() string { return s.key() }

func keys[V any](m map[string]V) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
