//go:build linux

package logring

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shmkit/shm"
)

// A worker's file in the crash directory is cut off, by whoever may write to it: that
// worker is quarantined, told once, and nothing else happens. Shown to fail: without
// the guard in touch the process dies of SIGBUS.
func TestTruncatedSegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crash")
	k := &keeper{}
	c := newCollector(t, CollectorOptions{CrashDir: dir, RingSize: 64 << 10, MaxRecord: 4 << 10, Backtrace: &Backtrace{}, Sinks: []Sink{k}})
	var leases []*inlet
	var logs []*slog.Logger
	for rank := range 2 {
		files, words, lease, err := c.Donate("g", rank, 2)
		if err != nil {
			t.Fatal(err)
		}
		r := lease.(*inlet)
		r.Started(100+rank, nil)
		w, err := Attach(files, words, func() error { r.Message(nil, nil); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if rank == 1 {
			defer w.Close() // the first one's memory is gone
		}
		leases, logs = append(leases, r), append(logs, slog.New(w.Handler(nil)))
	}
	for i := range 10 {
		logs[0].Info("before", "i", i)
		logs[1].Info("before", "i", i)
	}
	flushAll(t, c)

	files, err := filepath.Glob(filepath.Join(dir, crashPrefix+"*-0-g*"))
	if err != nil || len(files) != 1 {
		entries, _ := os.ReadDir(dir)
		t.Fatalf("files of worker 0: %q, %v; there are %v", files, err, entries)
	}
	if err := os.Truncate(files[0], 0); err != nil {
		t.Fatal(err)
	}
	// Everything that looks at the memory, from all sides.
	c.Stats()
	c.SetLevel(slog.LevelDebug)
	leases[0].Message(nil, nil)
	logs[1].Info("after")
	flushAll(t, c)
	told := 0
	for _, r := range k.all() {
		if r.Message == "log ring quarantined" {
			told++
			var text string
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "error" {
					text = a.Value.String()
				}
				return true
			})
			if !strings.Contains(text, "ring of g/0") || !strings.Contains(text, "restart that worker") {
				t.Errorf("told: %q", text)
			}
		}
	}
	var corrupt *CorruptError
	var fault *shm.FaultError
	if err := leases[0].err; told != 1 || !errors.As(err, &corrupt) || !errors.As(err, &fault) {
		t.Errorf("told %d times; the error is %v", told, err)
	}
	logs[1].Info("still there")
	flushAll(t, c)
	for _, r := range leases {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	after := 0
	for _, r := range k.all() {
		if r.Worker == 1 && (r.Message == "after" || r.Message == "still there") {
			after++
		}
	}
	if after != 2 {
		t.Errorf("%d records of the other worker after it, want 2", after)
	}
	s := c.Stats()
	if s.Pending != 0 || s.Attempted != s.Delivered+sum(s.Dropped) || s.Quarantined != 1 {
		t.Errorf("the account: %+v", s)
	}
}
