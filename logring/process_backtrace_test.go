//go:build linux

package logring

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// keeps logs at debug, which is kept, and a few infos; then it waits, or ends.
var _ = proctest.Helper("keeps", func(args []string) {
	w := attached(args, 2)
	l := slog.New(w.Handler(nil))
	for i := range 100 {
		l.Debug("debug", "i", i)
		if i%10 == 0 {
			l.Info("info", "i", i)
		}
	}
	atomic.StoreInt64(mapCounter(args[1]), 1)
	switch args[0] {
	case "killed":
		select {}
	case "exit":
		os.Exit(0) // without closing its log
	case "closed":
		w.Close()
	}
})

// leavetrace is a node with a worker in one process, which is killed.
var _ = proctest.Helper("leavetrace", func(args []string) {
	c, err := NewCollector(CollectorOptions{CrashDir: args[0], Backtrace: &Backtrace{}, Sinks: []Sink{sinkFunc(func([]Record) error { select {} })}})
	if err != nil {
		panic(err)
	}
	files, words, _, err := c.Donate("g", 0, 1)
	if err != nil {
		panic(err)
	}
	w, err := Attach(files, words, nil)
	if err != nil {
		panic(err)
	}
	l := slog.New(w.Handler(nil))
	l.Debug("debug", "i", 0)
	l.Info("info", "i", 1)
	l.Debug("debug", "i", 2)
	if args[1] == "closed" {
		w.Close()
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
})

// A killed node leaves the backtraces of its workers, too.
func TestBacktraceIsSalvaged(t *testing.T) {
	for how, want := range map[string][]string{"killed": {"(debug 0)", "info 1", "(debug 2)"}, "closed": {"info 1"}} {
		dir := filepath.Join(t.TempDir(), "crash")
		if err := proctest.Command(t, "leavetrace", dir, how).Run(); err == nil {
			t.Fatal("the node was to die")
		}
		k := &keeper{}
		if found, err := Salvage(t.Context(), dir, SalvageOptions{Sinks: []Sink{k}}); err != nil || found.Records != uint64(len(want)) {
			t.Errorf("%s: %+v, %v", how, found, err)
		}
		equal(t, said(t, k.all()), want)
	}
}

// A worker that dies without having closed its log, of SIGKILL or by os.Exit, leaves
// its backtrace: behind its last record, in order, marked, all of it. One that has
// closed its log leaves none.
func TestBacktraceOfTheDead(t *testing.T) {
	for _, how := range []string{"killed", "exit", "closed"} {
		t.Run(how, func(t *testing.T) {
			k := &keeper{}
			c := newCollector(t, CollectorOptions{Backtrace: &Backtrace{}, Sinks: []Sink{k}})
			note := counterFile(t, t.TempDir(), 0)
			s := start(t, c, "keeps", "g", 0, how, note)
			if how == "killed" {
				ready := mapCounter(note)
				defer unmapCounter(ready)
				for atomic.LoadInt64(ready) == 0 { // bounded by the test's deadline
					time.Sleep(time.Millisecond)
				}
				s.cmd.Process.Signal(syscall.SIGKILL)
			}
			s.wait()
			flushAll(t, c)
			var want []string
			for i := 0; i < 100; i += 10 {
				want = append(want, fmt.Sprint("info ", i))
			}
			for i := 0; i < 100 && how != "closed"; i++ {
				want = append(want, fmt.Sprintf("(debug %d)", i))
			}
			equal(t, said(t, k.all()), want)
			checkAccount(t, c.Stats())
			if s := c.Stats(); s.Attempted != uint64(len(want)) || s.Pending != 0 || len(s.Dropped) != 0 {
				t.Errorf("account %+v", s)
			}
		})
	}
}
