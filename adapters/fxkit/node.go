package fxkit

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/cfgblob"
	"shmkit/spawn"
)

// Node makes an application the owner: it provides *shmkit.Node, and the node's
// *slog.Logger and *cfgblob.Store, and *[Singletons]. o itself can be decorated or replaced, by a test
// say. The node is started when the graph is built, after what [Share], [Serve] and
// [Database] give to its workers, and shut down before those: nobody calls what has
// ended.
//
// Give it at the top level of the application, first: then the node is also closed
// when something else cannot be built or started. The application's StopTimeout is
// made longer than o's, so that all this is done when workers take all of theirs; an
// [fx.StopTimeout] that comes later counts instead.
func Node(o shmkit.Options) fx.Option {
	k := new(keeper)
	return fx.Options(
		fx.ErrorHook(k),
		fx.StopTimeout(stopTimeout(o.StopTimeout)),
		fx.Supply(o),
		fx.Provide(
			k.start,
			func(n *shmkit.Node) (*slog.Logger, *cfgblob.Store) { return n.Log, n.Config() },
			func() *Singletons { return new(Singletons) },
		),
		fx.Invoke(func(lc fx.Lifecycle) { lc.Append(fx.StopHook(k.stop)) }, func(*shmkit.Node) {}),
	)
}

// A keeper closes the node on all ways out. Its methods are called one at a time.
type keeper struct{ node *shmkit.Node }

type nodeNeeds struct {
	fx.In

	Lifecycle fx.Lifecycle
	Options   shmkit.Options
	Shared    []named   `group:"shmkit.resources"`
	Databases []namedDB `group:"shmkit.databases"`
}

// named is what Share and Serve add to the node's resources.
type named struct {
	name     string
	resource spawn.Resource
}

func (k *keeper) start(in nodeNeeds) (*shmkit.Node, error) {
	resources := maps.Clone(in.Options.Resources)
	if resources == nil {
		resources = map[string]spawn.Resource{}
	}
	for _, n := range in.Shared {
		if _, dup := resources[n.name]; dup {
			return nil, fmt.Errorf("fxkit: two resources are called %q: give one of them another name", n.name)
		}
		resources[n.name] = n.resource
	}
	in.Options.Resources = resources
	if err := addDatabases(&in.Options, in.Databases); err != nil {
		return nil, err
	}
	node, err := shmkit.Start(context.Background(), in.Options)
	if err != nil {
		return nil, err
	}
	k.node = node
	in.Lifecycle.Append(fx.StopHook(func(ctx context.Context) error {
		ctx, cancel := sooner(ctx)
		defer cancel()
		return node.Shutdown(ctx)
	}))
	return node, nil
}

// stop is the safety net: Shutdown a second time does nothing.
func (k *keeper) stop(ctx context.Context) error {
	if k.node == nil {
		return nil
	}
	return k.node.Shutdown(ctx)
}

// HandleError is called when the graph cannot be built.
func (k *keeper) HandleError(error) { k.stop(context.Background()) }
