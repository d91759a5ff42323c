package fxkit

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"go.uber.org/fx"
)

// A Scoped makes one T for each scope, when it is first asked for there. Any number
// of goroutines may use it. The zero value is of no use: it is made by [ProvideScoped].
type Scoped[T any] struct {
	how   recipe[T]
	names []string
}

// ProvideScoped lets a worker ask for a *Scoped[T]. The constructor may take the
// scope's context first, to Get other scoped things, and may return a func() error
// after the T, which lets go of it at the end of the scope. With names, a T belongs to
// the innermost scope that has one of them.
func ProvideScoped[T any](constructor any, names ...string) fx.Option {
	m, err := makerOf[T](constructor)
	if err != nil {
		return fx.Error(err)
	}
	return fx.Provide(provider([]maker{m}, nil, func(_ []reflect.Value, r []recipe[T]) *Scoped[T] {
		return &Scoped[T]{r[0], names}
	}))
}

// Get returns the T of the scope that ctx belongs to. If there is none it is made, with
// this context (but what lives in an outer scope cannot see what lives in an inner one);
// others who come meanwhile wait for it, as long as their own contexts allow. An error
// is not kept: the next Get tries again. After the end of the scope there is none.
func (s *Scoped[T]) Get(ctx context.Context) (v T, err error) {
	sc, err := scopeOf(ctx, s.names)
	if err != nil {
		return v, s.explain(err)
	}
	cell, err := s.in(sc)
	if err != nil {
		return v, err
	}
	return cell.get(ctx, func(ctx context.Context) (T, func() error, error) {
		if ctx.Value(scopeKey{}) != sc {
			ctx = context.WithValue(ctx, scopeKey{}, sc)
		}
		v, release, err := s.how(ctx)
		if err == nil && !sc.keep(release) { // it has ended meanwhile
			err = errors.Join(s.explain(errScopeEnded), release())
		}
		if err != nil {
			var none T
			return none, nothing, err
		}
		return v, nothing, nil // the scope lets go of it
	})
}

// in is where a scope keeps its T.
func (s *Scoped[T]) in(sc *scope) (*cell[T], error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.ended {
		return nil, s.explain(errScopeEnded)
	}
	if c, ok := sc.things[s].(*cell[T]); ok {
		return c, nil
	}
	c := new(cell[T])
	sc.things[s] = c
	return c, nil
}

func (s *Scoped[T]) explain(err error) error {
	return fmt.Errorf("fxkit: scoped %v: %w", reflect.TypeFor[T](), err)
}
