package shmkit_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shmkit"
	"shmkit/dataio/recfile"
	"shmkit/internal/proctest"
)

var (
	writesGood = shmkit.Func("writes-good", func(ctx context.Context, w *shmkit.Worker) error {
		return w.File("r").Append([]byte("good"))
	})
	writesBad = shmkit.Func("writes-bad", func(ctx context.Context, w *shmkit.Worker) error {
		return errors.Join(w.File("r").Append([]byte("bad")), errors.New("no more"))
	})
	writesKilled = shmkit.Func("writes-killed", func(ctx context.Context, w *shmkit.Worker) error {
		if err := w.File("r").Append([]byte("killed")); err != nil {
			return err
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
	writesUntilAsked = shmkit.Func("writes-until-asked", func(ctx context.Context, w *shmkit.Worker) error {
		if err := w.File("r").Append([]byte("served")); err != nil {
			return err
		}
		w.Ready()
		<-ctx.Done()
		return nil
	})
	writesInterrupted = shmkit.Func("writes-interrupted", func(ctx context.Context, w *shmkit.Worker) error {
		if err := w.File("r").Append([]byte("begun")); err != nil {
			return err
		}
		w.Ready()
		<-ctx.Done()
		if w.Rank == 0 {
			return nil
		}
		return ctx.Err()
	})
)

// A file appears under its name when the run went well, and is left to be gone on with
// when it did not.
func TestFilesOfARun(t *testing.T) {
	run := func(n *shmkit.Node, fn string) *shmkit.Group {
		s := shmkit.Spec{Func: fn, Workers: 2, Group: "g"}
		if fn == writesUntilAsked || fn == writesInterrupted {
			s.ReadyTimeout = time.Minute
		}
		g, err := n.Start(s)
		if err != nil {
			t.Fatal(err)
		}
		if s.ReadyTimeout == 0 {
			g.Wait()
		}
		return g
	}
	for _, c := range []struct {
		name string
		do   func(n *shmkit.Node, cancel func())
		why  string // the file is unfinished, and the error says this
		o    shmkit.Options
	}{
		{name: "went well", do: func(n *shmkit.Node, _ func()) { run(n, writesGood) }},
		{name: "a worker failed", do: func(n *shmkit.Node, _ func()) { run(n, writesBad) }, why: "no more"},
		{name: "a worker was killed", do: func(n *shmkit.Node, _ func()) { run(n, writesKilled) }, why: "(and 1 more)"},
		{name: "failed, then done again", do: func(n *shmkit.Node, _ func()) { run(n, writesBad); run(n, writesGood) }},
		{name: "stopped in order", do: func(n *shmkit.Node, _ func()) { run(n, writesUntilAsked) }},
		{name: "interrupted", do: func(n *shmkit.Node, _ func()) { run(n, writesInterrupted) }, why: "interrupted: context canceled"},
		{name: "resized", do: func(n *shmkit.Node, _ func()) {
			if err := run(n, writesInterrupted).Resize(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "cancelled", do: func(n *shmkit.Node, cancel func()) { run(n, writesGood); cancel() }, why: "cancelled: context canceled"},
		{name: "said to have failed", do: func(n *shmkit.Node, _ func()) { run(n, writesGood); n.Fail(errors.New("wrong sum")) }, why: "wrong sum"},
		{name: "failed, and completed always", do: func(n *shmkit.Node, _ func()) { run(n, writesBad) }, o: shmkit.Options{AlwaysComplete: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			path := filepath.Join(t.TempDir(), "r")
			start := func(o recfile.Options) *shmkit.Node {
				o.Path = path
				c.o.Dir, c.o.Files = t.TempDir(), map[string]recfile.Options{"r": o}
				n, err := shmkit.Start(ctx, c.o)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			n := start(recfile.Options{})
			c.do(n, cancel)
			err := n.Close()
			written := n.FileStats("r").Written
			if written < 2 {
				t.Errorf("%d records", written)
			}
			left := path
			if c.why == "" {
				if err != nil {
					t.Error(err)
				}
			} else {
				left += ".partial"
				if !errors.Is(err, recfile.ErrUnfinished) || !strings.Contains(err.Error(), c.why) {
					t.Errorf("%v, want %q", err, c.why)
				}
			}
			if b, err := os.ReadFile(left); err != nil || strings.Count(string(b), "\n") != int(written) {
				t.Errorf("%q, %v", b, err)
			}
			if all, _ := filepath.Glob(path + "*"); len(all) != 1 {
				t.Errorf("left: %v", all)
			}
			if c.name != "a worker failed" {
				return
			}
			n = start(recfile.Options{Resume: true})
			run(n, writesGood)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(path); err != nil || strings.Count(string(b), "\n") != int(written)+2 {
				t.Errorf("gone on with: %q, %v", b, err)
			}
		})
	}
}

// A Start that fails leaves no file, neither complete nor unfinished.
func TestFailedStartLeavesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	_, err := shmkit.Start(t.Context(), shmkit.Options{
		Dir: t.TempDir(), Name: "a name that is none",
		Files: map[string]recfile.Options{"r": {Path: path, Header: []byte("h")}},
	})
	if err == nil || errors.Is(err, recfile.ErrUnfinished) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestFileStatsOfNone(t *testing.T) {
	n, _ := start(t, shmkit.Options{})
	if st := n.FileStats("r"); st != (recfile.Stats{}) {
		t.Errorf("%+v", st)
	}
}

var appendsALot = shmkit.Func("appends-a-lot", func(ctx context.Context, w *shmkit.Worker) error {
	for {
		if err := w.File("r").AppendContext(ctx, make([]byte, 100)); err != nil {
			return err
		}
	}
})

var _ = proctest.Helper("node-on-a-full-disk", func(args []string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(args) < 2 {
		shmkit.Main()
	}
	failing := make(chan error, 1)
	n, err := shmkit.Start(context.Background(), shmkit.Options{Dir: args[0], Files: map[string]recfile.Options{"r": {
		Path: args[1], Patience: time.Hour, Format: recfile.Frames,
		OnError: func(err error) {
			select {
			case failing <- err:
			default:
			}
		},
	}}})
	if err != nil {
		fail(err)
	}
	if _, err := n.Start(shmkit.Spec{Func: appendsALot, Workers: 1, StopTimeout: time.Hour}); err != nil {
		fail(err)
	}
	// The kernel refuses to let a file grow beyond this, as a full disk does.
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		fail(err)
	}
	<-failing
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err = n.Shutdown(ctx)
	st := n.FileStats("r")
	fmt.Println(st.Attempted == st.Written+st.Lost, st.Lost > 0, errors.Is(err, syscall.EFBIG), strings.Contains(err.Error(), "outlives"))
	fmt.Fprintln(os.Stderr, err)
})

// Shutdown does not wait longer than its context for a file that cannot be written: an
// hour would be.
func TestShutdownOnFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	out, err := proctest.Command(t, "node-on-a-full-disk", t.TempDir(), path).Output()
	if err != nil || string(out) != "true true true false\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file appears: %v", err)
	}
}
