package fxkit

import (
	"context"
	"reflect"

	"go.uber.org/fx"
)

// A Factory makes a new T at each call. What it makes is the caller's. Any number of
// goroutines may call it.
type Factory[T any] func(ctx context.Context) (T, error)

// ProvideFactory lets a worker ask for a Factory[T]. The constructor takes what it
// depends on, from the graph, and the caller's context first if it likes; it returns
// a T, or a T and an error. Its dependencies are those of the graph, the same at each
// call; what is to be new each time is a Factory among them.
func ProvideFactory[T any](constructor any) fx.Option {
	m, err := factoryOf[T](constructor)
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider([]maker{m}, nil, func(_ []reflect.Value, r []recipe[T]) Factory[T] {
		return factory(r[0])
	}))
}

func factory[T any](how recipe[T]) Factory[T] {
	return func(ctx context.Context) (T, error) {
		v, _, err := how(ctx)
		return v, err
	}
}
