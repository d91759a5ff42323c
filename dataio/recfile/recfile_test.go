package recfile_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"shmkit/dataio/recfile"
	"shmkit/internal/proctest"
)

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
	return cmd, m
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

// 8 workers append at the same time: all records are there, whole, each worker's in
// order, below one header.
func TestManyWorkers(t *testing.T) {
	n := 100_000 / 8
	if os.Getenv("SHMKIT_STRESS") != "" {
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
		files, words, lease, err := s.Donate("w", rank, 4)
		if err != nil {
			t.Fatal(err)
		}
		m := lease.(messenger)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := proctest.Command(t, "appender", append([]string{strconv.Itoa(rank), strconv.Itoa(endless)}, words...)...)
		cmd.ExtraFiles = []*os.File{files[0], w}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		files[0].Close()
		w.Close()
		go func() {
			defer r.Close()
			for b := make([]byte, 1); ; m.Message(nil, nil) {
				if _, err := r.Read(b); err != nil {
					return
				}
			}
		}()
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

var _ = proctest.Helper("doomed-node", func(args []string) {
	s, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {Path: args[0], Header: []byte("h"), Resume: true}})
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
	first, _ := strconv.Atoi(args[1])
	for i := first; ; i++ {
		if err := c.File("results.csv").Append(record("0", i)); err != nil {
			die(err)
		}
		if i%100 == 0 {
			c.Flush(context.Background())
			fmt.Println(i)
		}
	}
})

// What a killed node left is gone on with: the torn end, put there by hand, is cut off,
// and nothing that was written is lost or there twice.
func TestResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.csv")
	next := 0
	for round := range 3 {
		cmd := proctest.Command(t, "doomed-node", path, strconv.Itoa(next))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		flushed := 0
		for in.Scan() {
			if flushed, _ = strconv.Atoi(in.Text()); flushed >= next+2000 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		b, err := os.ReadFile(path + ".partial")
		if err != nil {
			t.Fatal(err)
		}
		if next = bytes.Count(b, []byte("\n")) - 1; next <= flushed {
			t.Fatalf("round %d: %d records, %d were flushed", round, next, flushed)
		}
		f, err := os.OpenFile(path+".partial", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("0,99999,torn")
		f.Close()
	}
	if _, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {Path: path}}); !errors.Is(err, recfile.ErrUnfinished) || !strings.Contains(err.Error(), "set Resume") {
		t.Errorf("without Resume: %v", err)
	}
	s := serve(t, map[string]recfile.Options{"results.csv": {Path: path, Header: []byte("h"), Resume: true}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, path, "h", map[string]int{"0": next})
}

// Frames hold any bytes, and a damaged one ends the valid beginning.
func TestFrames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.bin")
	o := recfile.Options{Path: path, Format: recfile.Frames, MaxRecord: 3 << 20}
	s := serve(t, map[string]recfile.Options{"r": o})
	c, lease := local(t, s)
	var want [][]byte
	for _, n := range []int{0, 1, 100, 70_000, 3 << 20} {
		rec := bytes.Repeat([]byte{'\n', 0, byte(n)}, n/3+1)[:n]
		want = append(want, rec)
		if err := c.File("r").Append(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := lease.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	read := func(path string) (got [][]byte, err error) {
		f, openErr := os.Open(path)
		if openErr != nil {
			t.Fatal(openErr)
		}
		defer f.Close()
		for rec, e := range recfile.Records(f) {
			if err = e; err == nil {
				got = append(got, bytes.Clone(rec))
			}
		}
		return got, err
	}
	same := func(got [][]byte, n int) {
		t.Helper()
		if len(got) != n {
			t.Fatalf("%d records, want %d", len(got), n)
		}
		for i, rec := range got {
			if !bytes.Equal(rec, want[i]) {
				t.Errorf("record %d of %d bytes differs", i, len(want[i]))
			}
		}
	}
	got, err := read(path + ".partial")
	if same(got, 5); err != nil {
		t.Error(err)
	}
	// A flipped bit in the fourth record: three are valid.
	b, err := os.ReadFile(path + ".partial")
	if err != nil {
		t.Fatal(err)
	}
	b[8+9+8+108+50] ^= 1
	if err := os.WriteFile(path+".partial", b, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err = read(path + ".partial")
	if same(got, 3); err != recfile.ErrTorn {
		t.Error(err)
	}
	o.Resume = true
	s = serve(t, map[string]recfile.Options{"r": o})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err = read(path)
	if same(got, 3); err != nil {
		t.Error(err)
	}
}

// With MaxBytes there are several files, each with its header, each complete under its
// name, and no record is torn between two.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.csv")
	s := serve(t, map[string]recfile.Options{"results.csv": {Path: path, Header: []byte("h"), MaxBytes: 2000}})
	c, lease := local(t, s)
	const n = 500
	for i := range n {
		if err := c.File("results.csv").Append(record("0", i)); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	lease.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	parts, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "results.*.csv"))
	if len(parts) < 4 {
		t.Fatalf("parts: %v", parts)
	}
	whole := filepath.Join(filepath.Dir(path), "whole")
	var all []byte
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil || !bytes.HasPrefix(b, []byte("h\n")) || !bytes.HasSuffix(b, []byte("\n")) {
			t.Fatalf("%s: %q… %v", p, b[:min(len(b), 20)], err)
		}
		all = append(all, b[2:]...)
	}
	if err := os.WriteFile(whole, all, 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, whole, "", map[string]int{"0": n})
}

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
	for i := range 200 {
		if err := c.File("r").Append(record("0", i)); err != nil {
			die(err)
		}
		if i < 20 {
			c.Flush(context.Background())
		}
	}
	m.Close()
	err = s.Close()
	st := s.Stats("r")
	fmt.Println(st.Attempted, st.Written, st.Lost, told, err)
})

// A disk that is full costs records, which are counted and told, and never leaves half a
// one.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	out, err := proctest.Command(t, "full-disk", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var attempted, written, lost, told int
	fmt.Sscan(string(out), &attempted, &written, &lost, &told)
	if attempted != 200 || written < 20 || lost == 0 || attempted != written+lost || told == 0 ||
		!strings.Contains(string(out), path) || !strings.Contains(string(out), "go on with Resume") {
		t.Errorf("%s", out)
	}
	check(t, path+".partial", "", map[string]int{"0": written})
}

func TestBadUse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.csv")
	says := func(err error, is error, texts ...string) {
		t.Helper()
		if err == nil || is != nil && !errors.Is(err, is) {
			t.Errorf("%v, want %v", err, is)
			return
		}
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v\nlacks %q", err, text)
			}
		}
	}
	open := func(o recfile.Options) error {
		_, err := recfile.NewServer(map[string]recfile.Options{"r.csv": o})
		return err
	}
	s := serve(t, map[string]recfile.Options{"r.csv": {Path: path, MaxRecord: 100}})
	c, lease := local(t, s)
	says(c.File("r.cvs").Append(nil), nil, `"r.cvs"`, "unknown file", "the node has: r.csv")
	says(c.File("r.csv").Append([]byte("a\nb")), recfile.ErrNewline, `"r.csv"`, "Frames")
	says(c.File("r.csv").Append(make([]byte, 101)), recfile.ErrTooLarge, "101 bytes, at most 100", "Options.MaxRecord")
	if n, err := fmt.Fprintln(c.File("r.csv"), "one", "line"); n != 9 || err != nil {
		t.Error(n, err)
	}
	says(open(recfile.Options{Path: path, Resume: true}), nil, "another node writes it", "choose a folder")
	lease.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Donate("w", 0, 1); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	says(open(recfile.Options{Path: path}), fs.ErrExist, "set Replace")
	says(open(recfile.Options{Path: filepath.Join(dir, "no", "r.csv")}), fs.ErrNotExist, "choose a folder")
	says(open(recfile.Options{Path: path, Header: []byte("a\nb")}), recfile.ErrNewline, "header")
	if _, err := recfile.NewServer(map[string]recfile.Options{"a b": {}}); err == nil || !strings.Contains(err.Error(), "Options.Path") {
		t.Error(err)
	}
	if _, err := recfile.Attach(nil, nil, nil); err == nil || !strings.Contains(err.Error(), "restart the run") {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
