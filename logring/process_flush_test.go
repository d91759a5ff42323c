//go:build linux

package logring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// flushes logs, flushes, and notes that the flush has returned.
var _ = proctest.Helper("flushes", func(args []string) {
	w := attached(args, 2)
	level, returned := FlushLevel(number(args[0])), mapCounter(args[1])
	l := slog.New(w.Handler(nil))
	for round := range 5 {
		for i := range 50 {
			l.Info("x", "i", i)
		}
		if err := w.FlushTo(context.Background(), level); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		// Stored here, loaded by the test's sink.
		atomic.StoreInt64(returned, int64(50*(round+1)))
	}
	w.Close()
})

// promised is a sink that checks what a worker was promised against what it has done:
// no more than it has written (or synced) may have been promised at any time.
type promised struct {
	returned        *int64
	level           FlushLevel
	written, synced int
	broken          atomic.Int64 // records that were promised too early
}

func (s *promised) check(done int) {
	if n := atomic.LoadInt64(s.returned); n > int64(done) {
		s.broken.Add(n - int64(done))
	}
}

func (s *promised) Write(batch []Record) error {
	if s.level >= Written {
		s.check(s.written)
	}
	time.Sleep(time.Millisecond) // a promise that comes too early shows
	if s.level >= Written {
		s.check(s.written)
	}
	s.written += len(batch)
	return nil
}

func (s *promised) Sync() error {
	if s.level == Synced {
		s.check(s.synced)
	}
	time.Sleep(time.Millisecond)
	if s.level == Synced {
		s.check(s.synced)
	}
	s.synced = s.written
	return nil
}

func (s *promised) Close() error { return nil }

// What a worker process is promised is true: when its flush returns, the sinks have
// done that much.
//
// Answering in heed, before the sinks are asked, lets this fail.
func TestWorkerFlush(t *testing.T) {
	for _, level := range []FlushLevel{Collected, Written, Synced} {
		t.Run(level.String(), func(t *testing.T) {
			note := counterFile(t, t.TempDir(), 0)
			s := &promised{returned: mapCounter(note), level: level}
			t.Cleanup(func() { unmapCounter(s.returned) }) // after the collector is closed
			c := newCollector(t, CollectorOptions{Sinks: []Sink{s}})
			if err := start(t, c, "flushes", "g", 0, fmt.Sprint(int(level)), note).wait(); err != nil {
				t.Fatal(err)
			}
			if n := atomic.LoadInt64(s.returned); n != 250 {
				t.Errorf("the worker was promised %d records, want 250", n)
			}
			if n := s.broken.Load(); n > 0 {
				t.Errorf("%d records were promised before they were %v", n, level)
			}
			checkAccount(t, c.Stats())
		})
	}
}

// A sink that fails is told to the worker that flushes; one that stands still ends
// the flush at its deadline; and a flush after that works.
func TestWorkerFlushErrors(t *testing.T) {
	s := &gatedSink{write: make(chan struct{}), sync: make(chan struct{})}
	close(s.sync)
	failing := &failingSink{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{s, With(failing, SinkOptions{Retry: -1})}})
	w, _ := onHeap(t, c, "g", 0)
	slog.New(w.Handler(nil)).Info("x")
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.FlushTo(short, Written); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "have not written") {
		t.Errorf("a sink that stands still: %v", err)
	}
	close(s.write)
	err := w.FlushTo(t.Context(), Written)
	if err == nil {
		// The first one's answer had the error.
		slog.New(w.Handler(nil)).Info("y")
		err = w.FlushTo(t.Context(), Written)
	}
	if err == nil || !strings.Contains(err.Error(), "a sink has failed, or this worker's log is damaged: see the node's own records") {
		t.Errorf("a sink that fails: %v", err)
	}
	failing.works.Store(true)
	for w.FlushTo(t.Context(), Synced) != nil { // what it had failed before may be told once more
	}
	if err := w.FlushTo(t.Context(), 9); err == nil || !strings.Contains(err.Error(), "choose") {
		t.Errorf("level 9: %v", err)
	}
	w.Close()
	if err := w.FlushTo(t.Context(), Synced); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A worker that broke the format is told that its flush cannot be, at once.
func TestFlushOfTheDamaged(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	w, r := onHeap(t, c, "g", 0)
	w.put(99<<1, make([]byte, headerSize), 0)
	flushAll(t, c)
	if r.err == nil {
		t.Fatal("the ring is not quarantined")
	}
	for range 3 {
		if err := w.FlushTo(t.Context(), Written); err == nil || !strings.Contains(err.Error(), "this worker's log is damaged") {
			t.Errorf("flush: %v", err)
		}
	}
}

type failingSink struct{ works atomic.Bool }

func (s *failingSink) Write([]Record) error {
	if !s.works.Load() {
		return errors.New("no")
	}
	return nil
}
func (s *failingSink) Sync() error  { return nil }
func (s *failingSink) Close() error { return nil }

// Several goroutines that flush at the same time all get their answer.
func TestWorkerFlushTogether(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	w, _ := onHeap(t, c, "g", 0)
	errs := make(chan error)
	for i := range 8 {
		go func() {
			slog.New(w.Handler(nil)).Info("x", "i", i)
			err := w.FlushTo(t.Context(), Written)
			if err == nil && !hasInt(k.all(), "i", i) {
				err = fmt.Errorf("record %d is not written", i)
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func hasInt(recs []Record, key string, want int) bool {
	for _, r := range recs {
		found := false
		r.Attrs(func(a slog.Attr) bool { found = found || a.Key == key && a.Value.Int64() == int64(want); return true })
		if found {
			return true
		}
	}
	return false
}

// ends ends in several ways, having something to say.
var _ = proctest.Helper("ends", func(args []string) {
	w := attached(args, 1)
	l := slog.New(w.Handler(&HandlerOptions{AddSource: true}))
	sampled := slog.New(w.Handler(&HandlerOptions{Sample: Sample{First: 1, Interval: time.Hour}}))
	for range 3 {
		sampled.Info("often")
	}
	switch args[0] {
	case "fatal":
		Fatal(l.With("who", "me"), "cannot go on", "why", "no\nreason")
	case "panic":
		defer LogPanic(l)
		panic(fmt.Errorf("oh no"))
	case "signal":
		defer w.FlushOnSignal(syscall.SIGTERM)()
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		select {}
	}
})

// However a process ends, who sees it end finds its last words in the file: also
// what was only to be told later.
func TestLastWords(t *testing.T) {
	for how, check := range map[string]func(t *testing.T, state *os.ProcessState, lines string){
		"fatal": func(t *testing.T, state *os.ProcessState, lines string) {
			if state.ExitCode() != 1 || !strings.Contains(lines, `"level":"ERROR+4"`) || !strings.Contains(lines, `"msg":"cannot go on"`) ||
				!strings.Contains(lines, `"who":"me"`) || !strings.Contains(lines, `"why":"no\nreason"`) || !strings.Contains(lines, "process_flush_test.go") {
				t.Errorf("exit code %d, log:\n%s", state.ExitCode(), lines)
			}
		},
		"panic": func(t *testing.T, state *os.ProcessState, lines string) {
			if state.ExitCode() != 2 || !strings.Contains(lines, `"panic":"oh no"`) || !strings.Contains(lines, `"stack":"goroutine`) {
				t.Errorf("exit code %d, log:\n%s", state.ExitCode(), lines)
			}
		},
		"signal": func(t *testing.T, state *os.ProcessState, lines string) {
			if s := state.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGTERM {
				t.Errorf("ended with %v, want by SIGTERM", state)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "run.jsonl")
			file, err := OpenJSON(path)
			if err != nil {
				t.Fatal(err)
			}
			c := newCollector(t, CollectorOptions{Sinks: []Sink{file}})
			s := start(t, c, "ends", "g", 0, how) // the panic shows on standard error
			var exit *exec.ExitError
			if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			// At once: nothing was drained for its death.
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := string(b)
			objects(t, lines)
			if !strings.Contains(lines, `"msg":"often"`) || !strings.Contains(lines, `"msg":"suppressed"`) || !strings.Contains(lines, `"dropped":2`) {
				t.Errorf("the file does not say what was suppressed:\n%s", lines)
			}
			check(t, s.cmd.ProcessState, lines)
			s.rung.Wait()
			s.lease.Close()
		})
	}
}
