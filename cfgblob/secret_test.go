package cfgblob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestSecretsOf(t *testing.T) {
	type host struct {
		Name  string            `json:"name"`
		Key   Secret            `json:"key"`
		Extra map[string]Secret `json:"extra"`
	}
	type node struct {
		Token string          `json:"token" secret:"true"`
		Next  *node           `json:"next"`
		Hosts []host          `json:"hosts"`
		ByID  map[string]host `json:"a.b"`
	}
	got := SecretsOf[node]()
	for _, p := range []string{"token", "next.token", "next.next.next.token", "hosts.3.key", "next.hosts.0.key", "hosts.1.extra.x", "a\\.b.c.key.deep"} {
		s, err := newSecrets(got)
		elems, _ := splitPath(p)
		if err != nil || !s.cover(elems) {
			t.Errorf("%s is not covered by %q, %v", p, got, err)
		}
	}
	for _, p := range []string{"hosts.3.name", "next", "hosts", "a.b.key", "hosts.key"} {
		s, _ := newSecrets(got)
		elems, _ := splitPath(p)
		if s.cover(elems) {
			t.Errorf("%s is covered by %q", p, got)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		cover, reach  bool
	}{
		{"a.b", "a.b", true, false},
		{"a.b", "a.b.c", true, false},
		{"a.b", "a", false, true},
		{"a.b", "a.c", false, false},
		{"a.*", "a.c", true, false},
		{"a.*", "a", false, true},
		{"**.key", "key", true, true},
		{"**.key", "x.y.key", true, true},
		{"**.key", "x.y.keys", false, true},
		{"a.**.key", "a.key", true, true},
		{"a.**.key", "key", false, false},
		{"a.**", "a.x", true, true},
		{"a.**", "b.x", false, false},
		{"*pass*", "my_password", true, false},
		{"*pass*", "pas", false, false},
		{"x*y*z", "xyz", true, false},
		{"x*y*z", "xzy", false, false},
		{`a\.b`, "a.b", false, false},
		{`a\.b`, `a\.b`, true, false},
	} {
		ps, err := parsePatterns([]string{c.pattern}, false)
		elems, _ := splitPath(c.path)
		if err != nil || ps.cover(elems) != c.cover || !c.cover && ps.reach(elems) != c.reach {
			t.Errorf("%q, %q: cover %v, reach %v, %v", c.pattern, c.path, ps.cover(elems), ps.reach(elems), err)
		}
	}
}

// A Snapshot prints no secret, in the owner as in a worker, which learns from the
// segment what is secret.
func TestSnapshotPrintsNoSecret(t *testing.T) {
	s := newStore(t, StoreOptions{Secrets: []string{"db.Password", "keys.*"}},
		`{"db":{"password":"hunter2","host":"h"},"keys":{"a":"hunter3","b":["hunter4"]},"list":["hunter-not"]}`)
	want := `{"db":{"host":"h","password":"[redacted]"},"keys":{"a":"[redacted]","b":"[redacted]"},"list":["hunter-not"]}`
	for _, v := range []View{s, attach(t, s)} {
		snap := v.Snapshot()
		asJSON, err := json.Marshal(snap)
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "snap", snap)
		for _, text := range []string{snap.String(), fmt.Sprintf("%+v %#v %x", snap, &snap, snap), string(asJSON), log.String()} {
			if strings.Contains(text, "hunter2") || strings.Contains(text, "hunter3") || strings.Contains(text, "hunter4") || !strings.Contains(text, "hunter-not") {
				t.Errorf("%T: %s", v, text)
			}
		}
		if got, err2 := snap.Shown(""); string(got) != want || err != nil || err2 != nil {
			t.Errorf("%T: shown %s, %v %v", v, got, err, err2)
		}
		if p, err := snap.Get("db.password"); p != "hunter2" || err != nil {
			t.Errorf("%T: the program itself gets %v, %v", v, p, err)
		}
		for path, want := range map[string]string{"db.password": `"[redacted]"`, "keys.b.0": `"[redacted]"`, "keys.b.7.x": `"[redacted]"`, "db.host": `"h"`} {
			if got, err := snap.Shown(path); string(got) != want || err != nil {
				t.Errorf("%T: %s is shown as %s, %v", v, path, got, err)
			}
		}
	}
}

func TestSecretType(t *testing.T) {
	c := struct{ Key Secret }{"hunter2"}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q %x %d", c, c, c, c, c.Key, c.Key, c.Key), slog.AnyValue(c.Key).Resolve().String()} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74") || !strings.Contains(text, Redacted) {
			t.Error(text)
		}
	}
	if text, err := json.Marshal(c); string(text) != `{"Key":"hunter2"}` || err != nil || c.Key.Reveal() != "hunter2" {
		t.Errorf("%s, %v", text, err)
	}
}

// The options that say what is secret are checked.
func TestSecretOptions(t *testing.T) {
	for want, list := range map[string][]string{
		`"job": StoreOptions.Secrets: path "a..b": has an empty element`: {"a..b"},
		`StoreOptions.Secrets: a pattern of two lines`:                   {"a\nb"},
		`bytes of patterns, at most`:                                     {strings.Repeat("x", 1<<16)},
	} {
		if _, err := NewStore(StoreOptions{Name: "job", Secrets: list}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Everything that a store, a reader and a Live say of a document, in which secret
// values stand wherever the fuzzer puts them: none of it holds one.
//
// Shown to trip: with secrets.clean returning err as it is, a Validate method
// that quotes the value leaks; with coverBelow false, Shown of a path into a secret.
func FuzzSecrets(f *testing.F) {
	f.Add("db.password", "hunter2", "x", uint8(0))
	f.Add("a.b.c", "quote\"back\\slash\n", "db", uint8(1))
	f.Add("tokens", "<&>\u2028é", "tokens.x", uint8(2))
	f.Add("list.0", "1234567", "list", uint8(3))
	f.Fuzz(func(t *testing.T, path, secret, other string, shape uint8) {
		if len(secret) > 100 || len(path) > 100 {
			return
		}
		secret = "S3" + secret + "cr3t" // so that it cannot stand anywhere by chance
		elems, err := splitPath(path)
		if err != nil || slices.Contains(elems, "**") || strings.Contains(path, "\n") {
			return
		}
		values := []any{secret, map[string]any{"k": secret}, []any{secret, map[string]any{"x": secret}}, map[string]any{"a": map[string]any{"b": []any{secret}}}}
		tree := map[string]any{}
		if setPath(tree, path, values[shape%4]) != nil {
			return
		}
		doc, err := canonical(tree)
		if err != nil {
			return
		}
		refuse := false
		s, err := NewStore(StoreOptions{Secrets: []string{path}, Validate: func(doc []byte) error {
			if refuse {
				return fmt.Errorf("no: %s, %q, %w", doc, secret, errors.New(secret))
			}
			return nil
		}}, doc)
		if err != nil {
			t.Skip(err)
		}
		defer s.Close()
		r := attach(t, s)
		defer r.Close()
		var said strings.Builder
		say := func(v any, err error) {
			if err != nil {
				fmt.Fprintln(&said, err)
			}
			fmt.Fprintf(&said, "%v %+v %#v\n", v, v, v)
			b, _ := json.Marshal(v)
			said.Write(b)
			if b, ok := v.([]byte); ok {
				said.Write(b)
			}
		}
		_, err = Bind[picky](r)
		say(nil, err)
		for _, v := range []View{s, r} {
			snap := v.Snapshot()
			say(snap, v.Err())
			for _, p := range []string{"", path, path + ".k", path + ".0", path + ".a.b", other} {
				shown, err := snap.Shown(p)
				say(shown, err)
				say(s.Explain(Audience{}, p))
			}
		}
		say(s.Set("x", path, secret+"2", 0))
		say(s.Set("x", "zz.z", 1, 0))
		refuse = true
		say(s.Set("x", path, secret+"3", 0))
		say(s.Publish("x", doc))
		say(nil, s.Check(doc))
		say(s.Unset("x", path+".k", 0))
		say(s.Rollback("x", 1, 0))
		say(s.Canary(Audience{Group: "g"}, "x", 0, func(doc map[string]any) error { return setPath(doc, path, secret) }))
		refuse = false
		say(s.Canary(Audience{Group: "g"}, "x", 0, func(doc map[string]any) error { return setPath(doc, path, secret+"4") }))
		say(s.History(), nil)
		say(s.Diff(1, s.version))
		say(s.Diff(s.version, 1))
		quoted, _ := json.Marshal(secret)
		for _, leak := range []string{secret, string(quoted[1 : len(quoted)-1]), fmt.Sprintf("%q", secret)} {
			if strings.Contains(said.String(), leak) {
				t.Errorf("path %q: %q is in:\n%s", path, leak, &said)
			}
		}
	})
}

// picky refuses every document and quotes it.
type picky map[string]any

func (p *picky) Validate() error { return fmt.Errorf("will not have %v", map[string]any(*p)) }
