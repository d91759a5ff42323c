package logring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/filelock"
	"shmkit/internal/proctest"
)

var _ = proctest.Helper("writefile", func(args []string) {
	s, err := OpenJSON(args[0])
	fmt.Println("opened", err)
	io.Copy(io.Discard, os.Stdin)
	_ = s
})

// Two nodes never write one file: the second is told who the first is, and can
// have the file when that one is gone, however it went.
func TestFileHasOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	cmd := proctest.Command(t, "writefile", path)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said string
	if fmt.Fscan(out, &said); said != "opened" {
		t.Fatalf("helper said %q", said)
	}
	_, err := OpenText(path)
	if !errors.Is(err, filelock.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) || !strings.Contains(err.Error(), path) {
		t.Errorf("second writer: %v", err)
	}
	if s, err := OpenFile(path, FileOptions{NoLock: true}); err != nil {
		t.Errorf("without the lock: %v", err)
	} else {
		s.Close()
	}
	cmd.Process.Kill()
	in.Close()
	cmd.Wait()
	s, err := OpenText(path)
	if err != nil {
		t.Fatalf("after its death: %v", err)
	}
	s.Close()
	if s, err = OpenText(path); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	s.Close()
}

// A renamed file is left at a whole line, the new one begins with one, and no
// record is lost or twice.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	s, err := OpenJSON(path)
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{With(s, SinkOptions{Name: "file"})}})
	l := slog.New(c.Handler())
	l.Info("a")
	if err := c.Reopen(t.Context()); err != nil { // nobody has renamed it
		t.Fatal(err)
	}
	l.Info("b")
	flushAll(t, c)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Info("c")
	flushAll(t, c)
	if err := c.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Info("d")
	flushAll(t, c)
	check := func(path, want string) {
		t.Helper()
		b, _ := os.ReadFile(path)
		got := ""
		for _, m := range objects(t, string(b)) {
			got += m["msg"].(string)
		}
		if got != want {
			t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
		}
	}
	check(path+".1", "abc")
	check(path, "d")

	// A place where the new file cannot be: the old one goes on, and the error
	// names the sink and the path.
	os.Rename(path, path+".2")
	os.Mkdir(path, 0o700)
	err = c.Reopen(t.Context())
	if err == nil || !strings.Contains(err.Error(), "sink file: reopen: ") || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "folder") {
		t.Errorf("reopen a folder: %v", err)
	}
	l.Info("e")
	c.Flush(t.Context())
	os.Remove(path)
	c.Flush(t.Context()) // tries again
	l.Info("f")
	flushAll(t, c)
	b, _ := os.ReadFile(path + ".2")
	if !strings.Contains(string(b), `"msg":"e"`) {
		t.Errorf("while it could not be reopened: %s", b)
	}
	b, _ = os.ReadFile(path)
	if !strings.Contains(string(b), `"msg":"f"`) {
		t.Errorf("afterwards: %s", b)
	}
	if s := c.Stats().Sinks[0]; sum(s.Dropped) != 0 {
		t.Errorf("%+v", s)
	}
}

// A line that is partly out when the file is opened anew stays behind, and is whole
// in the new file.
func TestReopenWithTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	to, err := openFile(path, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &lineSink{name: "file", format: &jsonFormat{}, to: to}
	defer s.Close()
	recs := numbered(t, 0, 1)
	line := jsonLine(recs[0])
	io.WriteString(to, line[:10])
	s.torn, s.tornOut = []byte(line), 10
	os.Rename(path, path+".1")
	to.f.Close() // so that the rest cannot be written
	s.Reopen()
	if err := s.Write(recs); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != line {
		t.Errorf("new file: %q", b)
	}
}

// In a process of its own, since os/signal keeps a goroutine for ever.
var _ = proctest.Helper("sighup", func(args []string) {
	path := args[0]
	s, err := OpenJSON(path)
	if err != nil {
		panic(err)
	}
	sinks := []Sink{With(s, SinkOptions{Name: "file"}), discardSink{}}
	stop := ReopenOn(sinks, syscall.SIGHUP)
	ReopenOn(sinks)() // no signal: nothing
	c, err := NewCollector(CollectorOptions{Sinks: sinks})
	if err != nil {
		panic(err)
	}
	l := slog.New(c.Handler())
	l.Info("a")
	c.Flush(context.Background())
	os.Rename(path, path+".1")
	syscall.Kill(os.Getpid(), syscall.SIGHUP)
	for {
		l.Info("b")
		if err := c.Flush(context.Background()); err != nil {
			panic(err)
		}
		if _, err := os.Stat(path); err == nil { // bounded by the test's deadline
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	stop()
	fmt.Println(c.Close(context.Background()))
})

func TestReopenOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	out, err := proctest.Command(t, "sighup", path).Output()
	if err != nil || string(out) != "<nil>\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestOpenFileErrors(t *testing.T) {
	dir := t.TempDir()
	for want, open := range map[string]func() (Sink, error){
		"create its folder first": func() (Sink, error) { return OpenJSON(filepath.Join(dir, "no", "x")) },
		"choose a path in it":     func() (Sink, error) { return OpenText(dir) },
		`unknown format "xml"`:    func() (Sink, error) { return OpenFile(filepath.Join(dir, "x"), FileOptions{Format: "xml"}) },
		"choose another path":     func() (Sink, error) { return OpenText(filepath.Join(dir, strings.Repeat("x", 300))) },
	} {
		if s, err := open(); err == nil {
			s.Close()
			t.Errorf("%s: opened", want)
		} else if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "logring: open log file") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v: want %s", err, want)
		}
	}
	if os.Geteuid() == 0 {
		t.Log("root may write everywhere: a read-only folder is left out")
		return
	}
	os.Chmod(dir, 0o500)
	if _, err := OpenJSON(filepath.Join(dir, "x")); err == nil || !strings.Contains(err.Error(), "that this user may write") {
		t.Errorf("read-only folder: %v", err)
	}
}

// A device that is always full: the error names sink and path, Close ends in time,
// and what was not written is counted.
func TestFullDevice(t *testing.T) {
	s, err := OpenText("/dev/full")
	if err != nil {
		t.Skip("needs /dev/full:", err)
	}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{With(s, SinkOptions{Retry: -1})}})
	slog.New(c.Handler()).Info("x")
	err = c.Flush(t.Context())
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "sink text:/dev/full: write /dev/full: no space left") {
		t.Errorf("Flush says %v", err)
	}
	c.Close(context.Background())
	if st := c.Stats().Sinks[0]; st.Written != 0 || st.Dropped[DropError] != st.accounted() {
		t.Errorf("%+v", st)
	}
}

// Lines of a batch go out in whole-line pieces where the destination takes only so
// much at once.
func TestLinesInPieces(t *testing.T) {
	recs := numbered(t, 0, 50)
	for _, max := range []int{0, 1, 200, 1000, 1 << 20} {
		f := &faulty{cut: true, fails: func(int) bool { return false }}
		s, err := Lines("x", JSONFormat, pieces{f, t, max}, max)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(recs); err != nil {
			t.Fatal(err)
		}
		if n := len(objects(t, f.out.String())); n != 50 {
			t.Errorf("at most %d bytes: %d lines", max, n)
		}
	}
	if _, err := Lines("x", "xml", &faulty{}, 0); err == nil || !strings.Contains(err.Error(), "sink x") {
		t.Error(err)
	}
}

type pieces struct {
	*faulty
	t   *testing.T
	max int
}

func (p pieces) Write(b []byte) (int, error) {
	if p.max > 0 && len(b) > p.max && strings.Count(string(b), "\n") > 1 || b[len(b)-1] != '\n' {
		p.t.Errorf("a write of %d bytes in pieces of %d: %q", len(b), p.max, b)
	}
	return p.faulty.Write(b)
}
