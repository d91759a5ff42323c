package shmkit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shmkit/cfgblob"
)

type secretConfig struct {
	Level string `json:"level"`
	DB    struct {
		Host     string         `json:"host"`
		Password cfgblob.Secret `json:"password"`
	} `json:"db"`
}

func (c *secretConfig) Validate() error {
	if c.DB.Password == "forbidden-hunter" {
		return errors.New("the password " + c.DB.Password.Reveal() + " will not do")
	}
	return nil
}

// Whatever a client asks, no answer holds a secret: neither the old nor the new
// one, nor one that was refused.
//
// Shown to trip: with Snapshot.Get in place of Shown in valueAt.
func TestControlShowsNoSecret(t *testing.T) {
	store, err := cfgblob.NewStore(cfgblob.StoreOptions{
		Name: "secrets", Validate: cfgblob.Strict[secretConfig](), Secrets: cfgblob.SecretsOf[secretConfig](),
	}, []byte(`{"level":"info","db":{"host":"h","password":"old-hunter"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	n := &Node{opts: Options{Name: "secrets"}, config: store}
	dir := t.TempDir()
	control, err := serveControl(n, mkdir(t, filepath.Join(dir, "secrets")))
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	ctx := t.Context()
	dial := func() *Client {
		t.Helper()
		c, err := Dial(ctx, DialOptions{Run: "secrets", Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, watcher := dial(), dial()
	defer c.Close()
	defer watcher.Close()

	var said strings.Builder
	note := func(parts ...any) {
		for _, p := range parts {
			switch p := p.(type) {
			case error:
				said.WriteString(p.Error())
			case string:
				said.WriteString(p)
			case []byte:
				said.Write(p)
			}
			said.WriteByte('\n')
		}
	}
	updates := make(chan Update, 16)
	go func() {
		for u, err := range watcher.Watch(ctx, "db") {
			if err != nil {
				break
			}
			updates <- u
		}
		close(updates)
	}()
	note([]byte((<-updates).Value))
	for _, v := range []any{"forbidden-hunter", map[string]any{"x": "deep-hunter"}, []string{"list-hunter"}, "new-hunter"} {
		_, err := c.Set(ctx, "db.password", v, 0)
		note(err)
		_, err = c.SetFor(ctx, cfgblob.Audience{Group: "g"}, "db.password", v, 0)
		note(err)
		_, err = c.Set(ctx, "db", map[string]any{"password": v, "host": 5}, 0)
		note(err)
	}
	_, err = c.Canary(ctx, cfgblob.Audience{Group: "g"}, "db.password", "canary-hunter", 0)
	note(err)
	for _, key := range []string{"", "db", "db.password", "db.password.x", "db.passwor"} {
		for _, who := range []cfgblob.Audience{{}, {Group: "g"}} {
			v, _, err := c.GetFor(ctx, who, key)
			note([]byte(v), err)
			if key != "" {
				origins, err := c.Explain(ctx, who, key)
				note(err)
				for _, o := range origins {
					note(o.String(), []byte(o.Value))
				}
			}
		}
	}
	changes, err := c.Diff(ctx, 1, store.Version())
	note(err)
	for _, ch := range changes {
		note(ch.String())
	}
	history, err := c.History(ctx)
	note(err)
	for _, r := range history {
		note(r.Action, r.Author)
	}
	note(c.Validate(ctx, []byte(`{"db":{"password":"forbidden-hunter"}}`)))
	note([]byte((<-updates).Value)) // that it changed is told
	watcher.Close()

	if text := said.String(); strings.Contains(text, "hunter") || strings.Count(text, cfgblob.Redacted) < 10 {
		t.Errorf("what was said:\n%s", text)
	}
	if v, err := store.Get("db.password"); v != "new-hunter" || err != nil {
		t.Errorf("the secret itself is %v, %v", v, err) // it was all about this one
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
