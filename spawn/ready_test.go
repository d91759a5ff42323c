//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moody workers do what the file MOOD/RANK says, or else what MOOD_DEFAULT does:
// become ready, never, or end before.
var moody = workerFunc("moody", func(c *Child) {
	mood := os.Getenv("MOOD_DEFAULT")
	if b, err := os.ReadFile(filepath.Join(os.Getenv("MOOD"), fmt.Sprint(c.Rank))); err == nil {
		mood = string(b)
	}
	switch mood {
	case "die":
		fmt.Fprintln(os.Stderr, "bad mood")
		os.Exit(7)
	case "never":
		time.Sleep(time.Hour)
	}
	c.Ready()
	c.Ready() // once more does nothing
	<-c.Context().Done()
})

func moodySpec(t *testing.T, n int) (spec Spec, setMood func(rank int, mood string)) {
	dir := t.TempDir()
	spec = Spec{Func: moody, Workers: n, ReadyTimeout: patienceOfTests, Env: []string{"MOOD=" + dir}}
	return spec, func(rank int, mood string) {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(rank)), []byte(mood), 0o644))
	}
}

// Start returns when all are ready. One that ends before, or is not ready in time,
// is named, and nothing is left of its group; others are unharmed.
func TestReadiness(t *testing.T) {
	s := newServer(t, Options{})
	spec, setMood := moodySpec(t, 3)
	spec.Group = "good"
	good := start(t, s, spec)
	if len(pids(good)) != 3 {
		t.Errorf("not all are ready after Start: %+v", good.Infos())
	}

	setMood(1, "die")
	spec.Group = "dies"
	_, err := s.Start(context.Background(), spec)
	var nr *NotReadyError
	if !errors.As(err, &nr) || nr.Exit == nil || nr.Exit.Code != 7 || nr.Rank != 1 {
		t.Errorf("one that dies: %v", err)
	}
	for _, want := range []string{`start worker 1 of group "dies"`, "ended before it was ready", "bad mood"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q is missing", err, want)
		}
	}

	setMood(1, "never")
	spec.Group, spec.ReadyTimeout = "late", 300*time.Millisecond
	_, err = s.Start(context.Background(), spec)
	if !errors.As(err, &nr) || nr.Exit == nil || nr.Exit.Reason != ReasonNotReady || nr.Rank != 1 && nr.Rank != 0 && nr.Rank != 2 {
		t.Errorf("one that is late: %v", err)
	}
	for _, want := range []string{"was not ready within 300ms", "Child.Ready", "Spec.ReadyTimeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q is missing", err, want)
		}
	}
	if n := len(s.Workers()); n != 3 || len(pids(good)) != 3 {
		t.Errorf("%d workers are left: %v", n, s.Workers())
	}

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	spec.Group, spec.ReadyTimeout = "cancelled", time.Hour
	if _, err := s.Start(ctx, spec); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a start that is cancelled: %v", err)
	}
}

// One that is never ready after a restart is a failure like others; those that run
// are unharmed.
func TestNotReadyAfterRestart(t *testing.T) {
	s := newServer(t, Options{})
	spec, setMood := moodySpec(t, 2)
	spec.ReadyTimeout = 700 * time.Millisecond
	spec.Restart = Restart{When: RestartOnFailure, Backoff: time.Millisecond, Intensity: -1}
	g := start(t, s, spec)
	before := pids(g)
	setMood(1, "never")
	must(t, syscall.Kill(before[1], syscall.SIGKILL))
	eventually(t, "it is given up twice", func() bool { return g.Infos()[1].Restarts == 3 })
	if now := g.Infos()[0]; now.Pid != before[0] || now.State != Running {
		t.Errorf("the other one: %+v", now)
	}
	setMood(1, "well")
	eventually(t, "it is ready", func() bool { return pids(g) != nil })
}

// Resize starts and stops workers while the others run. What cannot be started
// leaves the group as it was.
func TestResize(t *testing.T) {
	var h history
	s := newServer(t, Options{Exit: h.add})
	spec, setMood := moodySpec(t, 2)
	g := start(t, s, spec)
	before := pids(g)
	ctx := context.Background()
	must(t, g.Resize(ctx, 5))
	if p := pids(g); len(p) != 5 || p[0] != before[0] || g.Size() != 5 {
		t.Fatalf("after Resize(5): %v, size %d", g.Infos(), g.Size())
	}
	if i := g.Infos()[4]; i.Size != 5 || i.Rank != 4 {
		t.Errorf("the new one: %+v", i)
	}
	setMood(6, "die")
	err := g.Resize(ctx, 8)
	var nr *NotReadyError
	if !errors.As(err, &nr) || nr.Rank != 6 || len(pids(g)) != 5 || g.Size() != 5 {
		t.Errorf("Resize(8): %v; then %v", err, g.Infos())
	}
	must(t, g.Resize(ctx, 1))
	if p := pids(g); len(p) != 1 || p[0] != before[0] {
		t.Errorf("after Resize(1): %v", g.Infos())
	}
	for _, x := range h.exits {
		if x.Reason != ReasonResize && x.Code != 7 {
			t.Errorf("%+v", x)
		}
	}
	if n := len(h.exits); n != 7 {
		t.Errorf("%d exits, want 3 and 4", n)
	}
	for _, n := range []int{0, -1, MaxWorkers + 1} {
		if err := g.Resize(ctx, n); err == nil || !strings.Contains(err.Error(), "moody") {
			t.Errorf("Resize(%d): %v", n, err)
		}
	}
	must(t, g.Stop(ctx))
	if err := g.Wait(); err != nil {
		t.Errorf("the workers that were taken away count: %v", err)
	}
}
