package cfgblob

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is wrong with a source leaves document and version as they are, and is
// named: source, line, key, and what was expected there.
func TestReloadErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "job.json")
	good := `{"level":"info","workers":4}`
	writeFile(t, path, good)
	type config struct {
		Level   string        `json:"level" check:"required,oneof=debug info"`
		Workers int           `json:"workers" check:"min=1,max=64"`
		Wait    time.Duration `json:"wait"`
	}
	s := newStore(t, StoreOptions{Name: "job", Sources: []Source{File(path)}, Validate: Strict[config]()}, `{}`)
	r := attach(t, s)
	for name, c := range map[string]struct{ text, want string }{
		"syntax":      {"{\n\"level\":}", `line 2, column 9, at key "level": '}' where a value should be`},
		"half":        {`{"level":"inf`, `the document ends where the end of a string should be`},
		"empty":       {``, `line 1, column 1: the document ends`},
		"type":        {"{\"level\":\"info\",\n\"workers\":\"four\"}", `job.json, line 2: key "workers": expects an integer, has a string`},
		"unknown key": {"{\"level\":\"info\",\n\n\"wrokers\":4}", `job.json, line 3: unknown key "wrokers": did you mean "workers"?`},
		"other case":  {`{"level":"info","Workers":4}`, `unknown key "Workers": did you mean "workers"?`},
		"required":    {`{"workers":4}`, `key "level" is required and missing`},
		"rule":        {"{\"level\":\"info\",\n\"workers\":65}", `job.json, line 2: key "workers": expects at most 64`},
		"choice":      {`{"level":"loud"}`, `job.json, line 1: key "level": expects one of debug info`},
		"duration":    {`{"level":"info","wait":"soon"}`, `key "wait": expects a duration such as "1m30s", or an integer of nanoseconds, has a string that is none`},
	} {
		writeFile(t, path, c.text)
		v, err := s.Reload(t.Context())
		if v != 1 || err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "job.json") && name != "required" ||
			!strings.Contains(err.Error(), "version 1 stays") || strings.Count(err.Error(), "cfgblob: ") > 1 {
			t.Errorf("%s: version %d\n got %v\nwant %s", name, v, err, c.want)
		}
		if docOf(r) != good || r.Version() != 1 {
			t.Fatalf("%s: published %v", name, r.Snapshot())
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path+": no such file") || docOf(r) != good {
		t.Errorf("a file that is gone: %v", err)
	}
	writeFile(t, path, `{"level":"debug","wait":"1m30s"}`)
	if v, err := s.Reload(t.Context()); err != nil || v != 2 || docOf(r) != `{"level":"debug","wait":"1m30s"}` {
		t.Errorf("good again: version %d, %v", v, err)
	}
	if c := bind[config](t, r).Load(); c.Wait != 90*time.Second {
		t.Errorf("%v", c.Wait)
	}
	writeFile(t, path, "{ \"wait\":\"1m30s\",\n\"level\":\"debug\"}")
	if v, err := s.Reload(t.Context()); err != nil || v != 2 {
		t.Errorf("the same in other words: version %d, %v", v, err)
	}
}

// Keys that are deleted disappear, unless they were set while the job ran.
func TestReloadKeepsRuntimeChanges(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "job.json"), `{"a":1,"b":1,"c":{"d":1}}`)
	s := newStore(t, StoreOptions{Sources: []Source{File(path)}}, `{"z":0}`)
	for _, do := range []func() (uint64, error){
		func() (uint64, error) { return s.Set("cli", "a", 2, 0) },
		func() (uint64, error) { return s.Unset("cli", "b", 0) },
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, path, `{"a":3,"b":3,"e":3}`)
	if v, err := s.Reload(t.Context()); err != nil || v != 4 || docOf(s) != `{"a":2,"e":3,"z":0}` {
		t.Errorf("version %d: %s, %v", v, docOf(s), err)
	}
	for path, want := range map[string]string{"a": `{"a":3,"e":3,"z":0}`, "": `{"a":3,"b":3,"e":3,"z":0}`} {
		if path == "" {
			continue
		}
		if _, err := s.Reset(Audience{}, "cli", path, 0); err != nil || docOf(s) != want {
			t.Errorf("reset %q: %s, %v", path, docOf(s), err)
		}
	}
	if _, err := s.Reset(Audience{}, "cli", "", 0); err != nil || docOf(s) != `{"a":3,"b":3,"e":3,"z":0}` {
		t.Errorf("reset of all: %s, %v", docOf(s), err)
	}
}

// A followed file that changes, breaks, disappears and comes back.
func TestFollow(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "job.json"), `{"n":1}`)
	type outcome struct {
		version uint64
		err     error
	}
	told := make(chan outcome, 100)
	src := &file{path: path, poll: time.Millisecond}
	s := newStore(t, StoreOptions{Sources: []Source{src}, Reloaded: func(v uint64, err error) { told <- outcome{v, err} }}, `{}`)
	s.Follow()
	s.Follow() // once is enough
	until := func(what string, good func(o outcome) bool) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case o := <-told:
				if good(o) {
					return
				}
			case <-deadline:
				t.Fatalf("not told of %s", what)
			}
		}
	}
	until("the first look", func(o outcome) bool { return o.version == 1 && o.err == nil })
	writeFile(t, path, `{"n":2}`)
	until("a change", func(o outcome) bool { return o.version == 2 && docOf(s) == `{"n":2}` })
	writeFile(t, path, `{"n":`)
	until("a break", func(o outcome) bool { return o.version == 2 && o.err != nil })
	os.Remove(path)
	until("the disappearance", func(o outcome) bool { return errors.Is(o.err, os.ErrNotExist) })
	if docOf(s) != `{"n":2}` {
		t.Error(docOf(s))
	}
	writeFile(t, path, `{"n":3}`)
	until("the return", func(o outcome) bool { return o.version == 3 })
}
