package fxkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/cfgblob"
	"shmkit/spawn"
)

// Node makes an application the owner: it provides *shmkit.Node, and the node's
// *slog.Logger and *cfgblob.Store. o itself can be decorated or replaced, by a test
// say. The node is started when the graph is built, after what [Share], [Serve] and
// [Database] give to its workers, and shut down before those: nobody calls what has
// ended.
//
// Give it at the top level of the application, first: then the node is also closed
// when something else cannot be built or started.
func Node(o shmkit.Options) fx.Option {
	k := new(keeper)
	return fx.Options(
		fx.ErrorHook(k),
		fx.Supply(o),
		fx.Provide(
			k.start,
			func(n *shmkit.Node) (*slog.Logger, *cfgblob.Store) { return n.Log, n.Config() },
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
	in.Lifecycle.Append(fx.StopHook(node.Shutdown))
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

// Workers starts groups of workers when the application starts, in this order, each
// after a [Check]; and ends the application when all of them have ended, with the
// worst exit code of a worker. When the application is stopped first, so are they.
func Workers(specs ...shmkit.Spec) fx.Option {
	return fx.Invoke(func(lc fx.Lifecycle, end fx.Shutdowner, node *shmkit.Node) error {
		for _, s := range specs {
			if _, ours := graphs[s.Func]; ours {
				if err := Check(s.Func, overridesIn(s.Env)...); err != nil {
					return err
				}
			}
		}
		lc.Append(fx.Hook{
			OnStart: func(ctx context.Context) error {
				var groups []*shmkit.Group
				for _, s := range specs {
					g, err := node.Start(s)
					if err != nil {
						return errors.Join(err, node.Stop(ctx))
					}
					groups = append(groups, g)
				}
				go func() {
					code := 0
					for _, g := range groups {
						var failed *spawn.ExitError
						if err := g.Wait(); errors.As(err, &failed) {
							code = max(code, failed.Code())
						} else if err != nil {
							code = max(code, 1)
						}
					}
					end.Shutdown(fx.ExitCode(code))
				}()
				return nil
			},
			OnStop: node.Stop,
		})
		return nil
	})
}
