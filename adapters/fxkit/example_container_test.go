package fxkit_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"go.uber.org/dig"
	"go.uber.org/fx"

	"shmkit/adapters/fxkit"
)

// All resources at once, and again: they are those of the application, which is started
// and stopped. (A worker function's are around the function.)
func Example_initResources() {
	ctx := context.Background()
	app := fx.New(fx.NopLogger,
		fx.Provide(func(lc fx.Lifecycle) *dictionary {
			lc.Append(fx.StartStopHook(func() { fmt.Println("open") }, func() { fmt.Println("close") }))
			return &dictionary{}
		}),
		fx.Invoke(func(*dictionary) {}))
	for range 2 {
		fmt.Println(app.Start(ctx))
		fmt.Println(app.Stop(ctx))
	}
	// Output:
	// open
	// <nil>
	// close
	// <nil>
	// open
	// <nil>
	// close
	// <nil>
}

// Options are values: the same twice are two containers, each with its own.
func Example_copy() {
	n := 0
	parts := []fx.Option{fx.Provide(func() *part { n++; return &part{n} })}
	show := func(p *part) { fmt.Println("part", p.n) }
	graph(show, parts...)
	graph(show, append(parts[:1:1], fx.Decorate(func(p *part) *part { return &part{10 * p.n} }))...)
	graph(show, parts...)
	// Output:
	// part 1
	// part 20
	// part 3
}

// A module that is given another one with what it depends on.
func Example_dependenciesContainer() {
	type dsn string
	services := func(gateways fx.Option) fx.Option {
		return fx.Module("services", gateways, fx.Provide(func(d dsn) *user { return &user{"users in " + string(d)} }))
	}
	show := func(u *user) { fmt.Println(u.name) }
	graph(show, services(fx.Supply(dsn("memory"))))
	graph(show, services(fx.Module("gateways", fx.Provide(func() dsn { return "a file" }))))
	// Output:
	// users in memory
	// users in a file
}

// A container that a document describes: it names options that the program has.
func Example_schema() {
	type store string
	known := map[string]fx.Option{
		"store.memory": fx.Supply(store("memory")),
		"store.file":   fx.Provide(func(u *user) store { return store("file of " + u.name) }),
		"user.ada":     fx.Supply(&user{"ada"}),
	}
	container := func(doc string) fx.Option {
		var names []string
		if err := json.Unmarshal([]byte(doc), &names); err != nil {
			return fx.Error(err)
		}
		var options []fx.Option
		for _, name := range names {
			o, ok := known[name]
			if !ok {
				return fx.Error(fmt.Errorf("schema: there is no %q", name))
			}
			options = append(options, o)
		}
		return fx.Options(options...)
	}
	show := func(s store) { fmt.Println(s) }
	for _, doc := range []string{`["store.memory"]`, `["store.file","user.ada"]`, `["store.file"]`, `["store.cloud"]`} {
		if err := graph(show, container(doc)); err != nil {
			fmt.Println(dig.RootCause(err))
		}
	}
	// Output:
	// memory
	// file of ada
	// missing type: *fxkit_test.user
	// schema: there is no "store.cloud"
}

// The owner's graph is checked without running anything, and what is missing is drawn.
// fxkit.Check does both for a worker function.
func Example_ownerCheck() {
	o, remove := here()
	defer remove()
	err := fx.ValidateApp(fxkit.Node(o), fx.Invoke(func(*sql.DB) {}), fx.NopLogger)
	fmt.Println(dig.RootCause(err))

	dot, err := fx.VisualizeError(fxkit.Check(lost))
	for line := range strings.Lines(dot) {
		if strings.Contains(line, "color=red") {
			fmt.Println(strings.TrimSpace(line), err)
		}
	}
	// Output:
	// missing type: *sql.DB
	// "fxkit_test.way" [color=red]; <nil>
}
