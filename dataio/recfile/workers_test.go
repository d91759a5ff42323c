package recfile_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"shmkit/dataio/recfile"
	"shmkit/ring"
)

// 8 workers append at the same time: all records are there, whole, each worker's in
// order, below one header.
func TestManyWorkers(t *testing.T) {
	n := 100_000 / 8
	if stress {
		n = 10_000_000 / 8
	}
	path := filepath.Join(t.TempDir(), "results.csv")
	s := serve(t, map[string]recfile.Options{"results.csv": {Path: path, Header: []byte("rank,i,text,check")}})
	want := map[string]int{}
	var cmds []*exec.Cmd
	var leases []messenger
	for rank := range 8 {
		cmd, lease := process(t, s, "appender", strconv.Itoa(rank), strconv.Itoa(n))
		cmds, leases = append(cmds, cmd), append(leases, lease)
		want[strconv.Itoa(rank)] = n
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if err := leases[i].Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there before it is complete: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	check(t, path, "rank,i,text,check", want)
	if st := s.Stats("results.csv"); st != (recfile.Stats{Attempted: uint64(8 * n), Written: uint64(8 * n)}) {
		t.Errorf("%+v", st)
	}
}

// A worker that is killed has every record in the file whose Append returned.
func TestWorkerKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.csv")
	s := serve(t, map[string]recfile.Options{"results.csv": {Path: path}})
	want := map[string]int{}
	for rank := range 4 {
		var out io.Reader
		var cmd *exec.Cmd
		m := processWith(t, s, func(c *exec.Cmd) {
			cmd = c
			var err error
			if out, err = c.StdoutPipe(); err != nil {
				t.Fatal(err)
			}
		}, "appender", strconv.Itoa(rank), strconv.Itoa(endless))
		last := -1
		in := bufio.NewScanner(out)
		for in.Scan() {
			last, _ = strconv.Atoi(in.Text())
			if last == 500*(rank+1) {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		want[strconv.Itoa(rank)] = last + 1
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, path, "", want)
}

// A worker that breaks the rules loses its ring, and everybody hears of it; the others
// go on.
func TestQuarantine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	told := make(chan error, 10)
	s := serve(t, map[string]recfile.Options{"r": {Path: path, OnError: func(err error) { told <- err }}})
	bad, badLease := local(t, s)
	good, goodLease := local(t, s)
	binary.LittleEndian.PutUint64(bad.Region()[4096:], 7) // a tail that can be none
	err := badLease.Close()
	var corrupt *ring.CorruptError
	if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "its ring is given up, no other") {
		t.Error(err)
	}
	if got := <-told; !errors.As(got, &corrupt) {
		t.Error(got)
	}
	if err := good.File("r").Append(record("0", 0)); err != nil {
		t.Error(err)
	}
	if err := goodLease.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	check(t, path, "", map[string]int{"0": 1})
}
