package koanfsource_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"shmkit/adapters/koanfsource"
)

// write makes a file in a new folder and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// asJSON is how a document is compared: the published form is what counts.
func asJSON(t *testing.T, doc any) string {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each format says the same thing in its own way. Numbers keep their digits,
// keys their case and their dots.
func TestFormatsAgree(t *testing.T) {
	const want = `{"DSN":"x","big":9007199254740993,"deep":{"A":{"b.c":1.5}},"list":[1,"two",{"three":3}],"on":true,"q.dot":"1"}`
	for name, content := range map[string]string{
		"a.json": `{"q.dot":"1","DSN":"x","big":9007199254740993,"deep":{"A":{"b.c":1.5}},"list":[1,"two",{"three":3}],"on":true}`,
		"a.yaml": "q.dot: '1'\nDSN: x\nbig: 9007199254740993\ndeep:\n  A: {b.c: 1.5}\nlist: [1, two, {three: 3}]\non: true\n",
		"A.YML":  "---\nq.dot: '1'\nDSN: x\nbig: 9007199254740993\ndeep: {A: {b.c: 1.5}}\nlist: [1, two, {three: 3}]\n\"on\": yes\n",
		"a.toml": "\"q.dot\" = '1'\nDSN = 'x'\nbig = 9007199254740993\nlist = [1, 'two', {three = 3}]\non = true\n[deep.A]\n'b.c' = 1.5\n",
	} {
		doc, err := koanfsource.Read(write(t, name, content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := want
		if name == "A.YML" { // yes is a word in YAML 1.2
			want = strings.Replace(want, `"on":true`, `"on":"yes"`, 1)
		}
		if got := asJSON(t, doc); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestNumbersKeepTheirDigits(t *testing.T) {
	doc, err := koanfsource.Read(write(t, "n.json", `{"pi":3.14159265358979323846264338327950288,"n":123456789012345678901234567890,"e":1e400}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, doc), `{"e":1e400,"n":123456789012345678901234567890,"pi":3.14159265358979323846264338327950288}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	doc, err = koanfsource.Read(write(t, "n.yaml", "max: 18446744073709551615\nmin: -9223372036854775808\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, doc), `{"max":18446744073709551615,"min":-9223372036854775808}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLaterFilesWin(t *testing.T) {
	doc, err := koanfsource.Read(
		write(t, "1.yaml", "a: {x: 1, y: {p: 1, q: 2}}\nlist: [1, 2, 3]\nkeep: me\nwas: {object: 1}\n"),
		write(t, "2.json", `{"a":{"y":{"q":3}},"list":[9],"was":"scalar"}`),
		write(t, "3.toml", "a.y.r = 4\na.x = 'two'\n"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, doc), `{"a":{"x":"two","y":{"p":1,"q":3,"r":4}},"keep":"me","list":[9],"was":"scalar"}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// Keys that only differ in where their dots stand are different keys.
func TestDotsAreNotPaths(t *testing.T) {
	doc, err := koanfsource.Read(
		write(t, "1.json", `{"a.b":1,"a":{"b":2,"c.d":3}}`),
		write(t, "2.yaml", "a: {c: {d: 4}}\n"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, doc), `{"a":{"b":2,"c":{"d":4},"c.d":3},"a.b":1}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestOnlyWhatJSONHas(t *testing.T) {
	doc, err := koanfsource.Read(
		write(t, "1.yaml", "when: 2026-01-02T03:04:05Z\nports: {80: http, 443: https}\nnone: ~\nnested: [[{1: one}]]\nbase: &b {x: 1}\ncopy: {<<: *b, y: 2}\n"),
		write(t, "2.toml", "day = 2026-01-02\n[[table]]\nn = 1\n[[table]]\nn = 2\n"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, doc), `{"base":{"x":1},"copy":{"x":1,"y":2},"day":"2026-01-02","nested":[[{"1":"one"}]],"none":null,"ports":{"443":"https","80":"http"},"table":[{"n":1},{"n":2}],"when":"2026-01-02T03:04:05Z"}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	var check func(path string, v any)
	check = func(path string, v any) {
		switch v := v.(type) {
		case nil, bool, string, json.Number, int, int64, uint64, float64:
		case []any:
			for _, e := range v {
				check(path+".", e)
			}
		case map[string]any:
			for k, e := range v {
				check(path+"."+k, e)
			}
		default:
			t.Errorf("%s is a %s", path, reflect.TypeOf(v))
		}
	}
	check("", doc)
}

func TestEmpty(t *testing.T) {
	for name, content := range map[string]string{"a.json": "{}", "a.yaml": "# nothing\n", "b.yml": "", "a.toml": "\n"} {
		doc, err := koanfsource.Read(write(t, name, content))
		if err != nil || doc == nil || len(doc) != 0 {
			t.Errorf("%s: %v, %v", name, doc, err)
		}
	}
	if doc, err := koanfsource.Read(); err != nil || doc == nil || len(doc) != 0 {
		t.Errorf("no file: %v, %v", doc, err)
	}
}

// Every failure is one line that names the file, the line where the parser
// tells it, and what to do.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, content string
		line          int
		says          string
	}{
		{"syntax.json", "{\n \"a\": 1,\n \"b\": }\n", 3, "'}' where a value should be"},
		{"short.json", "{\n \"a\": 1,\n", 3, "ends"},
		{"empty.json", "", 1, "ends"},
		{"null.json", "null", 1, "null"},
		{"list.json", "\n[1]", 1, "an array"},
		{"two.json", "{}\n{}", 2, "follows the end"},
		{"tail.json", "{} x", 1, "follows the end"},
		{"twice.json", "{\"a\": 1,\n\"a\": 2}", 2, `key "a" appears twice`},
		{"tab.yaml", "a: 1\n\tb: 2\n", 2, "found"},
		{"twice.yaml", "a: 1\nb: 2\na: 3\n", 3, `"a" already defined at line 1`},
		{"list.yaml", "- 1\n- 2\n", 1, "not an object"},
		{"scalar.yaml", "just text\n", 1, "not an object"},
		{"two.yaml", "a: 1\n---\nb: 2\n", 2, "second document"},
		{"nan.yaml", "a:\n  b: .nan\n", 0, `key "a.b" is NaN`},
		{"inf.toml", "a = [1.0, inf]\n", 0, `key "a.1" is +Inf`},
		{"syntax.toml", "a = 1\nb =\n", 2, ""},
		{"twice.toml", "a = 1\na = 2\n", 0, "a"},
		{"bytes.yaml", "a: !!binary /w==\n", 0, `key "a" is not UTF-8`},
		{"conf.ini", "a=1", 0, ".json .toml .yaml .yml"},
		{"conf", "a=1", 0, ".json .toml .yaml .yml"},
	} {
		path := write(t, c.name, c.content)
		doc, err := koanfsource.Read(path)
		var fe *koanfsource.FileError
		if !errors.As(err, &fe) {
			t.Errorf("%s: read as %v, error %v", c.name, doc, err)
			continue
		}
		if doc != nil || fe.Path != path || fe.Line != c.line || !strings.Contains(err.Error(), c.says) ||
			!strings.Contains(err.Error(), c.name) || strings.ContainsAny(err.Error(), "\n\r\t") {
			t.Errorf("%s: line %d: %q", c.name, fe.Line, err)
		}
	}
}

func TestSystemErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := koanfsource.Read(filepath.Join(dir, "missing.yaml"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasSuffix(err.Error(), `missing.yaml": no such file or directory: check the path`) {
		t.Errorf("missing: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err = koanfsource.Read(filepath.Join(dir, "folder.json")); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("folder: %v", err)
	}
	if _, err = koanfsource.Read(filepath.Join(dir, "absent.ini")); !errors.Is(err, koanfsource.ErrUnknownFormat) {
		t.Errorf("unknown format of a missing file: %v", err)
	}
	if os.Geteuid() == 0 {
		return // root reads everything
	}
	secret := write(t, "secret.json", "{}")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := koanfsource.Read(secret); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("unreadable: %v", err)
	}
}

// FuzzRead: whatever stands in a file, the result is an error of one line or a
// document that JSON can express.
func FuzzRead(f *testing.F) {
	f.Add("json", `{"a":[1,{"b":null}]}`)
	f.Add("yaml", "a: &x [1, 2]\nb: *x\n? [1, 2]\n: {3: 4}\n")
	f.Add("toml", "a.b = 1979-05-27T07:32:00Z\n[c]\nd = [1, 2]\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, ext, content string) {
		switch ext {
		case "json", "yaml", "toml":
		default:
			return
		}
		path := filepath.Join(dir, "fuzz."+ext)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		doc, err := koanfsource.Read(path)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\t\x1b\x00") {
				t.Fatalf("not one line: %q", err)
			}
			return
		}
		asJSON(t, doc)
	})
}
