//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// The test binary is the server, its function workers, and the helper processes
// that act as servers which can be killed.
func TestMain(m *testing.M) {
	c, err := Attach()
	switch {
	case err == nil:
		fn, ok := workerFuncs[c.Func]
		if !ok {
			fmt.Fprintf(os.Stderr, "no worker function %q\n", c.Func)
			os.Exit(3)
		}
		fn(c)
		os.Exit(0)
	case !errors.Is(err, ErrNotWorker):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	proctest.Main(m)
}

var workerFuncs = map[string]func(*Child){}

func workerFunc(name string, fn func(*Child)) string {
	workerFuncs[name] = fn
	return name
}

// patienceOfTests bounds waiting for what must happen; only a failing test takes
// that long.
const patienceOfTests = 60 * time.Second

// stress reports whether the long versions were asked for.
func stress() bool { return os.Getenv("SHMKIT_STRESS") != "" }

// newServer returns a server in a directory of the test's, and checks at the end
// that closing it leaves nothing there.
func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Run == "" {
		o.Run = "test"
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left := names(t, o.Dir); len(left) > 0 {
			t.Errorf("left in the runtime directory after Close: %q", left)
		}
	})
	return s
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var n []string
	for _, e := range entries {
		n = append(n, e.Name())
	}
	return n
}

func start(t testing.TB, s *Server, spec Spec) *Group {
	t.Helper()
	g, err := s.Start(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// run starts spec, waits for its end and returns the exits.
func run(t testing.TB, s *Server, spec Spec) []Exit {
	t.Helper()
	g := start(t, s, spec)
	g.Wait()
	exits := g.Exits()
	if len(exits) != spec.Workers {
		t.Fatalf("%d exits of %d workers", len(exits), spec.Workers)
	}
	return exits
}

func shell(n int, script string) Spec {
	return Spec{Cmd: []string{"sh", "-c", script}, Workers: n}
}

// A recorder is an OutputFunc that keeps all lines, pieces joined.
type recorder struct {
	mu    sync.Mutex
	lines map[string][]string // "group/rank/stream"
	more  chan struct{}       // one token after each line, at most one waiting
}

func newRecorder() *recorder {
	return &recorder{lines: map[string][]string{}, more: make(chan struct{}, 1)}
}

func (r *recorder) output(group string, rank, pid int, stream string, line []byte, continued bool) {
	r.mu.Lock()
	key := fmt.Sprintf("%s/%d/%s", group, rank, stream)
	if l := r.lines[key]; continued {
		l[len(l)-1] += string(line)
	} else {
		r.lines[key] = append(l, string(line))
	}
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *recorder) get(key string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines[key])
}

// waitFor returns when the stream has at least n lines.
func (r *recorder) waitFor(t testing.TB, key string, n int) []string {
	t.Helper()
	timeout := time.After(patienceOfTests)
	for {
		if l := r.get(key); len(l) >= n {
			return l
		}
		select {
		case <-r.more:
		case <-timeout:
			t.Fatalf("%s has %d lines, want %d", key, len(r.get(key)), n)
		}
	}
}

// waitGone returns when no process pid is alive (a zombie is not).
func waitGone(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err == unix.ESRCH {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := 0, error(syscall.EINTR)
		for err == syscall.EINTR {
			n, err = unix.Poll(p, int(patienceOfTests.Milliseconds()))
		}
		unix.Close(fd)
		if n != 1 {
			t.Errorf("process %d is still alive (%v)", pid, err)
		}
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := strings.TrimSpace(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return state[0] != 'Z' && state[0] != 'X'
}

func openFDs(t testing.TB) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// eventually waits for cond, for things that end by themselves soon.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patienceOfTests); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// set changes a variable of the package for one test.
func set[T any](t testing.TB, p *T, v T) {
	old := *p
	*p = v
	t.Cleanup(func() { *p = old })
}

// notify returns where a helper process gets a signal.
func notify(sig os.Signal) <-chan os.Signal {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, sig)
	return ch
}
