package fxkit

import (
	"context"
	"errors"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/spawn"
)

// Workers starts groups of workers when the application starts, in this order, each
// after a [CheckSpec] of all; and ends the application when all of them have ended, with the
// worst exit code of a worker. When the application is stopped first, so are they.
// The application's timeouts are as long as these workers may take.
func Workers(specs ...shmkit.Spec) fx.Option {
	return fx.Options(timeoutsOf(specs), fx.Invoke(func(lc fx.Lifecycle, end fx.Shutdowner, node *shmkit.Node) error {
		for _, s := range specs {
			if err := CheckSpec(node, s); err != nil {
				return err
			}
		}
		w := &workers{node, specs, end}
		lc.Append(fx.Hook{OnStart: w.start, OnStop: w.stop})
		return nil
	}))
}

// workers are the groups that an application starts.
type workers struct {
	node  *shmkit.Node
	specs []shmkit.Spec
	end   fx.Shutdowner
}

func (w *workers) start(ctx context.Context) error {
	var groups []*shmkit.Group
	for _, s := range w.specs {
		g, err := w.node.Start(s)
		if err == nil {
			err = ctx.Err() // it took too long
		}
		if err != nil {
			return errors.Join(err, w.stop(ctx))
		}
		groups = append(groups, g)
	}
	go w.wait(groups)
	return nil
}

// wait ends the application when all workers have ended.
func (w *workers) wait(groups []*shmkit.Group) {
	code := 0
	for _, g := range groups {
		var failed *spawn.ExitError
		if err := g.Wait(); errors.As(err, &failed) {
			code = max(code, failed.Code())
		} else if err != nil {
			code = max(code, 1)
		}
	}
	w.end.Shutdown(fx.ExitCode(code))
}

// stop ends the workers, in time for what comes after them. When ctx has ended all the
// same, fx runs no more hooks, so the node's is run here.
func (w *workers) stop(ctx context.Context) error {
	early, cancel := sooner(ctx)
	defer cancel()
	err := w.node.Stop(early)
	if ctx.Err() != nil {
		err = errors.Join(err, w.node.Shutdown(ctx))
	}
	return err
}
