package cfgblob

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAssignment(t *testing.T) {
	for s, want := range map[string]struct {
		path  string
		value any
	}{
		"a=1":                          {"a", json.Number("1")},
		"a.b.0=true":                   {"a.b.0", true},
		"a=null":                       {"a", nil},
		"a=":                           {"a", ""},
		"a==":                          {"a", "="},
		"a=b=c":                        {"a", "b=c"},
		"a=debug":                      {"a", "debug"},
		`a="8080"`:                     {"a", "8080"},
		"a= 1 ":                        {"a", json.Number("1")},
		"a= x ":                        {"a", " x "},
		"a=01234":                      {"a", "01234"},
		"a=1.10.2":                     {"a", "1.10.2"},
		"a=NaN":                        {"a", "NaN"},
		"a=123456789012345678901":      {"a", json.Number("123456789012345678901")},
		"a=[1,\"x\"]":                  {"a", []any{json.Number("1"), "x"}},
		`a={"B":{"c":1e3}}`:            {"a", map[string]any{"B": map[string]any{"c": json.Number("1e3")}}},
		"a={not json":                  {"a", "{not json"},
		`hosts.a\.b=1`:                 {`hosts.a\.b`, json.Number("1")},
		"Level=x":                      {"Level", "x"},
		"dsn=postgres://u@h/db?x=1&y":  {"dsn", "postgres://u@h/db?x=1&y"},
		"multi=line one\nand line two": {"multi", "line one\nand line two"},
	} {
		path, value, err := ParseAssignment(s)
		if err != nil || path != want.path || !reflect.DeepEqual(value, want.value) {
			t.Errorf("ParseAssignment(%q) = %q, %#v, %v", s, path, value, err)
		}
	}
	for s, want := range map[string]string{
		"":                        `assignment "" has no '='`,
		"level":                   `assignment "level" has no '=': write KEY=VALUE`,
		"=x":                      `assignment "" has no key before the '='`,
		"a..b=1":                  `path "a..b": has an empty element`,
		".a=1":                    `path ".a": has an empty element`,
		"a.=1":                    `path "a.": has an empty element`,
		`a\=1`:                    `backslash`,
		"a=\xffhunter2":           `assignment "a" is not valid UTF-8`,
		`a={"x":"hunter2","x":2}`: `assignment "a" line 1, column 16: key "x" appears twice`,
		"a=" + strings.Repeat("[", 65) + strings.Repeat("]", 65): `nested deeper than 64`,
	} {
		_, _, err := ParseAssignment(s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAssignment(%.40q):\n got %v\nwant %s", s, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the value: %v", err)
		}
	}
}

func TestAssign(t *testing.T) {
	doc := mustParse(t, `{"hosts":["x"],"log":{"level":"info"}}`)
	if err := Assign(doc, "hosts.0=a", "hosts.1=b", "log.level=debug", "log.file=out", "new.deep.key=1"); err != nil {
		t.Fatal(err)
	}
	want := `{"hosts":["a","b"],"log":{"file":"out","level":"debug"},"new":{"deep":{"key":1}}}`
	if got := text(t, doc); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var path *PathError
	if err := Assign(doc, "log.level.x=1"); !errors.As(err, &path) {
		t.Errorf("an assignment below a string: %v", err)
	}
	var bad *AssignmentError
	if err := Assign(doc, "oops"); !errors.As(err, &bad) || bad.Key != "oops" {
		t.Errorf("no '=': %v", err)
	}
}

// Whatever is accepted can be put into a document and found there again.
func FuzzParseAssignment(f *testing.F) {
	for _, s := range []string{"a=1", "a.b=x", "=", "a", "a..b=1", `a={"b":[1,2]}`, "a=\"", `a\.b=null`, "a=\xff", `a={"x":1,"x":2}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, value, err := ParseAssignment(s)
		if err != nil {
			return
		}
		if !strings.HasPrefix(s, path+"=") || !utf8.ValidString(s) {
			t.Fatalf("ParseAssignment(%q): path %q", s, path)
		}
		raw := s[len(path)+1:]
		if str, ok := value.(string); ok && !json.Valid([]byte(raw)) && str != raw {
			t.Fatalf("ParseAssignment(%q): string %q is not what was written", s, str)
		}
		doc := map[string]any{}
		if err := Assign(doc, s); err != nil {
			t.Fatal(err)
		}
		if strings.Count(path, ".") >= MaxDepth {
			return // a document refuses it later
		}
		tree, err := TreeOf(doc)
		if err != nil {
			if strings.Contains(err.Error(), "nested deeper") {
				return
			}
			t.Fatal(err)
		}
		if v, err := Lookup(tree, path); err != nil || !reflect.DeepEqual(v, value) {
			t.Fatalf("assigned %q, found %#v, %v, want %#v", s, v, err, value)
		}
	})
}
