package recfile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shmkit/dataio/recfile"
)

// soon is how long a test waits for what must happen: it bounds a failing run only.
const soon = 20 * time.Second

// A write that hangs, or fails and is tried again, stalls the appends to its own file
// only: the same worker's appends to the other file are written meanwhile, and what waits
// for the stalled one ends with its context.
func TestFailsAlone(t *testing.T) {
	for _, fault := range []string{"hangs", "fails"} {
		t.Run(fault, func(t *testing.T) {
			stuck := make(chan struct{})
			release := sync.OnceFunc(func() { close(stuck) })
			defer release()
			d := newFaultyDisk(func(_ int, o op) error {
				if o.what != "write" || !strings.HasSuffix(o.path, "bad.partial") {
					return nil
				}
				if fault == "fails" {
					return syscall.EIO
				}
				<-stuck
				return nil
			})
			dir := t.TempDir()
			s, err := recfile.NewServerOn(d, map[string]recfile.Options{
				"bad":  {Path: filepath.Join(dir, "bad"), MaxRecord: 64, RingSize: 1024, Patience: time.Hour},
				"good": {Path: filepath.Join(dir, "good")},
			})
			if err != nil {
				t.Fatal(err)
			}
			c, lease := local(t, s)
			bad, good := c.File("bad"), c.File("good")

			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			tooShort := func(do func(context.Context) error) {
				t.Helper()
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
				var err error
				for err == nil {
					err = do(short)
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
			}
			one := func(ctx context.Context) error { return bad.AppendContext(ctx, []byte("0")) }
			tooShort(one) // the ring is full
			filled := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					err = bad.Append([]byte("0"))
				}
				filled <- err
			}()
			for i := range 1000 {
				if err := good.Append(record("0", i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := good.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			tooShort(one) // somebody else has the turn
			tooShort(bad.Flush)
			tooShort(c.Flush)

			s.Hurry() // the end of all patience
			release()
			if fault == "fails" {
				if err := <-filled; !errors.Is(err, recfile.ErrGivenUp) {
					t.Errorf("append to a file that was given up: %v", err)
				}
				if err := bad.Flush(ctx); !errors.Is(err, recfile.ErrLost) {
					t.Errorf("flush: %v", err)
				}
			} else {
				c.Close()
				if err := <-filled; !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
			}
			if err := lease.Close(); err != nil {
				t.Error(err)
			}
			if err := s.Close(); (err == nil) != (fault == "hangs") {
				t.Error(err)
			}
			check(t, filepath.Join(dir, "good"), "", map[string]int{"0": 1000})
		})
	}
}

// A worker that goes on appending to a file that was given up costs the node no memory,
// and each of its records is counted.
func TestGivenUpTakesNoMemory(t *testing.T) {
	d := newFaultyDisk(func(_ int, o op) error {
		if o.what == "write" {
			return syscall.ENOSPC
		}
		return nil
	})
	path := filepath.Join(t.TempDir(), "r")
	told := 0 // by the writer's goroutine, which has ended when it is read
	s, err := recfile.NewServerOn(d, map[string]recfile.Options{"r": {Path: path, Format: recfile.Frames, Patience: -1, OnError: func(error) { told++ }}})
	if err != nil {
		t.Fatal(err)
	}
	c, lease := local(t, s)
	f := c.File("r")
	f.Deafen()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 2000
	for range n { // 128 MiB
		if err := f.Append(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lease.Close(); err != nil {
		t.Error(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	if err := s.Close(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, recfile.ErrLost) {
		t.Error(err)
	}
	if st := s.Stats("r"); st != (recfile.Stats{Attempted: n, Lost: n}) {
		t.Errorf("%+v", st)
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// Each file is flushed to the disk in its own time.
func TestSyncOfEach(t *testing.T) {
	flushed := make(chan struct{}, 1)
	d := newFaultyDisk(func(_ int, o op) error {
		if o.what == "sync" && strings.HasSuffix(o.path, "b.partial") {
			select {
			case flushed <- struct{}{}:
			default:
			}
		}
		return nil
	})
	dir := t.TempDir()
	s, err := recfile.NewServerOn(d, map[string]recfile.Options{
		"a": {Path: filepath.Join(dir, "a"), Sync: time.Hour},
		"b": {Path: filepath.Join(dir, "b"), Sync: 5 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, lease := local(t, s)
	for _, name := range []string{"a", "b"} {
		if err := c.File(name).Append(nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-flushed:
	case <-time.After(soon):
		t.Error("b is not flushed: a, written before it, has an hour")
	}
	if n := d.count("sync", "a.partial"); n != 0 {
		t.Errorf("a was flushed %d times", n)
	}
	lease.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A flush to the disk that fails once, as Linux tells it, is the end of the file: it is
// never complete, and everybody hears of it.
func TestFailedFlush(t *testing.T) {
	failed := false
	d := newFaultyDisk(func(_ int, o op) error {
		if o.what == "sync" && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	})
	path := filepath.Join(t.TempDir(), "r")
	told := make(chan error, 10)
	s, err := recfile.NewServerOn(d, map[string]recfile.Options{"r": {Path: path, Sync: time.Millisecond, Patience: time.Hour, OnError: func(err error) { told <- err }}})
	if err != nil {
		t.Fatal(err)
	}
	c, lease := local(t, s)
	if err := c.File("r").Append(nil); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-told:
		if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), path) {
			t.Error(err)
		}
	case <-time.After(soon):
		t.Error("not told")
	}
	start := time.Now()
	for err = nil; err == nil && time.Since(start) < soon; { // from the next round on
		err = c.File("r").Append(nil)
	}
	if !errors.Is(err, recfile.ErrGivenUp) {
		t.Error(err)
	}
	if err := lease.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".partial"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file appears complete")
	}
	if n := d.count("sync", ""); n != 1 {
		t.Errorf("%d flushes: the second would succeed", n)
	}
}
