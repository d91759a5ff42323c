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
	"testing"
	"time"
)

// A reload replaces one worker after the other: rank 0 first, the next one when its
// successor is ready. (The new program is this one under another name.)
func TestReload(t *testing.T) {
	var h history
	s := newServer(t, Options{Exit: h.add})
	spec, _ := moodySpec(t, 3)
	g := start(t, s, spec)
	before := pids(g)
	binary := copyOfSelf(t)
	must(t, g.Reload(context.Background(), Reload{Binary: binary}))
	after := pids(g)
	if len(after) != 3 {
		t.Fatalf("after Reload: %+v", g.Infos())
	}
	for rank, pid := range after {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if pid == before[rank] || exe != binary || err != nil {
			t.Errorf("worker %d runs %s, %v", rank, exe, err)
		}
	}
	for i, x := range h.exits {
		if x.Rank != i || x.Reason != ReasonReload {
			t.Errorf("%d: %+v", i, x)
		}
	}
	must(t, g.Resize(context.Background(), 4))
	if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pids(g)[3])); exe != binary {
		t.Errorf("a later worker runs %s", exe)
	}
}

func copyOfSelf(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	path := filepath.Join(dir, "next")
	must(t, os.WriteFile(path, b, 0o755))
	return path
}

// When a successor fails, at the first worker or in the middle, all run the old
// program in the end, and the error names the worker and what it said.
func TestReloadFallsBack(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		return path
	}
	old := script("old", "echo old; exec sleep 600")
	half := script("half", `[ $SHMKIT_RANK = 2 ] && { echo "cannot read v2" >&2; exit 9; }; echo new; exec sleep 600`)
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	g := start(t, s, Spec{Cmd: []string{old}, Workers: 4, Group: "g"})
	rec.waitFor(t, "g/3/stdout", 1)
	err := g.Reload(context.Background(), Reload{Cmd: []string{half}, Settle: 300 * time.Millisecond})
	var re *ReloadError
	var nr *NotReadyError
	if !errors.As(err, &re) || !errors.As(err, &nr) || re.Rank != 2 || nr.Exit.Code != 9 {
		t.Fatalf("Reload: %v", err)
	}
	for _, want := range []string{`group "g"`, half, "worker 2", "cannot read v2", "old program"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q is missing", err, want)
		}
	}
	for rank, want := range [][]string{{"old", "new", "old"}, {"old", "new", "old"}, {"old", "old"}, {"old"}} {
		key := fmt.Sprintf("g/%d/stdout", rank)
		if got := rec.waitFor(t, key, len(want)); !slices.Equal(got, want) {
			t.Errorf("worker %d: %q, want %q", rank, got, want)
		}
	}
	if len(pids(g)) != 4 {
		t.Errorf("%+v", g.Infos())
	}
	// What can be seen beforehand changes nothing.
	before := pids(g)
	for _, bad := range []string{dir + "/missing", dir} {
		if err := g.Reload(context.Background(), Reload{Cmd: []string{bad}}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("reload with %s: %v", bad, err)
		}
	}
	f := start(t, s, Spec{Func: sleeper, Workers: 1})
	if err := f.Reload(context.Background(), Reload{Binary: dir + "/missing"}); err == nil || !strings.Contains(err.Error(), "/missing") {
		t.Errorf("reload with a missing binary: %v", err)
	}
	if !slices.Equal(before, pids(g)) {
		t.Errorf("workers changed")
	}
	// A program that was replaced under its name by something that is none.
	script("garbage", "")
	must(t, os.WriteFile(filepath.Join(dir, "garbage"), []byte("\x7fELF"), 0o755))
	if err := g.Reload(context.Background(), Reload{Cmd: []string{dir + "/garbage"}}); !errors.As(err, &re) || re.Rank != 0 || !strings.Contains(err.Error(), "not a program for this machine") {
		t.Errorf("reload with garbage: %v", err)
	}
	eventually(t, "all run again", func() bool { return len(pids(g)) == 4 })
	must(t, g.Stop(context.Background()))
	if err := g.Reload(context.Background(), Reload{}); !errors.Is(err, errEnded) {
		t.Errorf("reload of an ended group: %v", err)
	}
}
