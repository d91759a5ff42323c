package logring

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// A journal receives entries as journald does: a datagram, or a memfd that nobody
// can change any more.
type journal struct {
	*net.UnixConn
	t *testing.T
}

func listenJournal(t *testing.T, path string) *journal {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &journal{c, t}
}

func journalPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "journal") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "socket")
}

// entry receives one, and says whether it came by memfd.
func (j *journal) entry() (fields map[string]string, byFile bool) {
	j.t.Helper()
	b, oob := make([]byte, 1<<20), make([]byte, 1000)
	n, oobn, _, _, err := j.ReadMsgUnix(b, oob)
	if err != nil {
		j.t.Fatal(err)
	}
	b = b[:n]
	if oobn > 0 {
		msgs, _ := syscall.ParseSocketControlMessage(oob[:oobn])
		fds, err := syscall.ParseUnixRights(&msgs[0])
		if err != nil || len(fds) != 1 || n != 0 {
			j.t.Fatalf("%d descriptors and %d bytes, %v", len(fds), n, err)
		}
		f := os.NewFile(uintptr(fds[0]), "entry")
		defer f.Close()
		if _, err := f.Write([]byte("x")); err == nil {
			j.t.Error("the file can still be written")
		}
		if err := f.Truncate(0); err == nil {
			j.t.Error("the file can still be cut")
		}
		if b, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<30)); err != nil {
			j.t.Fatal(err)
		}
	}
	return j.parse(b), oobn > 0
}

func (j *journal) parse(b []byte) map[string]string {
	j.t.Helper()
	fields := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		name, value, short := bytes.Cut(line, []byte("="))
		if !ok || strings.Trim(string(name), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || len(name) == 0 || len(name) > 64 || name[0] <= '9' || name[0] == '_' {
			j.t.Fatalf("no field: %.200q", b)
		}
		if !short {
			n := le.Uint64(rest)
			value = rest[8 : 8+n]
			if rest[8+n] != '\n' {
				j.t.Fatalf("no newline after the value of %s", name)
			}
			rest = rest[9+n:]
		}
		if _, twice := fields[string(name)]; twice {
			j.t.Errorf("field %s twice", name)
		}
		fields[string(name)] = string(value)
		b = rest
	}
	return fields
}

// The native protocol, small and large, whatever the values hold.
func TestJournald(t *testing.T) {
	proctest.SkipIfEmulated(t, "descriptors over sockets")
	path := journalPath(t)
	j := listenJournal(t, path)
	s, err := Journald(JournaldOptions{Socket: path, Identifier: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(t, CollectorOptions{MaxRecord: 1 << 20, RingSize: 4 << 20, Sinks: []Sink{s}})
	w, _ := onHeap(t, c, "count", 3)
	l := slog.New(w.Handler(&HandlerOptions{AddSource: true}))
	value := "a=b\nMESSAGE=forged\n\x1b[31m\x00\xff"
	l.Warn("two\nlines", "v", value, slog.Group("http", "status", 404, "took", time.Second), "message", "mine", "1st", 1, "_pid", 2, "ü", 3, "priority", 0)
	c.Line("job", 0, 77, "stderr", []byte("captured"), false)
	l.Info(strings.Repeat("x", 900_000), "n", 1)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, byFile := j.entry()
	if byFile {
		t.Error("a small entry came by file")
	}
	when, err := time.Parse(time.RFC3339Nano, got["SHMKIT_TIME"])
	if err != nil || time.Since(when) > time.Hour || got["CODE_LINE"] == "" || !strings.HasSuffix(got["CODE_FILE"], "journald_test.go") || !strings.HasSuffix(got["CODE_FUNC"], "TestJournald") {
		t.Errorf("%v: %q", err, got)
	}
	for _, name := range []string{"SHMKIT_TIME", "CODE_LINE", "CODE_FILE", "CODE_FUNC", "SHMKIT_PID"} {
		delete(got, name)
	}
	want := map[string]string{"MESSAGE": "two\nlines", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "test", "SHMKIT_LEVEL": "WARN",
		"SHMKIT_GROUP": "count", "SHMKIT_WORKER": "3", "V": value, "HTTP_STATUS": "404", "HTTP_TOOK": "1s",
		"ATTR_MESSAGE": "mine", "ATTR_1ST": "1", "ATTR__PID": "2", "ATTR___": "3", "ATTR_PRIORITY": "0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, _ = j.entry(); got["MESSAGE"] != "captured" || got["SHMKIT_STREAM"] != "stderr" || got["SHMKIT_PID"] != "77" {
		t.Errorf("a captured line: %q", got)
	}
	if got, byFile = j.entry(); !byFile || len(got["MESSAGE"]) != 900_000 || got["N"] != "1" {
		t.Errorf("a large entry: by file %v, message of %d bytes", byFile, len(got["MESSAGE"]))
	}

	// journald restarts: what is logged meanwhile arrives at the new one.
	j.Close()
	l.Info("meanwhile")
	for c.Stats().Sinks[0].Errors == 0 { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	os.Remove(path)
	j = listenJournal(t, path)
	if got, _ = j.entry(); got["MESSAGE"] != "meanwhile" {
		t.Errorf("after the restart: %q", got)
	}
	c.Close(t.Context()) // while somebody listens
}

func TestJournaldErrors(t *testing.T) {
	path := journalPath(t)
	if _, err := Journald(JournaldOptions{Socket: path}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "does systemd-journald run here?") {
		t.Errorf("%v", err)
	}
}

// The real journal, where one runs that this user may read.
func TestRealJournald(t *testing.T) {
	s, err := Journald(JournaldOptions{Identifier: "shmkit-test"})
	if err != nil {
		t.Skip("needs systemd-journald:", err)
	}
	journalctl, err := exec.LookPath("journalctl")
	if err != nil {
		s.Close()
		t.Skip("needs journalctl")
	}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{s}})
	mark := fmt.Sprint("mark-", os.Getpid(), "-", time.Now().UnixNano())
	slog.New(c.Handler()).Info("hello", "mark", mark)
	flushAll(t, c)
	if out, err := exec.Command(journalctl, "--sync").CombinedOutput(); err != nil {
		t.Skipf("journalctl --sync: %v: %s", err, out)
	}
	out, err := exec.Command(journalctl, "-o", "json", "MARK="+mark).Output()
	if err != nil || len(out) == 0 {
		t.Skipf("this user cannot read the journal: %v", err)
	}
	if m := objects(t, string(out)); len(m) != 1 || m[0]["MESSAGE"] != "hello" || m[0]["SHMKIT_GROUP"] != NodeGroup {
		t.Errorf("%s", out)
	}
}
