package fxkit

import (
	"database/sql"
	"fmt"
	"maps"
	"reflect"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/dataio/recfile"
	"shmkit/dataio/sqlproxy"
)

// DB lets a worker ask for *sql.DB: the owner's databases of these names
// ([shmkit.Options.Databases], [Database]). The first is the one that is meant without
// a name; each is also there by its name:
//
//	fxkit.DB("main", "archive")
//
//	func(db *sql.DB, in struct {
//		fx.In
//		Archive *sql.DB `name:"archive"`
//	}) error
//
// It is a proxy: the connections are the owner's, and are given back when the worker
// ends. The *sql.DB is not to be closed.
func DB(names ...string) fx.Option {
	return byName(names, func(w *shmkit.Worker, name string) *sql.DB { return w.DB(name) }, func(o owner, name string) error {
		return unlessIn(o.node.Given().Databases, "database", name, "fxkit.Database, or shmkit.Options.Databases,")
	})
}

// File lets a worker ask for *recfile.File: the owner's files of these names
// ([shmkit.Options.Files]), in the way of [DB].
func File(names ...string) fx.Option {
	return byName(names, func(w *shmkit.Worker, name string) *recfile.File { return w.File(name) }, func(o owner, name string) error {
		return unlessIn(o.node.Given().Files, "file", name, "shmkit.Options.Files")
	})
}

func byName[T any](names []string, get func(w *shmkit.Worker, name string) T, met func(o owner, name string) error) fx.Option {
	var options []fx.Option
	for i, name := range names {
		n := need{fmt.Sprintf("%v %s", reflect.TypeFor[T](), name), func(o owner) error { return met(o, name) }}
		of := func(w *shmkit.Worker, _ fromOwner) T { return get(w, name) }
		options = append(options, n.declare(),
			fx.Provide(fx.Annotate(of, fx.ParamTags("", n.tag()), fx.ResultTags(fmt.Sprintf("name:%q", name)))))
		if i == 0 {
			options = append(options, fx.Provide(fx.Annotate(of, fx.ParamTags("", n.tag()))))
		}
	}
	return fx.Options(options...)
}

// Database gives the workers the *sql.DB that constructor makes: a function of any
// parameters that returns one, or one and an error. It is closed when the node has
// been shut down. The owner can ask for it by name, as with [Share].
func Database(name string, policy sqlproxy.Policy, constructor any) fx.Option {
	tag := fmt.Sprintf("name:%q", name)
	return fx.Provide(
		fx.Annotate(constructor, fx.ResultTags(tag)),
		fx.Annotate(func(lc fx.Lifecycle, db *sql.DB) namedDB {
			closer(lc, db)
			return namedDB{name, policy, db}
		}, fx.ParamTags("", tag), fx.ResultTags(`group:"shmkit.databases"`)),
	)
}

type namedDB struct {
	name   string
	policy sqlproxy.Policy
	db     *sql.DB
}

// addDatabases adds what Database made to a node's options.
func addDatabases(o *shmkit.Options, dbs []namedDB) error {
	if len(dbs) == 0 {
		return nil
	}
	databases, policies := map[string]*sql.DB{}, map[string]sqlproxy.Policy{}
	maps.Copy(databases, o.Databases) // not the caller's map
	maps.Copy(policies, o.Policies)
	for _, d := range dbs {
		if _, dup := databases[d.name]; dup {
			return fmt.Errorf("fxkit: two databases are called %q: give one of them another name", d.name)
		}
		databases[d.name], policies[d.name] = d.db, d.policy
	}
	o.Databases, o.Policies = databases, policies
	return nil
}
