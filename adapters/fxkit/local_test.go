package fxkit_test

import (
	"context"
	"errors"
	"fmt"
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
		name, f, err := c.Choose(ctx)
		if err != nil {
			log.Info(err.Error())
			return nil
		}
		log.Info(name + ": " + f("abc"))
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
	options := func(c any) (all, factories []fx.Option) {
		factories = []fx.Option{fxkit.ProvideFactory[*part](c), fxkit.ProvideAggregate[*part](fxkit.Cases{"x": c})}
		return append(factories, fxkit.ProvideSingleton[*part](c), fxkit.ProvideScoped[*part](c),
			fxkit.ProvideSelector[*part](func(*config) string { return "" }, fxkit.Cases{"x": c})), factories
	}
	for _, c := range []any{nil, 7, func() {}, func() int { return 0 }, func(...int) *part { return nil },
		func() (*part, int) { return nil, 0 }, func() (*part, error, error) { return nil, nil, nil }} {
		all, _ := options(c)
		for _, o := range all {
			if err := fx.ValidateApp(o, fx.NopLogger); !says(err, want, "want a func(…) (*fxkit_test.part [, func() error] [, error])") {
				t.Errorf("%T: %v", c, err)
			}
		}
	}
	// A release that nobody would call.
	_, factories := options(func() (*part, func() error, error) { return nil, nil, nil })
	for _, o := range factories {
		if err := fx.ValidateApp(o, fx.NopLogger); !says(err, want, "nobody would call the func() error") {
			t.Error(err)
		}
	}
}
