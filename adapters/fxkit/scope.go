package fxkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// NewScope begins a scope: a request, a file, a transaction. Each [Scoped] thing
// exists at most once in it. end lets go of them in the reverse order of their making
// and must be called; the second call does nothing.
//
// Scopes lie in each other as their contexts do. One with names is the scope of those
// things that were provided for one of the names, also for the scopes inside: a request
// in a session has a transaction of its own, and the user of the session. What has no
// name is the innermost scope's. The end of a scope is first that of those inside.
func NewScope(ctx context.Context, names ...string) (scoped context.Context, end func() error) {
	s := &scope{names: names, things: map[any]any{}}
	if s.outer, _ = ctx.Value(scopeKey{}).(*scope); s.outer != nil {
		s.outer.enter(s)
	}
	return context.WithValue(ctx, scopeKey{}, s), s.end
}

type scopeKey struct{}

type scope struct {
	names []string
	outer *scope // or nil

	mu       sync.Mutex
	ended    bool
	inner    []*scope    // that have not ended, in the order of their beginning
	things   map[any]any // *Scoped[T] → *cell[T]
	releases []func() error
}

// enter notes a scope inside. After the end there is nothing it could outlive.
func (s *scope) enter(inner *scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.inner = append(s.inner, inner)
	}
}

func (s *scope) leave(inner *scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.inner, inner); i >= 0 {
		s.inner = slices.Delete(s.inner, i, i+1)
	}
}

// keep notes what is to be called at the end, unless that has been.
func (s *scope) keep(release func() error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.releases = append(s.releases, release)
	}
	return !s.ended
}

func (s *scope) end() error {
	s.mu.Lock()
	inner, releases := s.inner, s.releases
	s.ended, s.inner, s.releases = true, nil, nil
	s.mu.Unlock()
	if s.outer != nil {
		s.outer.leave(s)
	}
	var errs []error
	for _, in := range slices.Backward(inner) {
		errs = append(errs, in.end())
	}
	for _, release := range slices.Backward(releases) {
		errs = append(errs, release())
	}
	return errors.Join(errs...)
}

// scopeOf is the innermost scope of ctx that has one of the names, or any without.
func scopeOf(ctx context.Context, names []string) (*scope, error) {
	innermost, _ := ctx.Value(scopeKey{}).(*scope)
	for s := innermost; s != nil; s = s.outer {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(s.names, n) }) {
			return s, nil
		}
	}
	if len(names) == 0 {
		return nil, errors.New("the context has no scope: begin one with fxkit.NewScope")
	}
	return nil, fmt.Errorf("the context has no scope of the name %q: begin one with fxkit.NewScope", names)
}

var errScopeEnded = errors.New("the scope has ended: begin another with fxkit.NewScope")
