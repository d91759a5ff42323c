package cfgblob

import (
	"context"
	"errors"
	"io/fs"
)

// A Source is where values of a configuration come from: a struct of defaults, a
// file, the environment, a command line, a server far away.
//
// A Store reads its sources in the order declared (StoreOptions.Sources), lays
// what they hold on top of each other as [Merge] does, and publishes the result if
// it is valid. Whatever a source does, a document that cannot be used never
// replaces one that can.
type Source interface {
	// Name is for people: "defaults", "/etc/job.json", "environment".
	Name() string

	// Read returns what the source holds now, whole. It may be called at any
	// time, but not twice at once. An error leaves what was read before in use.
	// The Layer is the caller's: the source does not modify it later.
	Read(ctx context.Context) (Layer, error)
}

// A Follower is a Source that notices when what it holds may have changed.
type Follower interface {
	Source

	// Follow calls changed after each change, from one goroutine, until ctx ends.
	// changed reads the source again and returns when that is done. Calling it
	// once too often costs a Read and nothing else: equal content is no new
	// version. Follow returns ctx's error, or why it cannot go on.
	Follow(ctx context.Context, changed func()) error
}

// Transform returns src with every tree passed through fn, which may modify it: to
// expand variables, to move old keys to their new places. It follows changes if
// src does. An error of fn is one of reading, and [Layer].Where stays as it is.
func Transform(src Source, fn func(tree map[string]any) error) Source {
	t := transformed{src, fn}
	if f, ok := src.(Follower); ok {
		return followed{t, f}
	}
	return t
}

type transformed struct {
	Source
	fn func(tree map[string]any) error
}

func (t transformed) Read(ctx context.Context) (Layer, error) {
	l, err := t.Source.Read(ctx)
	if err == nil && l.Tree != nil {
		err = t.fn(l.Tree)
	}
	return l, err
}

// followed is another way to read a Follower.
type followed struct {
	Source
	follower Follower
}

func (f followed) Follow(ctx context.Context, changed func()) error {
	return f.follower.Follow(ctx, changed)
}

// For returns src as a source of some workers only: what it holds is laid over the
// sources declared before it, and under those declared after it, in the documents
// of these workers and nobody else's.
func For(a Audience, src Source) Source {
	t := targeted{src, a.normal()}
	if f, ok := src.(Follower); ok {
		return followed{t, f}
	}
	return t
}

type targeted struct {
	Source
	audience Audience
}

func (t targeted) Name() string { return t.Source.Name() + " for " + t.audience.String() }
func (t targeted) Read(ctx context.Context) (Layer, error) {
	l, err := t.Source.Read(ctx)
	l.Name, l.For = t.Name(), t.audience
	return l, err
}

// Optional returns src, and takes a file that does not exist for an empty one.
// Without it a source that is not there is an error.
func Optional(src Source) Source {
	o := optional{src}
	if f, ok := src.(Follower); ok {
		return followed{o, f}
	}
	return o
}

type optional struct{ Source }

func (o optional) Read(ctx context.Context) (Layer, error) {
	l, err := o.Source.Read(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return Layer{Name: o.Name()}, nil
	}
	return l, err
}

// Defaults is a Source that holds v, a struct or a map, as [TreeOf] sees it.
func Defaults(v any) Source { return fixedSource{"defaults", v} }

// Values is a Source that holds v, as [TreeOf] sees it, under a name of its own.
func Values(name string, v any) Source { return fixedSource{name, v} }

type fixedSource struct {
	name string
	v    any
}

func (s fixedSource) Name() string { return s.name }
func (s fixedSource) Read(context.Context) (Layer, error) {
	tree, err := TreeOf(s.v)
	return Layer{Name: s.name, Tree: tree}, err
}

// Assignments is a Source made of "key.path=value" arguments, in order; see
// [ParseAssignment]. name is the flag they were given with, as in "--set".
func Assignments(name string, list ...string) Source { return assignments{name, list} }

type assignments struct {
	name string
	list []string
}

func (s assignments) Name() string { return s.name }
func (s assignments) Read(context.Context) (Layer, error) {
	tree := map[string]any{}
	return Layer{Name: s.name, Tree: tree}, Assign(tree, s.list...)
}
