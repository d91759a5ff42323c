package fxkit_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/call"
	"shmkit/cfgblob"
	"shmkit/dataio/recfile"
	"shmkit/spawn"
)

// otherBank has a function of the bank's with another signature.
type otherBank struct {
	Withdraw func(ctx context.Context, n int) (string, error)
}

var (
	wrongBank  = fxkit.Func("wrong-bank", func(otherBank) error { return nil }, fxkit.Proxy[otherBank]("bank"))
	noProxy    = fxkit.Func("no-proxy", func(bank) error { return nil }, fxkit.Proxy[bank]("limits"))
	inModules  = fxkit.Func("in-modules", func(*sql.DB) error { return nil }, fx.Module("data", fx.Module("main", fxkit.DB("main", "archive"))))
	someConfig = fxkit.Func("some-config", func(*cfgblob.Live[config]) error { return nil }, fxkit.Config[config]())

	wrapped = fxkit.Override("wrapped", fx.Decorate(func(db *sql.DB) *sql.DB { return db }))
	fixed   = fxkit.Override("fixed", fx.Replace(cfgblob.Fixed(numeric{Cipher: 13})))
)

// What workers ask for and their owner does not have is found before any worker is
// started: by name, by signature, by type. What an override takes the place of is not
// asked for.
//
// (Planted once: a check that asks for all that is declared. The overrides tripped it.)
func TestOwnerIsChecked(t *testing.T) {
	o, _ := options(t)
	o.OnExit = func(shmkit.Exit) { t.Error("a worker was started") }
	o.Config = map[string]any{"level": "info", "cipher": "rot13", "limit": 1}
	db, err := openNumbers(filepath.Join(t.TempDir(), "numbers.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o.Databases = map[string]*sql.DB{"archive": db}
	o.Files = map[string]recfile.Options{"lines": {Path: filepath.Join(t.TempDir(), "lines")}}
	limits, err := newLimits()
	if err != nil {
		t.Fatal(err)
	}
	defer limits.Close()
	server, err := call.Serve(call.Options{Name: "bank"}, bank{Withdraw: (&account{}).Withdraw})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	o.Resources = map[string]spawn.Resource{"limits": limits, "bank": server}
	n := node(t, o)
	if _, err := n.Config().SetFor(cfgblob.Audience{Group: "many"}, "test", "limit", "many", 0); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		spec shmkit.Spec
		says []string // nothing: it can be started
	}{
		{shmkit.Spec{Func: spends}, nil},
		{shmkit.Spec{Func: shares}, []string{`worker function "shares" cannot be built: the owner gives its workers no resource "hits" (it gives: bank, limits): add fxkit.Share of that name to it`}},
		{shmkit.Spec{Func: inserts}, []string{`worker function "inserts" cannot be built: the owner gives its workers no database "main" (it gives: archive): add fxkit.Database, or shmkit.Options.Databases, of that name to it`}},
		{shmkit.Spec{Func: inserts, Env: fxkit.With(localDatabase)}, nil},
		{shmkit.Spec{Func: inserts, Env: fxkit.With(wrapped)}, []string{`no database "main"`}},
		{shmkit.Spec{Func: inModules}, []string{`no database "main" (it gives: archive)`}}, // archive is there, and not asked for
		{shmkit.Spec{Func: appends}, []string{`worker function "appends" cannot be built: the owner gives its workers no file "results" (it gives: lines): add shmkit.Options.Files of that name to it`}},
		{shmkit.Spec{Func: wrongBank}, []string{`worker function "wrong-bank" cannot be built: call: bind "bank": function Withdraw has another signature in the owner`}},
		{shmkit.Spec{Func: noProxy}, []string{`the owner's "limits" is a *cfgblob.Store: give a proxy with fxkit.Serve, or take it with fxkit.Shared`}},
		{shmkit.Spec{Func: wrongConfig}, []string{`worker function "wrong-config" cannot be built: the owner's configuration is no fxkit_test.numeric`, `key "cipher"`, "expects an integer, has a string"}},
		{shmkit.Spec{Func: wrongConfig, Env: fxkit.With(fixed)}, nil},
		{shmkit.Spec{Func: someConfig}, nil},
		{shmkit.Spec{Func: someConfig, Group: "many"}, []string{`the owner's configuration is no fxkit_test.config`, `key "limit"`}},
	} {
		err := fxkit.CheckSpec(n, c.spec)
		if c.says == nil && err == nil {
			continue
		}
		var g *fxkit.GraphError
		if len(c.says) == 0 || !says(err, c.says...) || strings.Contains(err.Error(), "\n") || !errors.As(err, &g) || g.Func != c.spec.Func {
			t.Errorf("%s, group %q, %v: %v\nwant %q", c.spec.Func, c.spec.Group, c.spec.Env, err, c.says)
		}
		if len(c.says) > 0 {
			c.spec.Workers = 1
			if _, e := fxkit.Start(n, c.spec); e == nil || e.Error() != err.Error() {
				t.Errorf("Start of %s: %v", c.spec.Func, e)
			}
		}
	}
	if err := fxkit.CheckSpec(n, shmkit.Spec{Cmd: []string{"/bin/true"}}); err != nil {
		t.Error(err)
	}

	o, _ = options(t)
	o.OnExit = func(shmkit.Exit) { t.Error("a worker was started") }
	app := fx.New(fxkit.Node(o), fxkit.Workers(shmkit.Spec{Func: endless, Workers: 1}, shmkit.Spec{Func: shares, Workers: 1}), fx.NopLogger)
	if !says(app.Err(), `no resource "limits" (it gives: none)`, `no resource "hits"`) {
		t.Error(app.Err())
	}
}
