package cfgblob

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type sourceConfig struct {
	Level string `json:"level" usage:"what is logged"`
	Log   struct {
		Sinks []string      `json:"sinks"`
		Flush time.Duration `json:"flush"`
	} `json:"log"`
	MaxSize int  `json:"maxSize"`
	Verbose bool `json:"verbose"`
	DB      struct {
		Password Secret `json:"password"`
		Token    string `json:"token" secret:"true"`
	} `json:"db"`
	Next *sourceConfig `json:"next"` // recursive: left out
}

func readSource(t *testing.T, s Source) Layer {
	t.Helper()
	l, err := s.Read(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	return l
}

func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysOf(t *testing.T) {
	var got []string
	for _, k := range KeysOf[sourceConfig]() {
		if k.Secret {
			k.Path += "!"
		}
		got = append(got, k.Path)
	}
	if want := "db.password! db.token! level log.flush log.sinks maxSize verbose"; strings.Join(got, " ") != want {
		t.Errorf("keys %q, want %q", got, want)
	}
}

func TestEnv(t *testing.T) {
	e := env{"environment", "JOB_", KeysOf[sourceConfig](), nil}
	e.environ = func() ([]string, error) {
		return []string{"JOB_LEVEL=5", "JOB_LOG_SINKS=[\"a\",\"b\"]", "JOB_VERBOSE=true", "JOB_MAXSIZE=07", "OTHER=1", "JOB_DB_TOKEN=true"}, nil
	}
	l := readSource(t, e)
	// A number stays text where text is wanted, and what is no JSON is left to the check.
	if got, want := text(t, l.Tree), `{"db":{"token":"true"},"level":"5","log":{"sinks":["a","b"]},"maxSize":"07","verbose":true}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := l.at("log.sinks.0"); got != "$JOB_LOG_SINKS" {
		t.Errorf("log.sinks.0 stands at %q", got)
	}
	for env, want := range map[string]string{
		"JOB_LEVLE=x":      "$JOB_LEVLE stands for no key: did you mean $JOB_LEVEL?",
		"JOB_WHATEVER=x":   "$JOB_WHATEVER stands for no key: unset it",
		"JOB_LEVEL=a\xffb": "$JOB_LEVEL is not valid UTF-8",
	} {
		e.environ = func() ([]string, error) { return []string{env}, nil }
		if _, err := e.Read(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", env, err, want)
		}
	}
	e.keys = append(e.keys, Key{Path: "log_sinks", Type: e.keys[0].Type})
	if _, err := e.Read(t.Context()); err == nil || !strings.Contains(err.Error(), `$JOB_LOG_SINKS stands for key "log.sinks" and for key "log_sinks": rename one`) {
		t.Errorf("ambiguous: %v", err)
	}
}

func TestFlags(t *testing.T) {
	fs := flag.NewFlagSet("job", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	s := Flags(fs, KeysOf[sourceConfig]())
	if l := readSource(t, s); len(l.Tree) != 0 {
		t.Errorf("nothing given: %v", l.Tree)
	}
	if err := fs.Parse([]string{"-verbose", "-level=debug", "-level", "warn", `-log.sinks=["x"]`, "rest"}); err != nil {
		t.Fatal(err)
	}
	l := readSource(t, s)
	if got, want := text(t, l.Tree), `{"level":"warn","log":{"sinks":["x"]},"verbose":true}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := l.at("verbose"); got != "-verbose" {
		t.Errorf("verbose stands at %q", got)
	}
	if f := fs.Lookup("level"); f.Usage != "what is logged" {
		t.Errorf("usage %q", f.Usage)
	}
	if err := fs.Parse([]string{"-levle=x"}); err == nil {
		t.Error("an unknown flag is taken")
	}
}

func TestFileSource(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "job.json"), "{\n \"level\": \"info\",\n \"log\": {\"sinks\": [\n  \"a\",\n  {\"x\":1}\n ]}}")
	l := readSource(t, File(path))
	for key, want := range map[string]string{"level": "line 2", "log": "line 3", "log.sinks.0": "line 4", "log.sinks.1.x": "line 5", "log.sinks.1.y": "line 5", "no": ""} {
		if got := l.at(key); got != want {
			t.Errorf("%s stands at %q, want %q", key, got, want)
		}
	}
	if _, err := File(path + ".no").Read(t.Context()); err == nil || strings.Contains(err.Error(), "job.json") {
		t.Errorf("a missing file: %v", err) // the caller puts the name in front
	}
	if l, err := Optional(File(path + ".no")).Read(t.Context()); err != nil || len(l.Tree) != 0 {
		t.Errorf("an optional file: %v, %v", l, err)
	}
	writeFile(t, path, `{"level":`)
	if _, err := Optional(File(path)).Read(t.Context()); err == nil || !strings.Contains(err.Error(), `line 1, column 10, at key "level"`) {
		t.Errorf("half a file: %v", err)
	}
}

// A followed file is told of when it is written, replaced, removed, and reached
// through a link that now leads elsewhere.
func TestFileFollow(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, d, "job.json"), `{"from":"`+d+`"}`)
	}
	turn := func(to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	turn("v1")
	f := &file{path: filepath.Join(dir, "..data", "job.json"), poll: time.Millisecond}
	got := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- f.Follow(ctx, func() {
			l, err := f.Read(ctx)
			if err != nil {
				got <- "error"
				return
			}
			got <- text(t, l.Tree)
		})
	}()
	expect := func(want string) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case have := <-got:
				if have == want {
					return
				}
			case <-deadline:
				t.Fatalf("not told of %s", want)
			}
		}
	}
	expect(`{"from":"v1"}`)
	turn("v2")
	expect(`{"from":"v2"}`)
	writeFile(t, filepath.Join(dir, "v2", "job.json"), `{"from":"a write"}`)
	expect(`{"from":"a write"}`)
	if err := os.Remove(filepath.Join(dir, "v2", "job.json")); err != nil {
		t.Fatal(err)
	}
	expect("error")
	writeFile(t, filepath.Join(dir, "v2", "job.json"), `{"from":"the dead"}`)
	expect(`{"from":"the dead"}`)
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("Follow ended with %v", err)
	}
}

func TestTransform(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "job.json"), `{"a":1}`)
	s := Transform(File(path), func(tree map[string]any) error { tree["b"] = true; return nil })
	if got := text(t, readSource(t, s).Tree); got != `{"a":1,"b":true}` {
		t.Error(got)
	}
	if _, ok := s.(Follower); !ok {
		t.Error("a transformed file is not followed")
	}
	if _, ok := Transform(Defaults(nil), nil).(Follower); ok {
		t.Error("defaults are followed")
	}
}
