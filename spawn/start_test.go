//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Each worker knows its run, rank, size and group; later environments win; Python
// is told not to buffer; a foreign command gets no plumbing.
func TestEnvironment(t *testing.T) {
	rec := newRecorder()
	t.Setenv("SHMKIT_RANK", "77") // this process could be a worker itself
	t.Setenv("SHMKIT_FD", "1;0")
	t.Setenv("FROM", "process")
	s := newServer(t, Options{Run: "env-test", Output: rec.output, Env: []string{"FROM=options", "A=options"}})
	dir := t.TempDir()
	spec := shell(3, `echo "$SHMKIT_RUN/$SHMKIT_GROUP/$SHMKIT_RANK/$SHMKIT_SIZE/$SHMKIT_DIR/$SHMKIT_FUNC/$SHMKIT_FD/$PYTHONUNBUFFERED/$FROM/$A/$(pwd -P)"`)
	spec.Env = []string{"FROM=spec"}
	spec.Dir = dir
	spec.Group = "g"
	if err := start(t, s, spec).Wait(); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(dir)
	must(t, err)
	for rank := range 3 {
		want := fmt.Sprintf("env-test/g/%d/3/%s///1/spec/options/%s", rank, filepath.Dir(s.Dir()), real)
		if got := rec.get(fmt.Sprintf("g/%d/stdout", rank)); !slices.Equal(got, []string{want}) {
			t.Errorf("worker %d: %q, want %q", rank, got, want)
		}
	}
}

// The program is found before anything is started, by the worker's PATH and
// directory; what is wrong with it is said, with what to do.
func TestCommandLookup(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode fs.FileMode) {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), mode))
	}
	file("bin/hello", "#!/bin/sh\necho hello from $0\n", 0o755)
	file("bin/plain", "#!/bin/sh\n", 0o644)
	file("bin/orphan", "#!/no/such/interpreter\n", 0o755)
	file("bin/garbage", "\x7fELF", 0o755)
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})

	for _, c := range []struct {
		cmd, path, dir string
	}{
		{"hello", dir + "/bin", ""},
		{"hello", "/nonexistent:" + dir + "/bin/plain:" + dir + "/bin", ""},
		{"hello", "bin", dir},
		{"./bin/hello", "", dir},
		{dir + "/bin/hello", "", "/"},
	} {
		g := start(t, s, Spec{Cmd: []string{c.cmd}, Workers: 1, Dir: c.dir, Env: []string{"PATH=" + c.path + ":/bin:/usr/bin"}})
		if err := g.Wait(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []struct {
		cmd, dir string
		is       error
		want     string
	}{
		{"no-such-command", "", exec.ErrNotFound, `command "no-such-command": command not found in PATH=`},
		{"", "", nil, "name is empty"},
		{"./nope", dir, exec.ErrNotFound, "there is no file " + dir + "/nope: check the path"},
		{dir + "/bin/plain", "", fs.ErrPermission, "is not executable"},
		{"plain", "", fs.ErrPermission, "is not executable"},
		{dir + "/bin", "", syscall.EISDIR, "is a directory"},
		{dir + "/bin/hello/x", "", exec.ErrNotFound, "there is no file"},
		{dir + "/bin/orphan", "", syscall.ENOENT, "interpreter"},
		{dir + "/bin/garbage", "", syscall.ENOEXEC, "not a program for this machine"},
		{"true", dir + "/missing", fs.ErrNotExist, "make it, or give another one"},
		{"true", dir + "/bin/hello", syscall.ENOTDIR, "make it, or give another one"},
	} {
		_, err := s.Start(context.Background(), Spec{Cmd: []string{c.cmd}, Workers: 2, Dir: c.dir, Env: []string{"PATH=" + dir + "/bin:/bin:/usr/bin"}})
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s in %q: %v\n\twant %q, %v", c.cmd, c.dir, err, c.want, c.is)
			continue
		}
		if strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("not one line: %v", err)
		}
		var ce *CommandError
		var se *SpecError
		if !errors.As(err, &ce) && !errors.As(err, &se) {
			t.Errorf("%v is neither a CommandError nor a SpecError", err)
		}
	}
	if ws := s.Workers(); len(ws) > 0 {
		t.Errorf("workers after failed starts: %v", ws)
	}
}

func TestBadSpecs(t *testing.T) {
	s := newServer(t, Options{})
	for want, spec := range map[string]Spec{
		"neither Func nor Cmd": {Workers: 1},
		"both Func and Cmd":    {Workers: 1, Func: "f", Cmd: []string{"true"}},
		"Workers: 0":           {Cmd: []string{"true"}},
		"Workers: -1":          {Cmd: []string{"true"}, Workers: -1},
		"Workers: 100000":      {Cmd: []string{"true"}, Workers: 100000},
		"NUL":                  {Cmd: []string{"true", "\x00"}, Workers: 1},
		"group name":           {Cmd: []string{"true"}, Workers: 1, Group: "a/b"},
		"Spec.Env":             {Cmd: []string{"true"}, Workers: 1, Env: []string{"nonsense"}},
	} {
		_, err := s.Start(context.Background(), spec)
		var se *SpecError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for want, o := range map[string]Options{
		"Options.Env":       {Run: "x", Env: []string{"SHMKIT_RUN=1"}},
		"Options.Resources": {Run: "x", Resources: map[string]Resource{"a b": fakeResource{}}},
		"is nil":            {Run: "x", Resources: map[string]Resource{"a": nil}},
	} {
		if _, err := NewServer(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Group names are unique among the groups that live: made so when they were not
// given, refused when they were.
func TestGroupNames(t *testing.T) {
	s := newServer(t, Options{})
	cat := func(name string) Spec {
		return Spec{Cmd: []string{"/bin/../bin/sleep", "600"}, Workers: 1, Group: name}
	}
	var got []string
	for range 3 {
		got = append(got, start(t, s, cat("")).Name())
	}
	if want := []string{"sleep", "sleep-2", "sleep-3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := s.Start(context.Background(), cat("sleep-2")); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second sleep-2: %v", err)
	}
	if n := len(s.Workers()); n != 3 {
		t.Errorf("%d workers", n)
	}
	must(t, s.Stop(context.Background()))
	if n := len(s.Workers()); n != 0 {
		t.Errorf("%d workers after Stop", n)
	}
	if g := start(t, s, cat("sleep-2")); g.Name() != "sleep-2" {
		t.Errorf("the name of an ended group is not free: %s", g.Name())
	}
}

func TestStdin(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	spec := Spec{Cmd: []string{"head", "-n1"}, Workers: 1, Stdin: r, Group: "in"}
	g := start(t, s, spec)
	fmt.Fprintln(w, "typed")
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	spec.Stdin, spec.Group = nil, "null"
	if err := start(t, s, spec).Wait(); err != nil {
		t.Error(err)
	}
	if got := rec.get("in/0/stdout"); !slices.Equal(got, []string{"typed"}) {
		t.Errorf("from stdin: %q", got)
	}
	if got := rec.get("null/0/stdout"); got != nil {
		t.Errorf("from the null device: %q", got)
	}
}

// A fakeResource donates what it is told to, and counts its leases.
type fakeResource struct {
	donate func(rank int) (files []*os.File, words []string, lease io.Closer, err error)
}

func (f fakeResource) Donate(group string, rank, size int) ([]*os.File, []string, io.Closer, error) {
	return f.donate(rank)
}

// A fakeLease counts, and passes on what it hears.
type fakeLease struct {
	mu      sync.Mutex
	pid     int
	closed  int
	send    func(payload []byte, files ...*os.File) error
	message func(payload []byte, files []*os.File)
}

func (l *fakeLease) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

func (l *fakeLease) Started(pid int, send func(payload []byte, files ...*os.File) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pid, l.send = pid, send
}

func (l *fakeLease) Message(payload []byte, files []*os.File) {
	if l.message != nil {
		l.message(payload, files)
		return
	}
	closeFiles(files)
}

var sleeper = workerFunc("sleeper", func(c *Child) {
	fmt.Println("ready")
	<-c.Context().Done()
})

// When one worker cannot be started, those before it are stopped, every lease is
// closed once, and nothing is left of any.
func TestStartIsAllOrNothing(t *testing.T) {
	before := openFDs(t)
	boom := errors.New("no more rings")
	for name, sabotage := range map[string]func() ([]*os.File, []string, io.Closer, error){
		"donate fails":    func() ([]*os.File, []string, io.Closer, error) { return nil, nil, nil, boom },
		"words are wrong": func() ([]*os.File, []string, io.Closer, error) { return nil, []string{"a b"}, nil, nil },
		"a file is nil":   func() ([]*os.File, []string, io.Closer, error) { return []*os.File{nil}, nil, nil, nil },
		"a file is closed": func() ([]*os.File, []string, io.Closer, error) {
			f, err := os.Open("/dev/null")
			f.Close()
			return []*os.File{f}, nil, nil, err
		},
		"too many files": func() ([]*os.File, []string, io.Closer, error) {
			var files []*os.File
			for range maxFiles + 1 {
				f, err := os.Open("/dev/null")
				must(t, err)
				files = append(files, f)
			}
			return files, nil, nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var leases []*fakeLease
			var ends sync.Map
			s := newServer(t, Options{
				Exit: func(x Exit) { ends.Store(x.Rank, x) },
				Resources: map[string]Resource{
					"good": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
						l := &fakeLease{}
						leases = append(leases, l)
						f, err := os.Open("/dev/null")
						return []*os.File{f}, nil, l, err
					}},
					"naughty": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
						if rank == 3 {
							return sabotage()
						}
						return nil, nil, nil, nil
					}},
				}})
			g, err := s.Start(context.Background(), Spec{Func: sleeper, Workers: 5})
			var se *StartError
			if g != nil || !errors.As(err, &se) || se.Rank != 3 {
				t.Fatalf("got %v, %v", g, err)
			}
			if name == "donate fails" && !errors.Is(err, boom) {
				t.Errorf("the cause is lost: %v", err)
			}
			if len(leases) != 4 {
				t.Errorf("%d leases", len(leases))
			}
			for rank, l := range leases {
				if l.closed != 1 {
					t.Errorf("lease of worker %d closed %d times", rank, l.closed)
				}
				if (l.pid != 0) != (rank < 3) {
					t.Errorf("worker %d has pid %d", rank, l.pid)
				}
				if l.pid != 0 {
					waitGone(t, l.pid)
					if _, ok := ends.Load(rank); !ok {
						t.Errorf("no exit of worker %d", rank)
					}
				}
			}
			if ws := s.Workers(); len(ws) > 0 {
				t.Errorf("workers left: %v", ws)
			}
			must(t, s.Close())
		})
	}
	eventually(t, "as many descriptors as before", func() bool { return openFDs(t) <= before })
}

// An eventLease writes down what happens to it.
type eventLease struct {
	mu     sync.Mutex
	events []string
}

func (l *eventLease) add(e string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *eventLease) Close() error { l.add("close"); return errors.New("lease is unhappy") }
func (l *eventLease) Message(p []byte, files []*os.File) {
	l.add("message " + string(p))
}
func (l *eventLease) Started(pid int, _ func([]byte, ...*os.File) error) { l.add("started") }
func (l *eventLease) Output(stream string, line []byte, continued bool) {
	l.add(fmt.Sprintf("%s %s %v", stream, line, continued))
}

var eventful = workerFunc("eventful", func(c *Child) {
	fmt.Println("a line")
	c.Send("r", []byte("last words"))
	fmt.Print("unterminated")
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
})

// A lease hears of the start first, then of every line and message, up to the last,
// and is closed then, once; the account of the exit comes after that, and Wait
// returns at the very end, with the error of the lease.
func TestLeaseOrder(t *testing.T) {
	l := &eventLease{}
	s := newServer(t, Options{
		Resources: map[string]Resource{"r": fakeResource{func(int) ([]*os.File, []string, io.Closer, error) { return nil, nil, l, nil }}},
		Exit:      func(x Exit) { l.add("exit " + x.Cause()) },
	})
	err := start(t, s, Spec{Func: eventful, Workers: 1}).Wait()
	var ee *ExitError
	if !errors.As(err, &ee) || !strings.Contains(err.Error(), `close resource "r": lease is unhappy`) {
		t.Errorf("Wait: %v", err)
	}
	e := l.events
	if len(e) != 6 || e[0] != "started" || e[4] != "close" || e[5] != "exit killed by signal 9 (SIGKILL)" {
		t.Fatalf("events: %q", e)
	}
	slices.Sort(e[1:4])
	if want := []string{"message last words", "stdout a line false", "stdout unterminated false"}; !slices.Equal(e[1:4], want) {
		t.Errorf("events: %q, want %q", e[1:4], want)
	}
}

// A Start can be cancelled, and Close ends one that is under way.
func TestStartInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := newServer(t, Options{Resources: map[string]Resource{"r": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
		if rank == 2 {
			cancel()
		}
		return nil, nil, nil, nil
	}}}})
	_, err := s.Start(ctx, Spec{Func: sleeper, Workers: 10})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled start: %v", err)
	}

	under, release := make(chan struct{}), make(chan struct{})
	dir := t.TempDir()
	s2 := newServer(t, Options{Dir: dir, Resources: map[string]Resource{"r": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
		if rank == 2 {
			close(under)
			<-release
		}
		return nil, nil, nil, nil
	}}}})
	errs := make(chan error)
	go func() {
		_, err := s2.Start(context.Background(), Spec{Func: sleeper, Workers: 10})
		errs <- err
	}()
	<-under
	closed := make(chan error)
	go func() { closed <- s2.Close() }()
	eventually(t, "the group is marked as stopped", func() bool {
		for _, g := range s2.live() {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.stopped
		}
		return false
	})
	close(release)
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "stopped while it was being started") {
		t.Errorf("start during Close: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := s2.Start(context.Background(), Spec{Func: sleeper, Workers: 1}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("start after Close: %v", err)
	}
}

// A program that is just being written is one to wait for, and says so; those that run
// are unharmed.
func TestTextBusy(t *testing.T) {
	s := newServer(t, Options{})
	g := start(t, s, Spec{Cmd: []string{"sleep", "600"}, Workers: 1})
	file := filepath.Join(t.TempDir(), "program")
	b, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(file, b, 0o755))
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = s.Start(context.Background(), Spec{Cmd: []string{file}, Workers: 2})
	if !errors.Is(err, syscall.ETXTBSY) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "is being written by another process: wait") {
		t.Errorf("got %v", err)
	}
	if len(pids(g)) != 1 {
		t.Errorf("%+v", g.Infos())
	}
}

// More workers than there is memory for are refused before any is started.
func TestMemoryIsSaidBefore(t *testing.T) {
	if n, where := freeMemory(); n < 16 || where == "" {
		t.Errorf("%d MiB are free here by %s: hardly right", n, where)
	}
	set(t, &freeMemory, func() (int, string) { return 100, "test" })
	s := newServer(t, Options{})
	_, err := s.Start(context.Background(), Spec{Func: sleeper, Workers: countTasksFrom})
	var le *LimitError
	if !errors.As(err, &le) || le.Need != countTasksFrom*functionMemory || le.Available != 100 || !strings.Contains(err.Error(), "MiB of memory, at 4 a function worker") || !strings.Contains(err.Error(), "fewer workers") {
		t.Errorf("got %v", err)
	}
	if len(s.Workers()) != 0 {
		t.Errorf("%+v", s.Workers())
	}
	must(t, start(t, s, Spec{Cmd: []string{"true"}, Workers: countTasksFrom}).Wait())
}
