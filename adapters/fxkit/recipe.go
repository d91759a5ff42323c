package fxkit

import (
	"context"
	"fmt"
	"reflect"
	"slices"
)

// A recipe is a constructor that has been given its dependencies. It can be followed
// any number of times. release lets go of what it made; it is never nil.
type recipe[T any] func(ctx context.Context) (v T, release func() error, err error)

var contextType = reflect.TypeFor[context.Context]()

// A maker is a constructor, looked at:
//
//	func([context.Context,] dependencies…) (T [, func() error] [, error])
//
// The context is not a dependency: it is that of whoever asks for a T.
type maker struct {
	fn      reflect.Value
	takes   bool           // a context first
	needs   []reflect.Type // the dependencies
	release int            // index of the release function among the results, or 0
	err     int            // index of the error, or 0
}

var releaseType = reflect.TypeFor[func() error]()

func makerOf[T any](constructor any) (m maker, err error) {
	want := reflect.TypeFor[T]()
	t := reflect.TypeOf(constructor)
	wrong := fmt.Errorf("fxkit: constructor of %v is a %v: want a func(…) (%v [, func() error] [, error]) that is not variadic", want, t, want)
	if t == nil || t.Kind() != reflect.Func || t.IsVariadic() || t.NumOut() == 0 || t.NumOut() > 3 || !t.Out(0).AssignableTo(want) {
		return m, wrong
	}
	m.fn = reflect.ValueOf(constructor)
	for i := range t.NumIn() {
		if i == 0 && t.In(i) == contextType {
			m.takes = true
			continue
		}
		m.needs = append(m.needs, t.In(i))
	}
	for i := 1; i < t.NumOut(); i++ {
		switch {
		case t.Out(i) == releaseType && m.release == 0 && m.err == 0:
			m.release = i
		case t.Out(i) == errorType && m.err == 0:
			m.err = i
		default:
			return m, wrong
		}
	}
	return m, nil
}

// factoryOf is makerOf for what is made anew at each call: there is nobody who could
// call a release.
func factoryOf[T any](constructor any) (maker, error) {
	m, err := makerOf[T](constructor)
	if err == nil && m.release > 0 {
		want := reflect.TypeFor[T]()
		err = fmt.Errorf("fxkit: constructor of %v is a %v: what a factory makes is its caller's, so nobody would call the func() error: give %v a method for that, or use ProvideScoped or ProvideSingleton", want, m.fn.Type(), want)
	}
	return m, err
}

func nothing() error { return nil }

// recipeOf gives a constructor its dependencies.
func recipeOf[T any](m maker, needs []reflect.Value) recipe[T] {
	return func(ctx context.Context) (v T, release func() error, err error) {
		args := needs
		if m.takes {
			args = slices.Concat([]reflect.Value{reflect.ValueOf(&ctx).Elem()}, needs)
		}
		out := m.fn.Call(args)
		if m.err > 0 {
			err, _ = out[m.err].Interface().(error)
		}
		if m.release > 0 {
			release, _ = out[m.release].Interface().(func() error)
		}
		if release == nil {
			release = nothing
		}
		if err == nil {
			v, _ = out[0].Interface().(T)
		}
		return v, release, err
	}
}

// provider makes a constructor for fx: it takes extra and then the dependencies of all
// makers, and returns what finish makes of them.
func provider[T, R any](makers []maker, extra []reflect.Type, finish func(extra []reflect.Value, recipes []recipe[T]) R) any {
	in := slices.Clone(extra)
	for _, m := range makers {
		in = append(in, m.needs...)
	}
	t := reflect.FuncOf(in, []reflect.Type{reflect.TypeFor[R]()}, false)
	return reflect.MakeFunc(t, func(args []reflect.Value) []reflect.Value {
		recipes := make([]recipe[T], len(makers))
		rest := args[len(extra):]
		for i, m := range makers {
			n := len(m.needs)
			recipes[i], rest = recipeOf[T](m, rest[:n:n]), rest[n:]
		}
		return []reflect.Value{reflect.ValueOf(finish(args[:len(extra)], recipes))}
	}).Interface()
}
