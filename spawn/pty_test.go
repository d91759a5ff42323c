//go:build linux

package spawn

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A worker with a pseudo-terminal sees one, and every line of it arrives, the last
// unterminated one of a killed worker included.
func TestPty(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	before := openFDs(t)
	spec := shell(2, `[ -t 1 ] && [ -t 2 ] && echo terminal; tty <&1 >/dev/null && echo controlled; stty size <&1; seq 1 5000; echo err >&2; printf last; kill -9 $$`)
	spec.Pty = true
	g := start(t, s, spec)
	g.Wait()
	for _, x := range g.Exits() {
		if x.Signal != syscall.SIGKILL || len(x.Stderr) == 0 || x.Stderr[len(x.Stderr)-1] != "last" {
			t.Errorf("%s", x)
		}
		got := rec.get(fmt.Sprintf("sh/%d/stdout", x.Rank))
		if len(got) != 5005 || !slices.Equal(got[:4], []string{"terminal", "controlled", "24 80", "1"}) || got[5002] != "5000" || got[5003] != "err" || got[5004] != "last" {
			t.Errorf("%d lines: %.80q", len(got), got)
		}
	}
	eventually(t, "as many descriptors as before", func() bool { return openFDs(t) <= before })
	spec.Cmd = []string{"sleep", "600"}
	g = start(t, s, spec)
	must(t, g.Stop(context.Background()))
}

var listening = workerFunc("listening", func(c *Child) {
	l, err := net.FileListener(c.File("web"))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, _ := io.ReadAll(c.File("greeting"))
	conn, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprintf(conn, "%s from %d", b, c.Rank)
	conn.Close()
	if c.File("other") != nil {
		fmt.Println("a file that is none")
	}
})

// Listeners and files go to function workers by name, and to commands in systemd's
// manner; they stay open here.
func TestFilesArePassedOn(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	l, err := net.Listen("unix", t.TempDir()+"/s")
	must(t, err)
	defer l.Close()
	lf, err := l.(*net.UnixListener).File()
	must(t, err)
	defer lf.Close()
	r, w, err := os.Pipe()
	must(t, err)
	fmt.Fprint(w, "hello")
	w.Close()
	defer r.Close()
	files := []NamedFile{{"web", lf}, {"greeting", r}}
	g := start(t, s, Spec{Func: listening, Workers: 1, Files: files})
	c, err := net.Dial("unix", l.Addr().String())
	must(t, err)
	b, err := io.ReadAll(c)
	must(t, err)
	if string(b) != "hello from 0" {
		t.Errorf("%q", b)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}

	script := `echo "$LISTEN_FDS $LISTEN_FDNAMES"; [ "$LISTEN_PID" = $$ ] && echo mine; test -S /proc/self/fd/3 && test -p /proc/self/fd/4 && echo open; test -e /proc/self/fd/5 && readlink /proc/self/fd/5`
	spec := shell(1, script)
	spec.Files = files
	if err := start(t, s, spec).Wait(); err != nil && !strings.Contains(err.Error(), "code 1") {
		t.Error(err)
	}
	if got := rec.get("sh/0/stdout"); !slices.Equal(got, []string{"2 web:greeting", "mine", "open"}) {
		t.Errorf("%q %q", got, rec.get("sh/0/stderr"))
	}
	if _, err := lf.Stat(); err != nil {
		t.Errorf("the file was closed here: %v", err)
	}
	r2, w2, _ := os.Pipe()
	r2.Close()
	w2.Close()
	for want, bad := range map[string][]NamedFile{
		"used twice":                          {{"a", lf}, {"a", lf}},
		`Spec.Files[0]: name "`:               {{"a b", lf}},
		`"a" is nil`:                          {{"a", nil}},
		"use of closed file: give open files": {{"a", r2}},
	} {
		if _, err := s.Start(context.Background(), Spec{Cmd: []string{"true"}, Workers: 1, Files: bad}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
