package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"shmkit/adapters/fxkit"
)

type (
	tx      struct{ *part }
	request struct{ tx *tx }
)

// In a scope there is one of each, released in reverse order; another scope has its
// own, and ends with the one around it.
func TestScope(t *testing.T) {
	l := new(line)
	apply(t, func(requests *fxkit.Scoped[*request], txs *fxkit.Scoped[*tx]) {
		if _, err := requests.Get(t.Context()); !says(err, "scoped *fxkit_test.request", "begin one with fxkit.NewScope") {
			t.Error(err)
		}
		one, end := fxkit.NewScope(t.Context())
		two, end2 := fxkit.NewScope(one)
		a, err1 := requests.Get(one)
		b, err2 := requests.Get(one)
		c, err3 := requests.Get(two)
		x, _ := txs.Get(one)
		if err := errors.Join(err1, err2, err3); err != nil || a != b || a == c || a.tx != x || a.tx == c.tx {
			t.Error(a, b, c, err)
		}
		if err := errors.Join(end(), end()); err != nil {
			t.Error(err)
		}
		if r, err := requests.Get(one); r != nil || !says(err, "scoped *fxkit_test.request: the scope has ended: begin another") {
			t.Error(r, err)
		}
		end2()
		three, end3 := fxkit.NewScope(t.Context())
		end3()
		if _, err := txs.Get(three); !says(err, "the scope has ended: begin another") {
			t.Error(err)
		}
	},
		fxkit.ProvideScoped[*tx](func() (*tx, func() error, error) {
			p, release, err := l.newPart()
			return &tx{p}, release, err
		}),
		fxkit.ProvideScoped[*request](func(ctx context.Context, txs *fxkit.Scoped[*tx]) (*request, func() error, error) {
			x, err := txs.Get(ctx)
			return &request{x}, func() error { l.said = append(l.said, "request"); return nil }, err
		}))
	if !slices.Equal(l.said, []string{"request", "released 2", "request", "released 1"}) {
		t.Error(l.said)
	}
}

// Scopes with names: what was provided for one is that of all scopes inside, and does
// not see what lives in those. The end of the outer one is first that of the others.
func TestScopesInScopes(t *testing.T) {
	var said []string
	counted := func(what string) func() (string, func() error) {
		n := 0
		return func() (string, func() error) {
			n++
			name := fmt.Sprint(what, n)
			return name, func() error { said = append(said, name); return nil }
		}
	}
	type user string
	newUser := counted("user")
	apply(t, func(users *fxkit.Scoped[user], txs *fxkit.Scoped[string], views *fxkit.Scoped[*part]) {
		session, endSession := fxkit.NewScope(t.Context(), "session")
		one, endOne := fxkit.NewScope(session, "request", "http")
		two, _ := fxkit.NewScope(session, "request")
		deep, _ := fxkit.NewScope(two) // without a name
		u1, err1 := users.Get(one)
		u2, err2 := users.Get(deep)
		t1, err3 := txs.Get(one)
		t2, err4 := txs.Get(two)
		t3, err5 := txs.Get(deep)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil || u1 != "user1" || u2 != u1 || t1 != "tx1" || t2 != "tx2" || t3 != t2 {
			t.Error(u1, u2, t1, t2, t3, err)
		}
		if _, err := txs.Get(session); !says(err, `scoped string: the context has no scope of the name ["request" "job"]: begin one with fxkit.NewScope`) {
			t.Error(err)
		}
		// A thing of the session that asks for one of a request, in a request.
		if _, err := views.Get(one); !says(err, `scoped string: the context has no scope of the name ["request" "job"]`) {
			t.Error(err)
		}
		if err := endOne(); err != nil || !slices.Equal(said, []string{"tx1"}) {
			t.Error(said, err)
		}
		if err := endSession(); err != nil || !slices.Equal(said, []string{"tx1", "tx2", "user1"}) {
			t.Error(said, err)
		}
		if _, err := txs.Get(two); !says(err, "the scope has ended") {
			t.Error(err)
		}
	},
		fxkit.ProvideScoped[user](func() (user, func() error) { u, end := newUser(); return user(u), end }, "session"),
		fxkit.ProvideScoped[string](counted("tx"), "request", "job"),
		fxkit.ProvideScoped[*part](func(ctx context.Context, txs *fxkit.Scoped[string]) (*part, error) {
			_, err := txs.Get(ctx)
			return &part{}, err
		}, "session"))
}

// What is made when its scope ends is let go by who makes it.
func TestScopeEndsMeanwhile(t *testing.T) {
	l := new(line)
	ctx, end := fxkit.NewScope(t.Context())
	apply(t, func(parts *fxkit.Scoped[*part]) {
		if p, err := parts.Get(ctx); p != nil || !says(err, "the scope has ended") {
			t.Error(p, err)
		}
	}, fxkit.ProvideScoped[*part](func() (*part, func() error, error) {
		end()
		return l.newPart()
	}))
	if !slices.Equal(l.said, []string{"released 1"}) {
		t.Error(l.said)
	}
}
