package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/cfgblob"
)

// apply is a graph without a worker around it: local providers need none.
func apply(t testing.TB, invoke any, options ...fx.Option) {
	t.Helper()
	app := fx.New(fx.Options(options...), fx.Invoke(invoke), fx.NopLogger)
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := app.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

type part struct{ n int }

// line makes parts and tells what became of them.
type line struct {
	made int
	said []string
}

func (l *line) newPart() (*part, func() error, error) {
	l.made++
	p := &part{n: l.made}
	return p, func() error { l.said = append(l.said, fmt.Sprint("released ", p.n)); return nil }, nil
}

func TestFactoryMakesNewOnes(t *testing.T) {
	l := new(line)
	apply(t, func(make fxkit.Factory[*part]) {
		a, err1 := make(t.Context())
		b, err2 := make(t.Context())
		if a.n != 1 || b.n != 2 || err1 != nil || err2 != nil {
			t.Error(a, b, err1, err2)
		}
	}, fx.Supply(l), fxkit.ProvideFactory[*part](func(l *line) *part { l.made++; return &part{n: l.made} }))
}

// A factory's dependencies are the graph's; its context is the caller's.
func TestFactoryIsGivenContextAndDependencies(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "caller")
	apply(t, func(make fxkit.Factory[string]) {
		if s, err := make(ctx); s != "caller of 7" || err != nil {
			t.Error(s, err)
		}
		if _, err := make(t.Context()); !says(err, "no caller") {
			t.Error(err)
		}
	}, fx.Supply(7), fxkit.ProvideFactory[string](func(ctx context.Context, in struct {
		fx.In
		N int
	}) (string, error) {
		who, ok := ctx.Value(key{}).(string)
		if !ok {
			return "", errors.New("no caller")
		}
		return fmt.Sprintf("%s of %d", who, in.N), nil
	}))
}

func TestSingletonIsMadeOnceUntilReset(t *testing.T) {
	l := new(line)
	apply(t, func(one *fxkit.Singleton[*part]) {
		if l.made != 0 {
			t.Error("made before it was asked for")
		}
		a, _ := one.Get(t.Context())
		b, _ := one.Get(t.Context())
		if err := one.Reset(); a != b || a.n != 1 || err != nil {
			t.Error(a, b, err)
		}
		if c, _ := one.Get(t.Context()); c.n != 2 {
			t.Error(c)
		}
	}, fxkit.ProvideSingleton[*part](l.newPart))
	if !slices.Equal(l.said, []string{"released 1", "released 2"}) { // the second by the stop
		t.Error(l.said)
	}
}

// What cannot be made is tried again.
func TestSingletonTriesAgain(t *testing.T) {
	tries := 0
	apply(t, func(one *fxkit.Singleton[io.Closer]) {
		if _, err := one.Get(t.Context()); !says(err, "not yet") {
			t.Error(err)
		}
		if c, err := one.Get(t.Context()); c == nil || err != nil {
			t.Error(c, err)
		}
	}, fxkit.ProvideSingleton[io.Closer](func() (io.Closer, error) {
		if tries++; tries == 1 {
			return nil, errors.New("not yet")
		}
		return io.NopCloser(strings.NewReader("")), nil
	}))
}

type (
	tx      struct{ *part }
	request struct{ tx *tx }
)

// In a scope there is one of each, released in reverse order; another scope has its
// own.
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
		if _, err := requests.Get(one); err != nil {
			t.Error(err) // what was made is still there, let go
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
	if !slices.Equal(l.said, []string{"request", "released 1", "request", "released 2", "released 3"}) {
		t.Error(l.said)
	}
}

type reader func(s string) string

func TestAggregate(t *testing.T) {
	apply(t, func(readers fxkit.Aggregate[reader]) {
		csv, err := readers.New(t.Context(), "csv")
		if err != nil || csv("x") != "csv: x," {
			t.Error(err)
		}
		if _, err := readers.New(t.Context(), "xml"); !says(err, `aggregate of fxkit_test.reader: "xml" is none of csv, json`) {
			t.Error(err)
		}
		if len(readers) != 2 {
			t.Error(readers)
		}
	}, fx.Supply(','), fxkit.ProvideAggregate[reader](fxkit.Cases{
		"csv":  func(comma rune) reader { return func(s string) string { return "csv: " + s + string(comma) } },
		"json": func() reader { return func(s string) string { return "json: " + s } },
	}))
}

type cipher func(string) string

func rot13(s string) string {
	return strings.Map(func(r rune) rune { return 'a' + (r-'a'+13)%26 }, s)
}

var encrypts = fxkit.Func("encrypts", func(ctx context.Context, log *slog.Logger, cfg *cfgblob.Live[config], c *fxkit.Selector[cipher]) error {
	for range cfg.Watch(ctx) {
		f, err := c.Get(ctx)
		if err != nil {
			log.Info(err.Error())
			return nil
		}
		log.Info(c.Name() + ": " + f("abc"))
	}
	return ctx.Err()
}, fxkit.Config[config](), fxkit.ProvideSelector[cipher](func(c *config) string { return c.Cipher }, fxkit.Cases{
	"rot13": func() cipher { return rot13 },
	"none":  func() cipher { return func(s string) string { return s } },
}))

// A change of the live configuration acts on the selectors of running workers.
func TestSelectorFollowsTheLiveConfig(t *testing.T) {
	o, out := options(t)
	n := node(t, o)
	g, err := fxkit.Start(n, shmkit.Spec{Func: encrypts, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	set := func(records int, value string) {
		t.Helper()
		for rank := range 2 {
			for len(out.messages(t, rank)) < records {
				if err := n.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := n.Config().Set("test", "cipher", value, 0); err != nil {
			t.Fatal(err)
		}
	}
	set(1, "none")
	set(2, "enigma")
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	n.Close()
	for rank := range 2 {
		want := []string{"rot13: nop", "none: abc", `fxkit: selector of fxkit_test.cipher: the configuration says "enigma", which is none of none, rot13: set it to one of them`}
		if got := out.messages(t, rank); !slices.Equal(got, want) {
			t.Errorf("worker %d: %q\nwant %q", rank, got, want)
		}
	}
}

// A constructor of another shape is an error of the graph, found by Check as well.
func TestWrongConstructors(t *testing.T) {
	const want = "constructor of *fxkit_test.part is a "
	for _, c := range []any{nil, 7, func() {}, func() int { return 0 }, func(...int) *part { return nil },
		func() (*part, int) { return nil, 0 }, func() (*part, error, error) { return nil, nil, nil }} {
		for _, o := range []fx.Option{
			fxkit.ProvideFactory[*part](c), fxkit.ProvideSingleton[*part](c), fxkit.ProvideScoped[*part](c),
			fxkit.ProvideAggregate[*part](fxkit.Cases{"x": c}),
			fxkit.ProvideSelector[*part](func(*config) string { return "" }, fxkit.Cases{"x": c}),
		} {
			if err := fx.ValidateApp(o, fx.NopLogger); !says(err, want, "want a func(…) (*fxkit_test.part [, func() error] [, error])") {
				t.Errorf("%T: %v", c, err)
			}
		}
	}
}
