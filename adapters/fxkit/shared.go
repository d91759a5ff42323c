package fxkit

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/call"
	"shmkit/spawn"
)

// Share gives every worker of the owner the resource that constructor makes: a
// function of any parameters that returns an R, or an R and an error. The owner can
// ask for it, too, by name:
//
//	fxkit.Share[*cfgblob.Store]("limits", newLimits)
//	fx.Invoke(fx.Annotate(useLimits, fx.ParamTags(`name:"limits"`)))
//
// If R has a Close, it is called when the node has been shut down. In the worker,
// [Shared] of the same name takes it.
func Share[R spawn.Resource](name string, constructor any) fx.Option {
	tag := fmt.Sprintf("name:%q", name)
	return fx.Provide(
		fx.Annotate(constructor, fx.ResultTags(tag)),
		fx.Annotate(func(lc fx.Lifecycle, r R) named {
			closer(lc, r)
			return named{name, r}
		}, fx.ParamTags("", tag), fx.ResultTags(`group:"shmkit.resources"`)),
	)
}

// Shared lets a worker ask for the T that attach makes of what the owner gave under
// that name with [Share]: cfgblob.Attach, call.Attach, or a function of your own,
// which takes ownership of the files. If T has a Close, it is called when the worker
// stops.
func Shared[T any](name string, attach func(files []*os.File, words []string) (T, error)) fx.Option {
	return taken(name, "fxkit.Share", func(spawn.Resource) error { return nil }, func(files []*os.File, words []string) (v T, ends any, err error) {
		v, err = attach(files, words)
		return v, v, err
	})
}

// Serve offers functions that run in the owner to its workers: constructor, a
// function of any parameters, returns an API, or an API and an error, where an API
// is a struct of functions (package call). o.Name is the name by which [Proxy] finds
// it. The functions have returned before anything that constructor was given is
// stopped.
func Serve[API any](o call.Options, constructor any) fx.Option {
	return fx.Module("serve "+o.Name,
		fx.Provide(constructor, fx.Private),
		fx.Provide(fx.Annotate(func(lc fx.Lifecycle, api API) (named, error) {
			server, err := call.Serve(o, api)
			if err != nil {
				return named{}, err
			}
			lc.Append(fx.StopHook(server.Close))
			return named{o.Name, server}, nil
		}, fx.ResultTags(`group:"shmkit.resources"`))),
	)
}

// Proxy lets a worker ask for an API, a struct of functions, which run in the owner:
// those that it offers under that name with [Serve].
func Proxy[API any](name string) fx.Option {
	fits := func(r spawn.Resource) error {
		if server, ok := r.(*call.Server); ok {
			return call.Check[API](server)
		}
		return fmt.Errorf("the owner's %q is a %T: give a proxy with fxkit.Serve, or take it with fxkit.Shared", name, r)
	}
	return taken(name, "fxkit.Serve", fits, func(files []*os.File, words []string) (api API, ends any, err error) {
		conn, err := call.Attach(files, words)
		if err != nil {
			return api, nil, err
		}
		api, err = call.Bind[API](conn)
		if err != nil {
			conn.Close()
		}
		return api, conn, err
	})
}

// taken lets a worker ask for the T that attach makes of a resource. ends, if it has a
// Close, is closed when the worker stops. In the owner, the resource passes fits, and by
// is how to give it.
func taken[T any](name, by string, fits func(spawn.Resource) error, attach func(files []*os.File, words []string) (v T, ends any, err error)) fx.Option {
	n := need{"resource " + name, func(o owner) error {
		given := o.node.Given().Resources
		if r, ok := given[name]; ok {
			return fits(r)
		}
		return lacks("resource", name, slices.Sorted(maps.Keys(given)), by)
	}}
	return fx.Options(n.declare(), fx.Provide(fx.Annotate(func(lc fx.Lifecycle, w *shmkit.Worker, _ fromOwner) (T, error) {
		files, words, ok := w.Resource(name)
		if !ok {
			var none T
			return none, fmt.Errorf("the owner gives its workers no resource %q: add %s of that name to it", name, by)
		}
		v, ends, err := attach(files, words)
		if err == nil {
			closer(lc, ends)
		}
		return v, err
	}, fx.ParamTags("", "", n.tag()))))
}
