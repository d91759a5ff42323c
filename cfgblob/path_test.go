package cfgblob

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const hosts = `{"log":{"level":"info","Level":2,"sinks":[{"path":"a"},{"path":"b"}]},
	"hosts":{"a.b":1,"c\\d":2,"0":"zero"},"empty":{},"none":null}`

func mustParse(t testing.TB, doc string) map[string]any {
	t.Helper()
	m, err := Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func text(t testing.TB, m map[string]any) string {
	t.Helper()
	b, err := canonical(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLookup(t *testing.T) {
	doc := mustParse(t, hosts)
	for path, want := range map[string]string{
		"log.level":        "info",
		"log.Level":        "2", // keys keep their case
		"log.sinks.0.path": "a",
		"log.sinks.1.path": "b",
		`hosts.a\.b`:       "1",
		`hosts.c\\d`:       "2",
		"hosts.0":          "zero", // an index only in an array
		"none":             "<nil>",
		"empty":            "map[]",
	} {
		if v, err := Lookup(doc, path); err != nil || fmt.Sprint(v) != want {
			t.Errorf("Lookup(%q) = %v, %v, want %s", path, v, err, want)
		}
	}
	if v, err := Lookup(doc, ""); err != nil || !reflect.DeepEqual(v, any(doc)) {
		t.Errorf(`Lookup("") = %v, %v, want the document`, v, err)
	}
}

func TestLookupErrors(t *testing.T) {
	doc := mustParse(t, hosts)
	for path, want := range map[string]string{
		"log.levle":                        `no key "log.levle": did you mean "log.level"? "log" has Level, level, sinks`,
		"LOG.level":                        `no key "LOG.level": did you mean "log"? the document has empty, hosts, log, none`,
		"log.sinks.2":                      `no key "log.sinks.2": "log.sinks" is an array of 2`,
		"log.sinks.00":                     `"log.sinks" is an array of 2`,
		"log.sinks.-1":                     `"log.sinks" is an array of 2`,
		"log.sinks.x":                      `"log.sinks" is an array of 2`,
		"log.level.x":                      `no key "log.level.x": "log.level" is a string`,
		"none.x":                           `"none" is null`,
		"empty.x":                          `no key "empty.x": "empty" is empty`,
		"hosts.a.b":                        `no key "hosts.a.b": did you mean "hosts.0"`, // one letter off; and it lists a.b
		"log.sinks.9999999999999999999999": `is an array of 2`,
	} {
		_, err := Lookup(doc, path)
		var key *KeyError
		if !errors.Is(err, ErrNoKey) || !errors.As(err, &key) || key.Path != path || !strings.Contains(err.Error(), want) {
			t.Errorf("Lookup(%q):\n got %v\nwant %s", path, err, want)
		}
	}
	for path, want := range map[string]string{
		".":     `path ".": has an empty element`,
		"a..b":  `empty element`,
		".a":    `empty element`,
		"log.":  `empty element`,
		`a\`:    `has a backslash that is not in front of "." or "\"`,
		`a\b`:   `backslash`,
		`a\..`:  `empty element`,
		`a\.b.`: `empty element`,
		`.a\.b`: `empty element`,
	} {
		doc := map[string]any{"a": map[string]any{}, "log": map[string]any{}, "a.b": map[string]any{}, "a.": map[string]any{}}
		_, err := Lookup(doc, path)
		var bad *PathError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("Lookup(%q):\n got %v\nwant %s", path, err, want)
		}
	}
}

// An element that was escaped last must not lose an empty element after it.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"a", "a.b.0", `a\.b`, `a\\`, `a\`, "", ".", `a\..b`, `\..`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		elems, err := splitPath(path)
		if err != nil {
			return
		}
		for _, e := range elems {
			if e == "" {
				t.Fatalf("splitPath(%q) = %q: an empty element", path, elems)
			}
		}
		again, err := splitPath(joinPath(elems))
		if err != nil || !reflect.DeepEqual(elems, again) {
			t.Fatalf("splitPath(%q) = %q, joined and split again %q, %v", path, elems, again, err)
		}
		doc := map[string]any{}
		if err := setPath(doc, path, true); err != nil {
			t.Fatal(err)
		}
		if v, err := Lookup(doc, path); err != nil || v != true {
			t.Fatalf("set %q, found %v, %v", path, v, err)
		}
		if err := unsetPath(doc, path); err != nil {
			t.Fatal(err)
		}
		if _, err := Lookup(doc, path); !errors.Is(err, ErrNoKey) {
			t.Fatalf("unset %q, still there: %v", path, err)
		}
	})
}

func TestSetAndUnset(t *testing.T) {
	for _, c := range []struct{ doc, path, want string }{
		{`{}`, "a", `{"a":"new"}`},
		{`{"a":1}`, "a", `{"a":"new"}`},
		{`{}`, "a.b.c", `{"a":{"b":{"c":"new"}}}`},
		{`{"a":{"b":1}}`, "a.c", `{"a":{"b":1,"c":"new"}}`},
		{`{}`, "a.0", `{"a":{"0":"new"}}`}, // an object is made, never an array
		{`{"a":[1,2]}`, "a.0", `{"a":["new",2]}`},
		{`{"a":[1,2]}`, "a.2", `{"a":[1,2,"new"]}`},
		{`{"a":[1,{"b":1}]}`, "a.1.b", `{"a":[1,{"b":"new"}]}`},
		{`{"a":[1]}`, "a.1.b", `{"a":[1,{"b":"new"}]}`},
		{`{"a":{"x.y":1}}`, `a.x\.y`, `{"a":{"x.y":"new"}}`},
		{`{"a":[1]}`, "a.2", `error path "a.2": "a" is an array of 1: use an index from 0 to 1 (which appends)`},
		{`{"a":[1]}`, "a.b", `error path "a.b": "a" is an array of 1: use an index`},
		{`{"a":"x"}`, "a.b", `error path "a.b": "a" is a string, not an object: unset it first`},
		{`{"a":null}`, "a.b", `error path "a.b": "a" is null, not an object`},
		{`{}`, "", `error path "": has an empty element`},
	} {
		doc := mustParse(t, c.doc)
		err := setPath(doc, c.path, "new")
		if want, isErr := strings.CutPrefix(c.want, "error "); isErr {
			if err == nil || !strings.Contains(err.Error(), want) || text(t, doc) != c.doc {
				t.Errorf("set %q in %s: %v, document %s, want %s", c.path, c.doc, err, text(t, doc), want)
			}
		} else if got := text(t, doc); err != nil || got != c.want {
			t.Errorf("set %q in %s: %s, %v, want %s", c.path, c.doc, got, err, c.want)
		}
	}
	for _, c := range []struct{ doc, path, want string }{
		{`{"a":1,"b":2}`, "a", `{"b":2}`},
		{`{"a":{"b":1}}`, "a.b", `{"a":{}}`},
		{`{"a":[1,2,3]}`, "a.1", `{"a":[1,3]}`},
		{`{"a":[{"b":1,"c":2}]}`, "a.0.b", `{"a":[{"c":2}]}`},
		{`{"a":1}`, "b", `error no key "b": did you mean "a"`},
		{`{"a":[1]}`, "a.1", `error no key "a.1": "a" is an array of 1`},
	} {
		doc := mustParse(t, c.doc)
		err := unsetPath(doc, c.path)
		if want, isErr := strings.CutPrefix(c.want, "error "); isErr {
			if !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), want) {
				t.Errorf("unset %q in %s: %v, want %s", c.path, c.doc, err, want)
			}
		} else if got := text(t, doc); err != nil || got != c.want {
			t.Errorf("unset %q in %s: %s, %v, want %s", c.path, c.doc, got, err, c.want)
		}
	}
}

func TestClosest(t *testing.T) {
	keys := []string{"level", "workers", "window", "maxSize", "tls"}
	for name, want := range map[string]string{
		"levle": "level", "Level": "level", "LEVEL": "level", "lvel": "level",
		"worker": "workers", "maxsize": "maxSize", "max_size": "maxSize", "tsl": "tls",
		"banana": "", "l": "", "": "", strings.Repeat("x", 1000): "",
	} {
		if got := closest(name, keys); got != want {
			t.Errorf("closest(%.20q) = %q, want %q", name, got, want)
		}
	}
}
