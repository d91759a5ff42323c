package fxkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/fx"

	"shmkit"
)

// A need is what a worker function wants of its owner: a part of [DB], [File],
// [Shared], [Proxy] or [Config].
type need struct {
	name string // of its token: the kind, and the name in the owner
	met  func(owner) error
}

// An owner is who would start a worker.
type owner struct {
	node *shmkit.Node
	spec shmkit.Spec
}

// A fromOwner is a token of the other side in a worker's graph: the constructor that
// takes something from the owner asks for the one of that need. So fx itself finds out
// whether a need is one, or is replaced by an override, and draws it. It is nothing by
// itself.
type fromOwner struct{}

func (n need) tag() string { return fmt.Sprintf("name:%q", n.name) }

// declare adds a need and its token to a graph.
func (n need) declare() fx.Option {
	return fx.Provide(fx.Annotate(func() (fromOwner, need) { return fromOwner{}, n }, fx.ResultTags(n.tag(), `group:"shmkit.needs"`)))
}

// missing makes the graph lack the token.
func (n need) missing() fx.Option {
	type absent struct{} // provided by nobody
	return fx.Decorate(fx.Annotate(func(absent) fromOwner { return fromOwner{} }, fx.ResultTags(n.tag())))
}

// needs are all that the graph declares, whether they are reached or not.
func (g *graph) needs() ([]need, error) {
	var needs []need
	err := g.peek(func(in struct {
		fx.In
		Needs []need `group:"shmkit.needs"`
	}) {
		needs = in.Needs
	})
	return needs, err
}

// unmet says what the owner does not have for workers that are built with overrides.
// The graph is one that can be built.
func (g *graph) unmet(o owner, overrides []fx.Option) error {
	needs, err := g.needs()
	if err != nil {
		return g.explain(err)
	}
	var all []error
	for _, n := range needs {
		if err := n.met(o); err != nil && g.validate(append(overrides[:len(overrides):len(overrides)], n.missing())) != nil {
			all = append(all, err)
		}
	}
	if err := errors.Join(all...); err != nil {
		return g.explain(err)
	}
	return nil
}

// peek gives look, a function, what it asks for of what the graph provides, as long as
// that depends on nothing. Else nothing is run.
func (g *graph) peek(look any) error {
	seen := errors.New("seen")
	// Modules are invoked first: this one ends the matter before anything else is run.
	first := fx.Module("peek", fx.Invoke(look), fx.Invoke(func() error { return seen }))
	app := append([]fx.Option{first}, g.base(context.Background(), nil)...)
	if err := fx.New(app...).Err(); !errors.Is(err, seen) {
		return err
	}
	return nil
}

// lacks says that an owner does not have what has is about.
func lacks(kind, name string, has []string, by string) error {
	list := "none"
	if len(has) > 0 {
		list = strings.Join(has, ", ")
	}
	return fmt.Errorf("the owner gives its workers no %s %q (it gives: %s): add %s of that name to it", kind, name, list, by)
}

func unlessIn(has []string, kind, name, by string) error {
	if slices.Contains(has, name) {
		return nil
	}
	return lacks(kind, name, has, by)
}
