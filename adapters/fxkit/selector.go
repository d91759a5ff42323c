package fxkit

import (
	"context"
	"fmt"
	"reflect"

	"go.uber.org/fx"

	"shmkit/cfgblob"
)

// A Selector is one of several things of a kind: the one that the live configuration
// names at the moment. Any number of goroutines may use it. The zero value is of no use:
// it is made by [ProvideSelector].
type Selector[T any] struct {
	key   func() string
	cases map[string]*Singleton[T]
}

// ProvideSelector lets a worker ask for a *Selector[T]. key names the case, given the
// current configuration, which the worker must have as well ([Config] of C). Each case
// is made when it is first selected, kept while another one is, and let go when the
// application stops.
func ProvideSelector[T, C any](key func(*C) string, cases Cases) fx.Option {
	names, makers, err := makersOf(cases, makerOf[T])
	if err != nil {
		return fx.Error(err)
	}
	needs := append([]reflect.Type{reflect.TypeFor[*cfgblob.Live[C]]()}, singletonNeeds...)
	return fx.Provide(provider(makers, needs, func(extra []reflect.Value, recipes []recipe[T]) *Selector[T] {
		live := extra[0].Interface().(*cfgblob.Live[C])
		s := &Selector[T]{func() string { return key(live.Load()) }, map[string]*Singleton[T]{}}
		for i, name := range names {
			s.cases[name] = newSingleton(extra[1:], recipes[i])
		}
		return s
	}))
}

// Get returns what the configuration names now: no configuration is remembered, so
// a change acts on the next Get in every worker.
func (s *Selector[T]) Get(ctx context.Context) (T, error) {
	_, v, err := s.Choose(ctx)
	return v, err
}

// Choose is Get, and tells the name of what it returns.
func (s *Selector[T]) Choose(ctx context.Context) (name string, v T, err error) {
	name = s.key() // read once: the next version may say otherwise
	one, ok := s.cases[name]
	if !ok {
		return name, v, fmt.Errorf("fxkit: selector of %v: the configuration says %q, which is none of %s: set it to one of them", reflect.TypeFor[T](), name, keys(s.cases))
	}
	v, err = one.Get(ctx)
	return name, v, err
}
