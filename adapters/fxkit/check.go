package fxkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.uber.org/dig"
	"go.uber.org/fx"

	"shmkit"
)

// Check says whether a worker function can be built, with the overrides given: that
// everything it needs is provided, once, and without a cycle. No constructor is run
// and no worker is started. The error is a [*GraphError]; [fx.VisualizeError] draws
// what is missing.
func Check(name string, overrides ...string) error {
	g, err := graphOf(name)
	if err != nil {
		return err
	}
	over, err := overrideOptions(overrides)
	if err != nil {
		return err
	}
	var drawn lastError
	app := append(g.base(context.Background(), nil), over...)
	err = fx.ValidateApp(append(app, fx.ErrorHook(&drawn), g.invoke(nil))...)
	if drawn.err != nil {
		err = drawn.err
	}
	if err != nil {
		return g.explain(err)
	}
	return nil
}

// lastError keeps an error in the form that fx gives to its hooks only: with the
// picture.
type lastError struct{ err error }

func (l *lastError) HandleError(err error) { l.err = err }

// Graph draws what a worker function is built from, for Graphviz (dot). Nothing is
// run. Overrides and decorators are not part of the picture.
func Graph(name string) (fx.DotGraph, error) {
	g, err := graphOf(name)
	if err != nil {
		return "", err
	}
	var dot fx.DotGraph
	drawn := errors.New("drawn")
	// Modules are invoked first: this one ends the matter before anything is run.
	first := fx.Module("graph", fx.Invoke(func(d fx.DotGraph) error {
		dot = d
		return drawn
	}))
	app := append([]fx.Option{first}, g.base(context.Background(), nil)...)
	if err := fx.New(app...).Err(); !errors.Is(err, drawn) {
		return "", g.explain(err)
	}
	return dot, nil
}

func graphOf(name string) (*graph, error) {
	if g, ok := graphs[name]; ok {
		return g, nil
	}
	return nil, fmt.Errorf("fxkit: worker function %q is not registered (there are: %s): register it with fxkit.Func in a package-level variable",
		name, strings.Join(slices.Sorted(maps.Keys(graphs)), ", "))
}

// isMissing tells a missing provider from other errors of a graph: dig has no type
// for it.
func isMissing(err error) bool {
	return strings.Contains(dig.RootCause(err).Error(), "missing type")
}

// Start starts workers as node.Start does, after [Check] of a function that was
// registered with [Func], under the overrides in s.Env ([With]).
func Start(node *shmkit.Node, s shmkit.Spec) (*shmkit.Group, error) {
	if err := check(s); err != nil {
		return nil, err
	}
	return node.Start(s)
}

func check(s shmkit.Spec) error {
	if _, ours := graphs[s.Func]; !ours {
		return nil
	}
	return Check(s.Func, overridesIn(s.Env)...)
}

// closer adds the end of v to the life of an application, if it has one.
func closer(lc fx.Lifecycle, v any) {
	if c, ok := v.(io.Closer); ok {
		lc.Append(fx.StopHook(c.Close))
	}
}
