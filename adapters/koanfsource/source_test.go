package koanfsource_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"

	"shmkit/adapters/koanfsource"
	"shmkit/cfgblob"
)

type config struct {
	Level string `json:"level"`
	Limit int    `json:"limit"`
	DB    struct {
		Hosts []string `json:"hosts"`
	} `json:"db"`
}

// reload is what a store says of one change of a source.
type reload struct {
	version uint64
	err     error
}

// open is a store of a config type over sources.
func open(t *testing.T, sources ...cfgblob.Source) (*cfgblob.Store, <-chan reload) {
	t.Helper()
	reloads := make(chan reload, 64)
	s, err := cfgblob.NewStore(cfgblob.StoreOptions{
		Name: "test", Type: reflect.TypeFor[config](), Sources: sources,
		Reloaded: func(version uint64, err error) { reloads <- reload{version, err} },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, reloads
}

func replace(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// swap replaces a file in one step, for who reads it at any time.
func swap(t testing.TB, path, content string) {
	t.Helper()
	replace(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *cfgblob.Store, path string) string {
	t.Helper()
	v, err := s.Get(path)
	if err != nil {
		t.Error(err)
	}
	return asJSON(t, v)
}

// What cannot be used never replaces what can: the version stays, and the error says
// in which file, on which line, which key, and what belongs there.
func TestBadFilesLeaveTheOldConfig(t *testing.T) {
	for name, good := range map[string]string{
		"job.yaml": "level: info\n\nlimit: 10\n",
		"job.toml": "level = 'info'\n\nlimit = 10\n",
		"job.env":  "JOB_LEVEL=info\n\nJOB_LIMIT=10\n",
	} {
		path := write(t, name, good)
		src, bad := koanfsource.File(path), strings.NewReplacer("10", "'ten'")
		if name == "job.env" {
			src, bad = koanfsource.Dotenv(path, "JOB_", cfgblob.KeysOf[config]()), strings.NewReplacer("10", "ten")
		}
		s, _ := open(t, cfgblob.Defaults(config{Level: "debug"}), src)
		if get(t, s, "level") != `"info"` || get(t, s, "limit") != "10" {
			t.Errorf("%s: %s", name, s.Snapshot().Doc)
		}
		for _, c := range []struct{ content, says string }{
			{bad.Replace(good), `key "limit": expects an integer`},
			{good[:len(good)-6] + "{[", ""},        // a writer in the middle of its work
			{good + strings.ToUpper(good[:5]), ""}, // a key nobody knows, or no key
			{"", ""},
		} {
			if c.content == "" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				c.says = "no such file or directory: check the path"
			} else {
				replace(t, path, c.content)
			}
			version, err := s.Reload(t.Context())
			if err == nil || version != 1 || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) ||
				!strings.Contains(err.Error(), "version 1 stays") || strings.ContainsAny(err.Error(), "\n\t") {
				t.Errorf("%s: version %d: %v\nwant %q", name, version, err, c.says)
			}
			if where := map[bool]string{true: "$JOB_LIMIT", false: "line 3"}[name == "job.env"]; strings.HasPrefix(c.says, "key") && !strings.Contains(err.Error(), where) {
				t.Errorf("%s: %v, want %s", name, err, where)
			}
		}
		if _, err := s.Reload(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		replace(t, path, strings.ReplaceAll(good, "10", "11"))
		if version, err := s.Reload(t.Context()); version != 2 || err != nil || get(t, s, "limit") != "11" {
			t.Errorf("%s: back: version %d, %v", name, version, err)
		}
	}
}

// A file that is rewritten by an editor which truncates first, and one below a link
// that is turned to another folder, as Kubernetes mounts a ConfigMap.
func TestFilesAreFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, v := range []string{"..v1", "..v2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(dir, v, "job.yaml"), "level: "+v+"\n")
	}
	link := func(to, at string) {
		t.Helper()
		tmp := filepath.Join(dir, "tmp")
		if err := errors.Join(os.Symlink(to, tmp), os.Rename(tmp, filepath.Join(dir, at))); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", "..data")
	link("..data/job.yaml", "job.yaml")
	plain := write(t, "plain.toml", "limit = 1\n")

	s, reloads := open(t, koanfsource.File(filepath.Join(dir, "job.yaml")), koanfsource.File(plain))
	s.Follow()
	until := func(version uint64) {
		t.Helper()
		for r := range reloads {
			if r.err != nil {
				t.Fatal(r.err) // a file that was half there would show
			}
			if r.version == version {
				return
			}
		}
	}
	until(1)
	link("..v2", "..data")
	until(2)
	if got := get(t, s, "level"); got != `"..v2"` {
		t.Error(got)
	}
	replace(t, plain, "limit = 2\n")
	until(3)
	if got := get(t, s, "limit"); got != "2" {
		t.Error(got)
	}
	if _, err := s.Explain(cfgblob.Audience{}, "limit"); err != nil {
		t.Error(err)
	}
}

// Explain names the file and the line of the winner.
func TestExplainNamesTheLine(t *testing.T) {
	for name, content := range map[string]string{
		"a.yaml": "level: x\ndb:\n  hosts:\n  - one\n  - two\n",
		"a.toml": "level = 'x'\n\n\n[db]\nhosts = ['one', 'two']\n",
	} {
		path := write(t, name, content)
		s, _ := open(t, cfgblob.Defaults(config{}), koanfsource.File(path))
		why, err := s.Explain(cfgblob.Audience{}, "db.hosts")
		want := path + ", line " + map[string]string{"a.yaml": "3", "a.toml": "5"}[name]
		if err != nil || len(why) == 0 || !strings.Contains(why[0].String(), want) {
			t.Errorf("%s: %v, %v, want %q", name, why, err, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		want    map[string]string
	}{
		"a.yaml": {"a.b: 1\nc: &x\n  d: [1,\n    2]\ne: *x\nf:\n- g: 1\n- g: 2\n", map[string]string{
			`a\.b`: "1", "c": "2", "c.d": "3", "c.d.1": "4", "e": "5", "f.1.g": "8"}},
		"a.toml": {"'a.b' = 1\nc.d = 2\n[t.u]\nv = 3\n[[r]]\nn = 1\n[r.s]\nx = 1\n[[r]]\nn = 2\n[t]\nw = 4\n", map[string]string{
			`a\.b`: "1", "c": "2", "c.d": "2", "t.u.v": "4", "r.0.n": "6", "r.0.s.x": "8", "r.1.n": "10", "t.w": "12"}},
	} {
		l, err := koanfsource.File(write(t, name, c.content)).Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for path, line := range c.want {
			if _, err := cfgblob.Lookup(l.Tree, path); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := l.Where[path]; got != "line "+line {
				t.Errorf("%s: %s stands at %q, want line %s", name, path, got, line)
			}
		}
	}
}

// remote is a provider as koanf's are, of a server that can go away.
type remote struct {
	mu   sync.Mutex
	tree map[string]any
	err  error
	cb   func(any, error)
}

func (r *remote) ReadBytes() ([]byte, error) { return nil, errors.ErrUnsupported }

func (r *remote) Read() (map[string]any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree, r.err
}

func (r *remote) Watch(cb func(any, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cb = cb
	return nil
}

// set changes what the server holds, and tells the watcher.
func (r *remote) set(tree map[string]any, err error) {
	r.mu.Lock()
	for r.cb == nil { // not watched yet
		r.mu.Unlock()
		time.Sleep(time.Millisecond)
		r.mu.Lock()
	}
	cb := r.cb
	r.tree, r.err = tree, err
	r.mu.Unlock()
	cb(nil, err)
}

// A provider is followed by its own watch; one whose server was away is found again.
func TestProviderIsFollowed(t *testing.T) {
	t.Parallel()
	r := &remote{tree: map[string]any{"level": "one"}}
	s, reloads := open(t, koanfsource.Provider("etcd", r, nil))
	s.Follow()
	// until waits for what a change comes to; the same version may be told before.
	until := func(version uint64, failed bool) reload {
		for x := range reloads {
			if x.version == version && failed == (x.err != nil) {
				return x
			}
			if x.err != nil || x.version > version {
				t.Fatal(x)
			}
		}
		return reload{}
	}
	until(1, false)
	r.set(map[string]any{"level": "two"}, nil)
	if until(2, false); get(t, s, "level") != `"two"` {
		t.Error(get(t, s, "level"))
	}
	r.set(nil, errors.New("connection refused"))
	if x := until(2, true); !strings.Contains(x.err.Error(), "version 2 stays: etcd: connection refused: ") || get(t, s, "level") != `"two"` {
		t.Error(x)
	}
	r.mu.Lock()
	r.tree, r.err = map[string]any{"level": "three"}, nil
	r.mu.Unlock()
	until(3, false) // by the next watch
}

// koanf's own file provider, through the bridge and a parser, and by the clock.
func TestProviderWithParser(t *testing.T) {
	path := write(t, "x.conf", "level: one\n")
	src := koanfsource.Every(time.Millisecond, struct{ cfgblob.Source }{koanfsource.Provider("koanf's file", file.Provider(path), yaml.Parser())})
	s, reloads := open(t, src)
	s.Follow()
	swap(t, path, "level: two\n")
	for (<-reloads).version != 2 {
	}
	swap(t, path, "level: [\n")
	for x := range reloads {
		if x.err != nil {
			if x.version != 2 || !strings.Contains(x.err.Error(), `koanf's file: line 1: `) && !strings.Contains(x.err.Error(), "correct the file") {
				t.Error(x)
			}
			break
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for x := range reloads {
		if errors.Is(x.err, fs.ErrNotExist) {
			if x.version != 2 || get(t, s, "level") != `"two"` {
				t.Error(x)
			}
			break
		}
	}
}

func TestSourceErrors(t *testing.T) {
	for _, c := range []struct {
		src  cfgblob.Source
		says string
	}{
		{koanfsource.File("/nowhere/x.ini"), "unknown file format: name the file with one of .json .toml .yaml .yml"},
		{koanfsource.File(filepath.Join(t.TempDir(), "x.yaml")), "no such file or directory: check the path"},
		{koanfsource.File(write(t, "x.yaml", "a: 1\na: 2\n")), `line 2: mapping key "a" already defined at line 1: correct the file`},
		{koanfsource.File(write(t, "x.toml", "a = 1\nb =\n")), "line 2: "},
		{koanfsource.Dotenv(write(t, "x.env", "JOB_LEVLE=1"), "JOB_", cfgblob.KeysOf[config]()), "$JOB_LEVLE stands for no key: did you mean $JOB_LEVEL?"},
		{koanfsource.Dotenv(write(t, "y.env", "A=1\na b c"), "", nil), "there is a line without a NAME=: correct the file"},
		{koanfsource.Dotenv(write(t, "z.env", "A=1\r\n\r\nB!=secret\n"), "", nil), "line 3: a name may hold letters, digits, '_' and '.' only: correct the file"},
		{koanfsource.Dotenv(write(t, "q.env", "A=1\nB=\"secret\n"), "", nil), "line 2: a quote is not closed: correct the file"},
		{koanfsource.Dotenv("/nowhere/.env", "", nil), "check the path"},
		{koanfsource.Provider("p", &remote{tree: map[string]any{"a": make(chan int)}}, nil), `key "a" has a value of type chan int, which a configuration cannot hold`},
	} {
		_, err := c.src.Read(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v\nwant %q", c.src.Name(), err, c.says)
		}
	}
}
