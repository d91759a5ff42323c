//go:build linux

package spawn

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var given = workerFunc("given", func(c *Child) {
	ctx := c.Context()
	files, words, _ := c.Resource("r")
	b := make([]byte, 100)
	n, _ := files[len(files)-1].ReadAt(b, 0)
	fmt.Println(c.Rank, c.Size, os.Getenv("SHMKIT_RANK"), len(files), words, string(b[:n]))
	c.Ready()
	c.Send("r", fmt.Appendf(nil, "from %d", c.Rank))
	c.Handle("r", func(p []byte, _ []*os.File) { fmt.Println("got", string(p)) })
	<-ctx.Done()
})

func (g *Group) waitForSpares(t testing.TB, n int) []int {
	t.Helper()
	var pids []int
	eventually(t, "the spares wait", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		pids = nil
		for _, w := range g.spares {
			if blocked(w.pid) {
				pids = append(pids, w.pid)
			}
		}
		return len(pids) == n
	})
	return pids
}

// blocked reports whether a Go process has come to Attach: it has taken the name
// of its program.
func blocked(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return !strings.HasPrefix(string(b), "exe") && len(b) > 0 && b[0] > '9'
}

// A spare that gets a rank is a worker like any other: files (more than fit into one
// message), words, messages both ways, environment and output.
func TestSpares(t *testing.T) {
	const nfiles = 2*MaxMessageFiles + 3
	rec := newRecorder()
	messages := make(chan string, 10)
	var leases []*fakeLease
	s := newServer(t, Options{Output: rec.output, Resources: map[string]Resource{"r": fakeResource{func(rank int) (files []*os.File, words []string, lease io.Closer, err error) {
		for i := range nfiles {
			f, err := os.CreateTemp(t.TempDir(), "")
			must(t, err)
			fmt.Fprintf(f, "file %d of %d", i, rank)
			files = append(files, f)
		}
		l := &fakeLease{message: func(p []byte, _ []*os.File) { messages <- string(p) }}
		leases = append(leases, l)
		return files, []string{"w", "0"}, l, nil
	}}}})
	spec := Spec{Func: given, Workers: 1, Spares: 2, ReadyTimeout: patienceOfTests, Restart: soon(OneForOne)}
	g := start(t, s, spec)
	spares := g.waitForSpares(t, 2)
	if n := len(s.Workers()); n != 1 {
		t.Errorf("spares are listed: %d workers", n)
	}
	must(t, g.Resize(context.Background(), 2))
	if pid := g.Infos()[1].Pid; !slices.Contains(spares, pid) {
		t.Errorf("worker 1 is %d, the spares were %v", pid, spares)
	}
	want := fmt.Sprintf("1 2 1 %d [w 0] file %d of 1", nfiles, nfiles-1)
	if got := rec.waitFor(t, "given/1/stdout", 1)[0]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if a, b := <-messages, <-messages; a != "from 0" || b != "from 1" {
		t.Errorf("messages %q, %q", a, b)
	}
	must(t, leases[1].send([]byte("hello")))
	if got := rec.waitFor(t, "given/1/stdout", 2)[1]; got != "got hello" {
		t.Errorf("got %q", got)
	}

	// A spare takes the place of one that was killed; a spare that was killed is
	// made good.
	spares = g.waitForSpares(t, 2)
	must(t, syscall.Kill(g.Infos()[0].Pid, syscall.SIGKILL))
	eventually(t, "a spare is worker 0", func() bool { return slices.Contains(spares, g.Infos()[0].Pid) && len(pids(g)) == 2 })
	spares = g.waitForSpares(t, 2)
	must(t, syscall.Kill(spares[0], syscall.SIGKILL))
	eventually(t, "there is another one", func() bool {
		now := g.waitForSpares(t, 2)
		return !slices.Contains(now, spares[0])
	})
	spares = g.waitForSpares(t, 2)
	must(t, g.Stop(context.Background()))
	waitGone(t, spares...)
	for _, l := range leases {
		if l.closed != 1 || l.pid == 0 {
			t.Errorf("lease: %+v", l)
		}
	}
}

// One that is taken at the moment of its death harms nobody.
func TestSparesUnderFire(t *testing.T) {
	set(t, &spareRetry, time.Millisecond)
	s := newServer(t, Options{})
	g := start(t, s, Spec{Func: sleeper, Workers: 1, Spares: 3, Restart: soon(OneForOne)})
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(2 * time.Millisecond):
			}
			g.mu.Lock()
			for _, w := range g.spares {
				w.signal(syscall.SIGKILL)
			}
			g.mu.Unlock()
		}
	}()
	for i := range 30 {
		must(t, g.Resize(context.Background(), 1+i%4))
	}
	close(quit)
	<-done
	must(t, g.Stop(context.Background()))
}
