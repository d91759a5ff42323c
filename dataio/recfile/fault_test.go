package recfile_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"shmkit/dataio/recfile"
	"shmkit/internal/proctest"
)

var _ = proctest.Helper("full-disk", func(args []string) {
	// The kernel refuses to let a file grow beyond this, as a full disk does.
	var told int
	s, err := recfile.NewServer(map[string]recfile.Options{"r": {Path: args[0], Patience: -1, OnError: func(error) { told++ }}})
	if err != nil {
		die(err)
	}
	files, words, lease, err := s.Donate("w", 0, 1)
	if err != nil {
		die(err)
	}
	m := lease.(messenger)
	c, err := recfile.Attach(files, words, func() error { m.Message(nil, nil); return nil })
	if err != nil {
		die(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: 1000}); err != nil {
		die(err)
	}
	appended := 0
	for i := range 200 {
		if err := c.File("r").Append(record("0", i)); errors.Is(err, recfile.ErrGivenUp) {
			break
		} else if err != nil {
			die(err)
		}
		appended++
		if i < 20 {
			c.Flush(context.Background())
		}
	}
	m.Close()
	err = s.Close()
	st := s.Stats("r")
	fmt.Println(appended, st.Attempted, st.Written, st.Lost, told, err)
})

// A disk that is full costs records, which are counted and told, and never leaves half a
// one.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	out, err := proctest.Command(t, "full-disk", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var appended, attempted, written, lost, told int
	fmt.Sscan(string(out), &appended, &attempted, &written, &lost, &told)
	if attempted != appended || written < 20 || lost == 0 || attempted != written+lost || told == 0 ||
		!strings.Contains(string(out), path) || !strings.Contains(string(out), "go on with Resume") {
		t.Errorf("%s", out)
	}
	check(t, path+".partial", "", map[string]int{"0": written})
}

// The n-th operation on the disk fails, for every n, once or from then on: at any time
// and at the end attempted = written + refused + lost, what is written is in the files,
// of each worker a beginning without gaps, and nothing torn; a file under its final name
// is whole and was flushed; an error says which file it is.
//
// Planted, and found by it: a failed flush that is forgotten; a failed write that is
// not cut back; a part that is opened again under the number it had.
func TestEveryOperationFails(t *testing.T) {
	for _, format := range []recfile.Format{recfile.Lines, recfile.Frames} {
		for _, sync := range []time.Duration{0, -1} {
			for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
				for _, ever := range []bool{false, true} {
					if !stress && (format == recfile.Lines) != (cause == syscall.ENOSPC) {
						continue
					}
					name := fmt.Sprintf("format %d, sync %d, %v, for ever %v", format, sync, cause, ever)
					t.Run(name, func(t *testing.T) {
						n := 1
						for faultAt(t, n, format, sync, cause, ever) {
							n++
						}
						if n < 20 {
							t.Errorf("only %d operations were there to fail", n-1)
						}
					})
				}
			}
		}
	}
}

// faultAt runs a small job with a fault at the n-th operation. It returns false when the
// job had fewer.
func faultAt(t *testing.T, n int, format recfile.Format, sync time.Duration, cause error, ever bool) (hit bool) {
	d := newFaultyDisk(func(i int, _ op) error {
		if i == n || ever && i > n {
			return cause
		}
		return nil
	})
	path := filepath.Join(t.TempDir(), "r.csv")
	patience := 10 * time.Second
	if ever {
		patience = 3 * time.Millisecond
	}
	const workers, each = 2, 15
	s, err := recfile.NewServerOn(d, map[string]recfile.Options{"r": {
		Path: path, Format: format, Header: []byte("header"), MaxBytes: 200, Sync: sync,
		Patience: patience, MaxRecord: 256, RingSize: 1024,
	}})
	fail := func(f string, args ...any) {
		t.Helper()
		failed, _ := d.first()
		t.Errorf("fault at operation %d, %v: %s", n, failed, fmt.Sprintf(f, args...))
	}
	if err != nil {
		if !strings.Contains(err.Error(), path) {
			fail("the error does not name the file: %v", err)
		}
		if left, _ := filepath.Glob(path + "*"); len(left) > 0 && !ever {
			fail("left: %v", left)
		}
		_, hit = d.first()
		return hit
	}
	appended := 0
	var leases []messenger
	var clients []*recfile.Client
	for range workers {
		c, lease := local(t, s)
		leases, clients = append(leases, lease), append(clients, c)
	}
	for i := range each {
		for rank, c := range clients {
			if err := c.File("r").Append(record(strconv.Itoa(rank), i)); err == nil {
				appended++
			} else if _, hit := d.first(); !errors.Is(err, recfile.ErrGivenUp) || !hit {
				fail("append: %v", err)
			}
			if i%3 == 0 {
				if err := c.Flush(t.Context()); err != nil && !errors.Is(err, recfile.ErrLost) && !errors.Is(err, recfile.ErrGivenUp) {
					fail("flush: %v", err)
				}
				if st := s.Stats("r"); st.Attempted != st.Written+st.Refused+st.Lost {
					fail("%+v", st)
				}
			}
		}
	}
	for _, lease := range leases {
		if err := lease.Close(); err != nil {
			fail("lease: %v", err)
		}
	}
	err = s.Close()
	failed, hit := d.first()
	st := s.Stats("r")
	if st.Attempted != uint64(appended) || st.Refused != 0 || st.Written+st.Lost != st.Attempted {
		fail("%d appended, %+v", appended, st)
	}
	flushed := failed.what != "sync" && failed.what != "folder"
	switch {
	case err == nil && (ever && hit && failed.what != "remove" || st.Lost > 0 || hit && !flushed):
		fail("no error, %+v", st)
	case err != nil && !ever && flushed:
		fail("not got over: %v", err)
	case err != nil && !strings.Contains(err.Error(), path):
		fail("the error does not name the file: %v", err)
	}
	// When nothing can be cut back, more may be in the file than is said to be.
	cut := !ever || failed.what != "truncate" && failed.what != "write" && failed.what != "sync"
	l := readFiles(t, path, format, workers)
	inFiles := 0
	for _, n := range l.next {
		inFiles += n
	}
	switch {
	case cut && l.rest > 0:
		fail("there are %d bytes behind the last whole record", l.rest)
	case inFiles < int(st.Written) || cut && inFiles > int(st.Written):
		fail("%d records are in the files, %+v", inFiles, st)
	case err == nil && l.unfinished && failed.what != "remove":
		fail("there is an unfinished file")
	}
	return hit
}
