package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/fx"

	"shmkit/adapters/fxkit"
	"shmkit/cfgblob"
)

// graph builds an application and calls invoke: local providers need no worker.
func graph(invoke any, options ...fx.Option) error {
	app := fx.New(fx.Options(options...), fx.Invoke(invoke), fx.NopLogger)
	return errors.Join(app.Start(context.Background()), app.Stop(context.Background()))
}

type user struct{ name string }

// A new one at each call, with what it depends on from the graph.
func ExampleProvideFactory() {
	type prefix string
	graph(func(newUser fxkit.Factory[*user]) {
		a, _ := newUser(context.Background())
		b, _ := newUser(context.Background())
		fmt.Println(a.name, b.name, a == b)
	},
		fx.Supply(prefix("user of ")),
		fxkit.ProvideFactory[*user](func(p prefix) *user { return &user{string(p) + "shmkit"} }))
	// Output:
	// user of shmkit user of shmkit false
}

// Arguments of the call beside those of the graph: a function is a provider's result.
func Example_factoryWithArguments() {
	type prefix string
	graph(func(newUser func(name string) *user) {
		fmt.Println(newUser("ada").name)
	},
		fx.Supply(prefix("Dr. ")),
		fx.Provide(func(p prefix) func(string) *user {
			return func(name string) *user { return &user{string(p) + name} }
		}))
	// Output:
	// Dr. ada
}

// One, until it is reset.
func ExampleProvideSingleton() {
	n := 0
	err := graph(func(conn *fxkit.Singleton[string]) {
		ctx := context.Background()
		a, _ := conn.Get(ctx)
		b, _ := conn.Get(ctx)
		conn.Reset()
		c, _ := conn.Get(ctx)
		fmt.Println(a, b, c)
	}, fxkit.ProvideSingleton[string](func() (string, func() error) {
		n++
		name := fmt.Sprint("connection ", n)
		return name, func() error { fmt.Println("close", name); return nil }
	}))
	fmt.Println(err)
	// Output:
	// close connection 1
	// connection 1 connection 1 connection 2
	// close connection 2
	// <nil>
}

// One for each request, let go at its end.
func ExampleNewScope() {
	n := 0
	graph(func(txs *fxkit.Scoped[string]) {
		for range 2 {
			ctx, end := fxkit.NewScope(context.Background())
			a, _ := txs.Get(ctx)
			b, _ := txs.Get(ctx)
			fmt.Println(a, b)
			end()
		}
	}, fxkit.ProvideScoped[string](func() (string, func() error) {
		n++
		name := fmt.Sprint("tx", n)
		return name, func() error { fmt.Println("commit", name); return nil }
	}))
	// Output:
	// tx1 tx1
	// commit tx1
	// tx2 tx2
	// commit tx2
}

// A resource has a start and a stop, in order.
func Example_resource() {
	graph(func(d *dictionary) { fmt.Println("built") },
		fx.Provide(func(lc fx.Lifecycle) *dictionary {
			d := &dictionary{}
			lc.Append(fx.Hook{
				OnStart: func(ctx context.Context) error { fmt.Println("open"); return nil },
				OnStop:  func(ctx context.Context) error { fmt.Println("close"); return nil },
			})
			return d
		}))
	// Output:
	// built
	// open
	// close
}

// A callable is a function with its dependencies in it.
func Example_callable() {
	type hash func(password string) string
	type salt string
	graph(func(h hash) { fmt.Println(h("secret")) },
		fx.Supply(salt("pepper")),
		fx.Provide(func(s salt) hash { return func(p string) string { return fmt.Sprint(len(s)*len(p), " bits") } }))
	// Output:
	// 36 bits
}

// Constructors by name.
func ExampleProvideAggregate() {
	graph(func(games fxkit.Aggregate[string]) {
		game, _ := games.New(context.Background(), "chess")
		fmt.Println(game)
		_, err := games.New(context.Background(), "ludo")
		fmt.Println(err)
	}, fxkit.ProvideAggregate[string](fxkit.Cases{
		"chess":    func() string { return "a game of chess" },
		"checkers": func() string { return "a game of checkers" },
	}))
	// Output:
	// a game of chess
	// fxkit: aggregate of string: "ludo" is none of checkers, chess
}

// The one that the configuration names at the moment.
func ExampleProvideSelector() {
	store, err := cfgblob.NewStore(cfgblob.StoreOptions{}, []byte(`{"cipher":"rot13"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	graph(func(c *fxkit.Selector[cipher]) {
		encrypt := func() {
			name, f, err := c.Choose(context.Background())
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(name, f("abc"))
		}
		encrypt()
		store.Set("example", "cipher", "none", 0)
		encrypt()
		store.Set("example", "cipher", "enigma", 0)
		encrypt()
	},
		fx.Provide(func() (*cfgblob.Live[config], error) { return cfgblob.Bind[config](store) }), // a worker: fxkit.Config
		fxkit.ProvideSelector[cipher](func(c *config) string { return c.Cipher }, fxkit.Cases{
			"rot13": func() cipher { return rot13 },
			"none":  func() cipher { return func(s string) string { return s } },
		}))
	// Output:
	// rot13 nop
	// none abc
	// fxkit: selector of fxkit_test.cipher: the configuration says "enigma", which is none of none, rot13: set it to one of them
}

// A dependency is a parameter that nobody provides here; the one who uses the module
// does. Modules are containers, composed by naming them; what is private is seen
// inside only.
func Example_container() {
	type table string
	type dsn string
	users := fx.Module("users",
		fx.Provide(func(d dsn) table { return table("users in " + string(d)) }, fx.Private),
		fx.Provide(func(t table) *user { return &user{string(t)} }))
	app := fx.Options(users, fx.Supply(dsn("memory")))

	fmt.Println(graph(func(u *user) { fmt.Println(u.name) }, app))
	fmt.Println(fx.ValidateApp(users, fx.Invoke(func(*user) {}), fx.NopLogger) != nil, "without a dsn")
	fmt.Println(fx.ValidateApp(app, fx.Invoke(func(table) {}), fx.NopLogger) != nil, "from outside")
	// Output:
	// users in memory
	// <nil>
	// true without a dsn
	// true from outside
}

// An override in one process: a value, or a constructor around the old one. The
// options themselves stay as they are, and can be used again.
func Example_override() {
	app := fx.Provide(func() *user { return &user{"ada"} })
	show := func(u *user) { fmt.Println(u.name) }
	graph(show, app, fx.Replace(&user{"nobody"}))
	graph(show, app, fx.Decorate(func(u *user) *user { return &user{"Dr. " + u.name} }))
	graph(show, app)
	// Output:
	// nobody
	// Dr. ada
	// ada
}

// Objects, lists and maps are values like all others; a group is a list to which any
// module adds.
func Example_values() {
	graph(func(in struct {
		fx.In
		Name  string
		List  []int
		Map   map[string]int
		Group []rune `group:"letters"`
	}) {
		slices.Sort(in.Group) // a group has no order
		fmt.Println(in.Name, in.List, in.Map, string(in.Group))
	},
		fx.Supply("a name"),
		fx.Provide(func() []int { return []int{1, 2} }),
		fx.Provide(func() map[string]int { return map[string]int{"three": 3} }),
		fx.Supply(fx.Annotate('a', fx.ResultTags(`group:"letters"`)), fx.Annotate('b', fx.ResultTags(`group:"letters"`))))
	// Output:
	// a name [1 2] map[three:3] ab
}

// A part of what is provided is provided by a line.
func Example_attribute() {
	type upper string
	graph(func(name upper) { fmt.Println(name) },
		fx.Supply(&user{"ada"}),
		fx.Provide(func(u *user) upper { return upper(strings.ToUpper(u.name)) }))
	// Output:
	// ADA
}
