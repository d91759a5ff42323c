package cfgblob

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestHistory(t *testing.T) {
	s := newStore(t, StoreOptions{Name: "job", Author: "node"}, `{"n":0,"log":{"level":"info"}}`)
	for n := 1; n <= 70; n++ {
		if _, err := s.Set("cli", "n", n, 0); err != nil {
			t.Fatal(err)
		}
	}
	list := s.History()
	if len(list) != DefaultHistory || list[0].Version != 8 || list[63].Version != 71 {
		t.Fatalf("%d versions from %d to %d", len(list), list[0].Version, list[len(list)-1].Version)
	}
	for i, r := range list {
		if r.Author != "cli" || r.Action != "set n" || i > 0 && r.Time.Before(list[i-1].Time) {
			t.Errorf("%+v", r)
		}
		snap, err := s.At(r.Version)
		if want := fmt.Sprintf(`{"log":{"level":"info"},"n":%d}`, r.Version-1); err != nil || string(snap.Doc) != want || snap.Version != r.Version {
			t.Errorf("version %d: %v, %v", r.Version, snap, err)
		}
	}
	for _, v := range []uint64{0, 7, 72} {
		_, err := s.At(v)
		if want := fmt.Sprintf(`cfgblob: "job": version %d is not kept: choose one from 8 to 71, or keep more (StoreOptions.History)`, v); !errors.Is(err, ErrNoVersion) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestDiff(t *testing.T) {
	s := newStore(t, StoreOptions{Secrets: []string{"db.password", "keys"}},
		`{"level":"info","list":[1],"db":{"host":"a","password":"old-secret"},"keys":{"x":"k1"},"x":5}`)
	if _, err := s.Publish("cli", []byte(`{"level":"debug","list":[1,2],"db":{"host":"a","password":"new-secret"},"keys":{"x":"k2","y":"k3"},"new":{"a":1},"x":{"y":1}}`)); err != nil {
		t.Fatal(err)
	}
	list, err := s.Diff(1, 2)
	var got []string
	for _, c := range list {
		got = append(got, c.String())
	}
	want := []string{
		`db.password: "[redacted]" → "[redacted]"`,
		`keys: "[redacted]" → "[redacted]"`,
		`level: "info" → "debug"`,
		`list: [1] → [1,2]`,
		`new: + {"a":1}`,
		`x: 5 → {"y":1}`,
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v\n got %q\nwant %q", err, got, want)
	}
	if list, err := s.Diff(2, 2); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if back, err := s.Diff(2, 1); err != nil || len(back) != 6 || back[4].String() != `new: - {"a":1}` {
		t.Errorf("%v, %v", back, err)
	}
}

// A rollback is a new version with the old content, overrides included, and stays
// when the sources are read again.
func TestRollback(t *testing.T) {
	file := writeFile(t, filepath.Join(t.TempDir(), "job.json"), `{"level":"info"}`)
	s := newStore(t, StoreOptions{Sources: []Source{File(file)}}, `{"n":1}`)
	r, _ := connected(t, s, "train", 0)
	if _, err := s.SetFor(Audience{Group: "train"}, "cli", "n", 7, 0); err != nil {
		t.Fatal(err)
	}
	before, special := docOf(s), docOf(r)
	at := s.VersionFor(Audience{Group: "train"})
	for _, do := range []func() (uint64, error){
		func() (uint64, error) { return s.Set("cli", "n", 2, 0) },
		func() (uint64, error) { return s.Unset("cli", "level", 0) },
		func() (uint64, error) { return s.Reset(Audience{Group: "train"}, "cli", "", 0) },
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if docOf(s) != `{"n":2}` || docOf(r) != `{"n":2}` {
		t.Fatalf("%s %s", docOf(s), docOf(r))
	}
	v, err := s.Rollback("cli", at, 0)
	if err != nil || v != 6 || docOf(s) != before || docOf(r) != special {
		t.Errorf("version %d: %s, %s, %v", v, docOf(s), docOf(r), err)
	}
	if last := s.History()[5]; last.Action != "rollback to 2" {
		t.Errorf("%+v", last)
	}
	if v, err := s.Rollback("cli", at, 0); err != nil || v != 6 {
		t.Errorf("again: version %d, %v", v, err)
	}
	if _, err := s.Rollback("cli", at, 5); !errors.Is(err, ErrConflict) {
		t.Errorf("for another version: %v", err)
	}
	writeFile(t, file, `{"level":"debug"}`)
	if _, err := s.Rollback("cli", 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(t.Context()); err != nil || docOf(s) != `{"level":"debug","n":1}` {
		t.Errorf("%s, %v", docOf(s), err) // nothing had been said of level
	}
	if _, err := s.Rollback("cli", 1, 0); err != nil || docOf(s) != `{"level":"info","n":1}` {
		t.Errorf("%s, %v", docOf(s), err) // now it is said
	}
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	base := writeFile(t, filepath.Join(dir, "base.json"), "{\n \"log\": {\n  \"level\": \"info\" },\n \"db\": {\"password\": \"hunter2\"}\n}")
	site := writeFile(t, filepath.Join(dir, "site.json"), "{\"log\":\n{\"level\":\"warn\"}}")
	s := newStore(t, StoreOptions{
		Sources: []Source{File(base), File(site), For(Audience{Group: "train"}, Values("train", map[string]any{"log": map[string]any{"level": "trace"}}))},
		Secrets: []string{"**.password"},
	}, `{"log":{"level":"error","file":"x"}}`)
	explain := func(a, path string, want ...string) {
		t.Helper()
		audience, _ := ParseAudience(a)
		list, err := s.Explain(audience, path)
		var got []string
		for _, o := range list {
			got = append(got, strings.ReplaceAll(o.String(), dir+"/", ""))
		}
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s for %q: %v\n got %q\nwant %q", path, a, err, got, want)
		}
	}
	three := []string{`site.json, line 2: "warn"`, `base.json, line 3: "info"`, `defaults: "error"`}
	explain("", "log.level", three...)
	explain("train", "log.level", append([]string{`train for train: "trace"`}, three...)...)
	explain("", "db.password", `base.json, line 4: "[redacted]"`)
	explain("", "log.file", `defaults: "x"`)
	for _, level := range []string{"debug", "fatal"} {
		if _, err := s.Set("cli", "log.level", level, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SetFor(Audience{Group: "train", Ranks: []int{1}}, "bob", "log.level", "off", 0); err != nil {
		t.Fatal(err)
	}
	explain("", "log.level", append([]string{`runtime, version 3 by "cli": "fatal"`}, three...)...)
	explain("train/1", "log.level", append([]string{`runtime for train/1, version 4 by "bob": "off"`, `runtime, version 3 by "cli": "fatal"`, `train for train: "trace"`}, three...)...)
	if _, err := s.Unset("cli", "db.password", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Explain(Audience{}, "db.password"); !errors.Is(err, ErrNoKey) {
		t.Errorf("removed: %v", err)
	}
	if _, err := s.Set("cli", "db.password", "again", 0); err != nil {
		t.Fatal(err)
	}
	explain("", "db.password", `runtime, version 6 by "cli": "[redacted]"`, `base.json, line 4: "[redacted]"`)
	if _, err := s.Explain(Audience{}, "log.levl"); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), `did you mean "log.level"?`) {
		t.Errorf("mistyped: %v", err)
	}
}
