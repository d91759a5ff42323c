package fxkit_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/adapters/koanfsource"
	"shmkit/cfgblob"
)

var follows = fxkit.Func("follows", func(ctx context.Context, log *slog.Logger, job *cfgblob.Live[config]) error {
	for c := range job.Watch(ctx) {
		log.Info(c.Cipher)
		if c.Limit == 2 {
			return nil
		}
	}
	return ctx.Err()
}, fxkit.Shared("job", cfgblob.Attach), fx.Provide(func(r *cfgblob.Reader) (*cfgblob.Live[config], error) {
	return cfgblob.Bind[config](r)
}))

// A file that changes, with a variable in it, is a new version in running workers; one
// that is broken in between is none.
func TestFileChangeReachesWorkers(t *testing.T) {
	t.Setenv("FXKIT_CIPHER", "rot13")
	path := filepath.Join(t.TempDir(), "job.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put("cipher: ${FXKIT_CIPHER}\nlimit: ${FXKIT_LIMIT:1}\n")
	refused := make(chan error, 64)
	o, out := options(t)
	var n *shmkit.Node
	app := fx.New(fxkit.Node(o), fx.Populate(&n), fxkit.Workers(shmkit.Spec{Func: follows, Workers: 2}), fx.NopLogger,
		fxkit.Share[*cfgblob.Store]("job", func() (*cfgblob.Store, error) {
			s, err := cfgblob.NewStore(cfgblob.StoreOptions{
				Name: "job", Type: reflect.TypeFor[config](),
				Sources: []cfgblob.Source{cfgblob.Expand(koanfsource.File(path), cfgblob.KeysOf[config]())},
				Reloaded: func(_ uint64, err error) {
					if err != nil {
						refused <- err
					}
				},
			}, nil)
			if err == nil {
				s.Follow()
			}
			return s, err
		}))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for out.count() < 2 { // both have seen the first version
		if err := n.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put("cipher: none\nlimit: many\n")
	if err := <-refused; !says(err, path, "line 2", `key "limit"`, "expects an integer", "version 1 stays") {
		t.Error(err)
	}
	put("cipher: none\nlimit: 2\n")
	if end := <-app.Wait(); end.ExitCode != 0 {
		t.Errorf("exit code %d", end.ExitCode)
	}
	if err := app.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for rank := range 2 {
		if got := out.messages(t, rank); !slices.Equal(got, []string{"rot13", "none"}) {
			t.Errorf("worker %d: %q", rank, got)
		}
	}
}
