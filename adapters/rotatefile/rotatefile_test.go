package rotatefile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"shmkit"
	"shmkit/internal/filelock"
	"shmkit/logring"
)

func TestMain(m *testing.M) {
	shmkit.Main()
	os.Exit(m.Run())
}

const perWorker = 6000

var _ = shmkit.Func("chatter", func(ctx context.Context, w *shmkit.Worker) error {
	for i := range perWorker {
		w.Log.Info("hello", "i", i, "pad", strings.Repeat("x", 100))
	}
	return nil
})

// all reads the old files and the one that is written now.
func all(t *testing.T, path string) (lines []map[string]any, files []string) {
	t.Helper()
	old, err := Old(path)
	if err != nil {
		t.Fatal(err)
	}
	files = append(old, path)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = bytes.NewReader(b)
		switch filepath.Ext(name) {
		case ".gz":
			r, err = gzip.NewReader(r)
		case ".zst":
			r, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		}
		if err != nil {
			t.Fatal(err)
		}
		s := bufio.NewScanner(r)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			var m map[string]any
			if err := json.Unmarshal(s.Bytes(), &m); err != nil {
				t.Fatalf("%s: %q: %v", filepath.Base(name), s.Text(), err)
			}
			lines = append(lines, m)
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return lines, files
}

// Four worker processes log into one rotated file: every record is in one of its
// files, once and whole, in the order of its worker.
func TestManyProcesses(t *testing.T) {
	for _, compress := range []string{"", "gzip", "zstd"} {
		path := filepath.Join(t.TempDir(), "run.jsonl")
		sink, err := Open(path, Options{Megabytes: 1, Compress: compress})
		if err != nil {
			t.Fatal(err)
		}
		node, err := shmkit.Start(t.Context(), shmkit.Options{Name: "rotate-test-" + compress, Dir: t.TempDir(), Sinks: []logring.Sink{sink}})
		if err != nil {
			t.Fatal(err)
		}
		group, err := node.Start(shmkit.Spec{Func: "chatter", Workers: 4})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(group.Wait(), node.Close()); err != nil {
			t.Fatal(err)
		}
		lines, files := all(t, path)
		next := map[any]float64{}
		for _, m := range lines {
			if m["group"] == "node" {
				continue
			}
			if m["i"] != next[m["worker"]] {
				t.Fatalf("worker %v: record %v, want %v", m["worker"], m["i"], next[m["worker"]])
			}
			next[m["worker"]]++
		}
		for w, n := range next {
			if n != perWorker {
				t.Errorf("worker %v: %v records", w, n)
			}
		}
		if len(next) != 4 || len(files) < 4 {
			t.Errorf("%d workers in %d files", len(next), len(files))
		}
		for _, name := range files {
			if st, _ := os.Stat(name); st.Size() > 1<<20 {
				t.Errorf("%s has %d bytes", name, st.Size())
			}
			if ext := map[string]string{"": ".jsonl", "gzip": ".gz", "zstd": ".zst"}[compress]; name != path && filepath.Ext(name) != ext {
				t.Errorf("%s is not compressed with %s", name, compress)
			}
		}
		if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// records returns a collector with the sink, and its log.
func records(t *testing.T, path string, o Options) (*logring.Collector, *slog.Logger) {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{s}, MaxRecord: 4 << 20, RingSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c, slog.New(c.Handler())
}

func flush(t *testing.T, c *logring.Collector) {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// By count, by total size and by time the oldest go; the newest stay.
func TestLimits(t *testing.T) {
	big := strings.Repeat("x", 300_000)
	for name, c := range map[string]struct {
		o    Options
		most int
	}{
		"count": {Options{Megabytes: 1, Keep: 2}, 2},
		"total": {Options{Megabytes: 1, KeepTotal: 2_500_000}, 2},
	} {
		path := filepath.Join(t.TempDir(), "run.jsonl")
		col, l := records(t, path, c.o)
		for i := range 40 {
			l.Info(big, "i", i)
			flush(t, col)
		}
		if err := col.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		old, err := Old(path)
		if err != nil || len(old) > c.most || len(old) == 0 {
			t.Errorf("%s: %d old files, %v", name, len(old), err)
		}
		lines, _ := all(t, path)
		for i, m := range lines {
			if m["i"] != float64(40-len(lines)+i) {
				t.Fatalf("%s: line %d of %d is record %v", name, i, len(lines), m["i"])
			}
		}
	}
	path := filepath.Join(t.TempDir(), "run.jsonl")
	c, l := records(t, path, Options{Every: time.Nanosecond})
	for range 3 {
		l.Info("x")
		flush(t, c)
	}
	if old, _ := Old(path); len(old) != 2 && len(old) != 3 {
		t.Errorf("by time: %v", old)
	}
}

// A record larger than a file is not lost, nor are those around it.
func TestLargeRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	c, l := records(t, path, Options{Megabytes: 1})
	l.Info("before")
	l.Info(strings.Repeat("\x00", 500_000)) // six bytes each, as JSON
	l.Info("after")
	flush(t, c)
	lines, files := all(t, path)
	if len(lines) != 3 || lines[0]["msg"] != "before" || len(lines[1]["msg"].(string)) != 500_000 || lines[2]["msg"] != "after" || len(files) != 3 {
		t.Errorf("%d lines in %v", len(lines), files)
	}
}

// Reopen begins a new file.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	c, l := records(t, path, Options{})
	l.Info("a")
	flush(t, c)
	if err := c.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Info("b")
	flush(t, c)
	if lines, files := all(t, path); len(lines) != 2 || len(files) != 2 {
		t.Errorf("%d lines in %v", len(lines), files)
	}
}

// A torn writer writes half of what it is given, once.
type torn struct {
	rotator
	err error
}

func (w *torn) Write(b []byte) (int, error) {
	if w.err == nil {
		return w.rotator.Write(b)
	}
	err := w.err
	w.err = nil
	n, _ := w.rotator.Write(b[:len(b)/2])
	return n, err
}

// A write that comes out short leaves no half line, although a rotation follows.
func TestShortWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	target := &target{path: path, o: Options{Every: time.Nanosecond}}
	if err := target.open(); err != nil {
		t.Fatal(err)
	}
	target.log = &torn{target.log, syscall.ENOSPC}
	s, err := logring.Lines("x", "", target, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{s}})
	if err != nil {
		t.Fatal(err)
	}
	l := slog.New(c.Handler())
	for i := range 10 {
		l.Info("x", "i", i)
	}
	if err := c.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("Flush says %v", err)
	}
	c.Close(t.Context())
	n := 0
	lines, _ := all(t, path)
	for _, m := range lines {
		if m["msg"] == "x" {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d lines", n)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.jsonl")
	os.WriteFile(path, []byte("{\"a\":1}\n{\"half"), 0o600)
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, filelock.ErrLocked) || !strings.Contains(err.Error(), "process") {
		t.Errorf("a second writer: %v", err)
	}
	s.Close()
	if b, _ := os.ReadFile(path); !strings.HasSuffix(string(b), "half\n") {
		t.Errorf("a half line stays: %q", b)
	}
	for want, open := range map[string]func() (logring.Sink, error){
		"create its folder first":   func() (logring.Sink, error) { return Open(filepath.Join(dir, "no", "x"), Options{}) },
		"is a directory":            func() (logring.Sink, error) { return Open(dir, Options{}) },
		"not a regular file":        func() (logring.Sink, error) { return Open(os.DevNull, Options{}) },
		`compression "xz"`:          func() (logring.Sink, error) { return Open(path, Options{Compress: "xz"}) },
		`time of day "25:00"`:       func() (logring.Sink, error) { return Open(path, Options{At: []string{"25:00"}}) },
		"a limit is negative":       func() (logring.Sink, error) { return Open(path, Options{Keep: -1}) },
		`unknown format "xml": use`: func() (logring.Sink, error) { return Open(path, Options{Format: "xml"}) },
	} {
		s, err := open()
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.lock")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
