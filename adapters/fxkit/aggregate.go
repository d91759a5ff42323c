package fxkit

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.uber.org/fx"
)

// Cases are constructors by name: for [ProvideAggregate] in the form that
// [ProvideFactory] takes, for [ProvideSelector] in that of [ProvideSingleton].
type Cases map[string]any

// makersOf looks at all constructors, in the order of their names.
func makersOf(cases Cases, look func(constructor any) (maker, error)) (names []string, makers []maker, err error) {
	names = slices.Sorted(maps.Keys(cases))
	for _, name := range names {
		m, err := look(cases[name])
		if err != nil {
			return nil, nil, fmt.Errorf("%w (case %q)", err, name)
		}
		makers = append(makers, m)
	}
	return names, makers, nil
}

// An Aggregate makes a new T by one of several constructors, chosen by name. What it
// makes is the caller's.
type Aggregate[T any] map[string]Factory[T]

// ProvideAggregate lets a worker ask for an Aggregate[T].
func ProvideAggregate[T any](cases Cases) fx.Option {
	names, makers, err := makersOf(cases, factoryOf[T])
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider(makers, nil, func(_ []reflect.Value, recipes []recipe[T]) Aggregate[T] {
		a := Aggregate[T]{}
		for i, how := range recipes {
			a[names[i]] = factory(how)
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

func keys[V any](m map[string]V) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
