package fxkit

import (
	"context"
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
// what is missing. [CheckSpec] looks at the owner, too.
func Check(name string, overrides ...string) error {
	_, _, err := checked(name, overrides)
	return err
}

// CheckSpec is [Check] of s.Func under the overrides in s.Env ([With]), and says
// whether node has what such workers ask for: the databases, files and resources of
// [DB], [File], [Shared] and [Proxy], by name, the functions of a proxy by their
// signatures, and a configuration that fits [Config], as the first worker would read
// it now. What an override takes the place of is not asked for. A function that was not
// registered with [Func] has nothing to check.
func CheckSpec(node *shmkit.Node, s shmkit.Spec) error {
	if _, ours := graphs[s.Func]; !ours {
		return nil
	}
	g, overrides, err := checked(s.Func, overridesIn(s.Env))
	if err != nil {
		return err
	}
	return g.unmet(owner{node, s}, overrides)
}

// checked is a graph that can be built with overrides.
func checked(name string, overrides []string) (*graph, []fx.Option, error) {
	g, err := graphOf(name)
	if err != nil {
		return nil, nil, err
	}
	options, err := overrideOptions(overrides)
	if err != nil {
		return nil, nil, err
	}
	if err := g.validate(options); err != nil {
		return nil, nil, g.explain(err)
	}
	return g, options, nil
}

// validate builds the graph with more options, without running anything.
func (g *graph) validate(options []fx.Option) error {
	var drawn lastError
	app := append(g.base(context.Background(), nil), options...)
	err := fx.ValidateApp(append(app, fx.ErrorHook(&drawn), g.invoke(nil))...)
	if drawn.err != nil {
		return drawn.err
	}
	return err
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
	if err := g.peek(func(d fx.DotGraph) { dot = d }); err != nil {
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

// Start starts workers as node.Start does, after [CheckSpec].
func Start(node *shmkit.Node, s shmkit.Spec) (*shmkit.Group, error) {
	if err := CheckSpec(node, s); err != nil {
		return nil, err
	}
	return node.Start(s)
}

// closer adds the end of v to the life of an application, if it has one.
func closer(lc fx.Lifecycle, v any) {
	if c, ok := v.(io.Closer); ok {
		lc.Append(fx.StopHook(c.Close))
	}
}
