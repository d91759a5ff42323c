//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A history is the exits of a server's workers as they happened.
type history struct {
	mu    sync.Mutex
	exits []Exit
}

func (h *history) add(x Exit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.exits = append(h.exits, x)
}

func (h *history) of(rank int) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.exits {
		if x.Rank == rank {
			n++
		}
	}
	return n
}

// soon is a Restart without long pauses.
func soon(s Strategy) Restart {
	return Restart{When: RestartOnFailure, Strategy: s, Backoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}
}

// pids returns the pids of a group whose workers all run.
func pids(g *Group) (p []int) {
	for _, i := range g.Infos() {
		if i.State != Running {
			return nil
		}
		p = append(p, i.Pid)
	}
	return p
}

// Who is started anew with a worker that was killed: nobody else, all, or those of
// higher rank.
func TestStrategies(t *testing.T) {
	for strategy, anew := range map[Strategy][]int{OneForOne: {1}, OneForAll: {0, 1, 2, 3}, RestForOne: {1, 2, 3}} {
		s := newServer(t, Options{})
		spec := shell(4, "exec sleep 600")
		spec.Restart = soon(strategy)
		g := start(t, s, spec)
		before := pids(g)
		must(t, syscall.Kill(before[1], syscall.SIGKILL))
		eventually(t, "all run again", func() bool {
			now := pids(g)
			return now != nil && now[1] != before[1]
		})
		after := pids(g)
		for rank := range 4 {
			if changed, want := before[rank] != after[rank], slices.Contains(anew, rank); changed != want {
				t.Errorf("strategy %d: worker %d was started anew: %v, want %v", strategy, rank, changed, want)
			}
		}
		for _, i := range g.Infos() {
			if i.Restarts == 1 != slices.Contains(anew, i.Rank) {
				t.Errorf("strategy %d: %+v", strategy, i)
			}
		}
		waitGone(t, before[1])
		must(t, g.Stop(context.Background()))
		if x := g.Exits()[0]; x.Reason != ReasonStop || x.Signal != syscall.SIGTERM {
			t.Errorf("after Stop: %+v", x)
		}
	}
}

// A worker that succeeds at its third attempt makes a group that ended well. Those
// that end with 0 are not started again.
func TestRestartUntilItSucceeds(t *testing.T) {
	var h history
	s := newServer(t, Options{Exit: h.add})
	spec := shell(2, `if [ $SHMKIT_RANK = 1 ]; then n=$(cat n 2>/dev/null); echo x >>n; [ $(wc -l <n) -ge 3 ]; fi`)
	spec.Dir, spec.Restart = t.TempDir(), soon(OneForOne)
	if err := start(t, s, spec).Wait(); err != nil {
		t.Error(err)
	}
	if h.of(0) != 1 || h.of(1) != 3 {
		t.Errorf("worker 0 ran %d times, worker 1 %d times", h.of(0), h.of(1))
	}
}

// A group gives up when restarts do not help: it says who and why, and nobody of it
// is left.
func TestGiveUp(t *testing.T) {
	var h history
	s := newServer(t, Options{Exit: h.add})
	spec := shell(3, `[ $SHMKIT_RANK = 2 ] || exec sleep 600; echo "no such table" >&2; exit 3`)
	spec.Restart = soon(OneForOne)
	spec.Restart.Intensity, spec.Restart.Period = 4, time.Hour
	g := start(t, s, spec)
	err := g.Wait()
	var give *GiveUpError
	var ends *ExitError
	if !errors.As(err, &give) || give.Rank != 2 || give.Exit.Code != 3 || !errors.As(err, &ends) || len(ends.Exits) != 3 {
		t.Fatalf("Wait: %v", err)
	}
	for _, want := range []string{`group "sh" gave up`, "more than 4 restarts in 1h0m0s", "worker 2", "exited with code 3", "no such table", "Spec.Restart"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q is missing", err, want)
		}
	}
	if n := h.of(2); n != 5 {
		t.Errorf("started %d times, want 1 and 4 restarts", n)
	}
	if x := g.Exits()[0]; x.Reason != ReasonRestart {
		t.Errorf("worker 0: %+v", x)
	}
}

// A program that is gone at the time of a restart is a failed restart.
func TestRestartOfWhatIsGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(file, []byte("#!/bin/sh\necho; exec sleep 600\n"), 0o755))
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	g := start(t, s, Spec{Cmd: []string{file}, Workers: 1, Restart: Restart{When: RestartAlways, Backoff: time.Millisecond, Intensity: 2}})
	rec.waitFor(t, "program/0/stdout", 1)
	must(t, os.Remove(file))
	must(t, syscall.Kill(g.Infos()[0].Pid, syscall.SIGKILL))
	err := g.Wait()
	var give *GiveUpError
	var se *StartError
	if !errors.As(err, &give) || !errors.As(give, &se) || se.Rank != 0 || !strings.Contains(err.Error(), file) {
		t.Errorf("Wait: %v", err)
	}
}

// Stop ends restarts, also while a worker waits for its turn.
func TestStopDuringBackoff(t *testing.T) {
	s := newServer(t, Options{})
	spec := shell(1, "exit 1")
	spec.Restart = Restart{When: RestartAlways, Backoff: time.Hour, MaxBackoff: time.Hour}
	g := start(t, s, spec)
	eventually(t, "it waits", func() bool { return g.Infos()[0].State == Waiting })
	must(t, g.Stop(context.Background()))
	if err := g.Wait(); err == nil || len(s.Workers()) != 0 {
		t.Errorf("Wait: %v, workers %v", err, s.Workers())
	}
}

// Restarts, resizes and stops at the same time leave nothing and hang nowhere.
func TestSupervisionUnderFire(t *testing.T) {
	s := newServer(t, Options{})
	for _, strategy := range []Strategy{OneForOne, OneForAll, RestForOne} {
		spec := shell(4, "exec sleep 600")
		spec.Restart = soon(strategy)
		spec.Restart.Intensity = -1
		g := start(t, s, spec)
		var wg sync.WaitGroup
		quit := make(chan struct{})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				default:
				}
				if infos := g.Infos(); len(infos) > 0 {
					g.each(func(w *worker) {
						if w.rank == i%len(infos) {
							w.signal(syscall.SIGKILL)
						}
					})
				}
			}
		})
		for i := range 20 {
			must(t, g.Resize(context.Background(), 1+i*7%6))
		}
		close(quit)
		wg.Wait()
		must(t, g.Stop(context.Background()))
		if err := g.Resize(context.Background(), 9); !errors.Is(err, errEnded) || !strings.Contains(err.Error(), g.Name()) {
			t.Errorf("Resize of an ended group: %v", err)
		}
	}
}

// Groups are stopped in the reverse order of their start: the last one is gone
// before the first one is told.
func TestStopOrder(t *testing.T) {
	var h history
	rec := newRecorder()
	s := newServer(t, Options{Exit: h.add, Output: rec.output})
	for _, name := range []string{"database", "cache", "web"} {
		start(t, s, Spec{Group: name, Workers: 1, Cmd: []string{"sh", "-c", "trap 'sleep 0.05; exit' TERM; echo; while :; do sleep 0.01; done"}})
		rec.waitFor(t, name+"/0/stdout", 1)
	}
	spec := shell(3, "trap 'exit' TERM; echo; while :; do sleep 0.01; done")
	spec.Group, spec.Restart = "chain", soon(RestForOne)
	start(t, s, spec)
	for rank := range 3 {
		rec.waitFor(t, fmt.Sprintf("chain/%d/stdout", rank), 1)
	}
	must(t, s.Stop(context.Background()))
	var order []string
	for _, x := range h.exits {
		order = append(order, fmt.Sprintf("%s/%d", x.Group, x.Rank))
	}
	if want := []string{"chain/2", "chain/1", "chain/0", "web/0", "cache/0", "database/0"}; !slices.Equal(order, want) {
		t.Errorf("stopped in the order %v, want %v", order, want)
	}
}
