package recfile_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"shmkit/dataio/recfile"
	"shmkit/internal/proctest"
)

// The long versions.
var stress = os.Getenv("SHMKIT_STRESS") != ""

func TestMain(m *testing.M) { proctest.Main(m) }

func die(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// serve opens files in a folder and closes what a test leaves open.
func serve(t testing.TB, files map[string]recfile.Options) *recfile.Server {
	t.Helper()
	s, err := recfile.NewServer(files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abandon() })
	return s
}

// quick is serve on a disk that flushes nothing, for tests with many servers.
func quick(t testing.TB, files map[string]recfile.Options) *recfile.Server {
	t.Helper()
	s, err := recfile.NewServerOn(newFaultyDisk(func(int, op) error { return nil }), files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abandon() })
	return s
}

// messenger is what a lease is besides a Closer.
type messenger interface {
	Message([]byte, []*os.File)
	Close() error
}

// local gives a worker's side in this process.
func local(t testing.TB, s *recfile.Server) (*recfile.Client, messenger) {
	t.Helper()
	files, words, lease, err := s.Donate("w", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	m := lease.(messenger)
	c, err := recfile.Attach(files, words, func() error { m.Message(nil, nil); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, m
}

// process starts a helper as a worker: descriptor 3 is its ring, 4 its doorbell, a pipe.
func process(t testing.TB, s *recfile.Server, helper string, args ...string) (*exec.Cmd, messenger) {
	t.Helper()
	var cmd *exec.Cmd
	m := processWith(t, s, func(c *exec.Cmd) { cmd = c }, helper, args...)
	return cmd, m
}

// processWith is process that lets the caller see the command before it is started.
func processWith(t testing.TB, s *recfile.Server, before func(*exec.Cmd), helper string, args ...string) messenger {
	t.Helper()
	files, words, lease, err := s.Donate("w", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(t, helper, append(args, words...)...)
	cmd.ExtraFiles = []*os.File{files[0], w}
	before(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	w.Close()
	m := lease.(messenger)
	go func() {
		defer r.Close()
		var b [64]byte
		for {
			if n, err := r.Read(b[:]); n == 0 || err != nil {
				return
			}
			m.Message(nil, nil)
		}
	}()
	return m
}

func attached(words []string) *recfile.Client {
	bell := os.NewFile(4, "bell")
	c, err := recfile.Attach([]*os.File{os.NewFile(3, "ring")}, words, func() error { _, err := bell.Write([]byte{1}); return err })
	if err != nil {
		die(err)
	}
	return c
}

var _ = proctest.Helper("appender", func(args []string) {
	n, _ := strconv.Atoi(args[1])
	c := attached(args[2:])
	f := c.File("results.csv")
	for i := range n {
		if err := f.Append(record(args[0], i)); err != nil {
			die(err)
		}
		if n == endless {
			fmt.Println(i) // it has returned
		}
	}
	c.Close()
})

const endless = 1 << 40

// record is what worker rank appends as its i-th: it tells a torn or mixed one.
func record(rank string, i int) []byte {
	b := fmt.Appendf(make([]byte, 0, 96), "%s,%d,", rank, i)
	for k := range i % 50 {
		b = append(b, 'a'+byte((i+k)%26))
	}
	return fmt.Appendf(b, ",%d", i*7)
}

// check reads a file of lines and holds it against what the workers appended. want is
// how many records each has appended at least.
func check(t testing.TB, path, header string, want map[string]int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	next := map[string]int{}
	in := bufio.NewReader(f)
	for line := 0; ; line++ {
		rec, err := in.ReadBytes('\n')
		if err == io.EOF && len(rec) == 0 {
			break
		} else if err != nil {
			t.Fatalf("%s:%d: torn %q", path, line+1, rec)
		}
		rec = rec[:len(rec)-1]
		if header != "" && line == 0 {
			if string(rec) != header {
				t.Fatalf("the header is %q", rec)
			}
			continue
		}
		rank, _, _ := strings.Cut(string(rec), ",")
		if i := next[rank]; !bytes.Equal(rec, record(rank, i)) {
			t.Fatalf("%s:%d: %q, want record %d of worker %s: %q", path, line+1, rec, i, rank, record(rank, i))
		}
		next[rank]++
	}
	for rank, n := range want {
		if next[rank] < n {
			t.Errorf("worker %s: %d records, want %d", rank, next[rank], n)
		}
		delete(next, rank)
	}
	if len(next) > 0 {
		t.Errorf("records of strangers: %v", next)
	}
}
