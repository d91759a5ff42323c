package fxkit_test

import (
	"context"
	"fmt"

	"go.uber.org/dig"
	"go.uber.org/fx"

	"shmkit/adapters/fxkit"
)

// A part of a program can ask for a factory or a singleton of an interface, and leave
// it to the whole what is made. Without it the graph cannot be built.
func Example_abstract() {
	drawing := fx.Invoke(func(newShape fxkit.Factory[shape], paper *fxkit.Singleton[surface]) {
		s, _ := newShape(context.Background())
		p, _ := paper.Get(context.Background())
		fmt.Println(s.Area(), "of", p.Size())
	})
	fmt.Println(dig.RootCause(fx.ValidateApp(drawing, fx.NopLogger)))
	graph(func() {},
		fxkit.ProvideFactory[shape](func() *square { return &square{3} }),
		fxkit.ProvideSingleton[surface](func() *sheet { return &sheet{} }),
		drawing)
	// Output:
	// missing types: fxkit.Factory[shmkit/adapters/fxkit_test.shape]; *fxkit.Singleton[shmkit/adapters/fxkit_test.surface]
	// 9 of 100
}

type (
	shape   interface{ Area() int }
	surface interface{ Size() int }
	square  struct{ side int }
	sheet   struct{}
)

func (s *square) Area() int { return s.side * s.side }
func (*sheet) Size() int    { return 100 }

// Attributes or arguments that another module adds to what a factory makes: a decorator
// of the factory.
func Example_addAttributes() {
	graph(func(newUser fxkit.Factory[*user]) {
		u, _ := newUser(context.Background())
		fmt.Println(u.name)
	},
		fxkit.ProvideFactory[*user](func() *user { return &user{"ada"} }),
		fx.Decorate(func(plain fxkit.Factory[*user]) fxkit.Factory[*user] {
			return func(ctx context.Context) (*user, error) {
				u, err := plain(ctx)
				if err == nil {
					u.name += ", admin"
				}
				return u, err
			}
		}))
	// Output:
	// ada, admin
}

// Who is to make things is given the provider, not a thing: a factory among a
// constructor's parameters.
func Example_delegate() {
	type pool []*user
	graph(func(p pool) { fmt.Println(len(p), p[0] == p[1]) },
		fxkit.ProvideFactory[*user](func() *user { return new(user) }),
		fx.Provide(func(newUser fxkit.Factory[*user]) (p pool, err error) {
			for range 2 {
				u, err := newUser(context.Background())
				if err != nil {
					return nil, err
				}
				p = append(p, u)
			}
			return p, nil
		}))
	// Output:
	// 2 false
}

// All singletons at once, in the reverse order of how they depend on each other.
func ExampleSingletons() {
	named := func(name string) func() (string, func() error) {
		return func() (string, func() error) {
			fmt.Println("make", name)
			return name, func() error { fmt.Println("close", name); return nil }
		}
	}
	type cache string
	graph(func(conn *fxkit.Singleton[string], caches *fxkit.Singleton[cache], all *fxkit.Singletons) {
		caches.Get(context.Background())
		all.Reset()
		conn.Get(context.Background())
		fmt.Println("stop")
	},
		fx.Supply(new(fxkit.Singletons)), // a worker and an owner have it
		fxkit.ProvideSingleton[string](named("connection")),
		fxkit.ProvideSingleton[cache](func(ctx context.Context, conn *fxkit.Singleton[string]) (cache, func() error, error) {
			_, err := conn.Get(ctx)
			name, end := named("cache")()
			return cache(name), end, err
		}))
	// Output:
	// make connection
	// make cache
	// close cache
	// close connection
	// make connection
	// stop
	// close connection
}
