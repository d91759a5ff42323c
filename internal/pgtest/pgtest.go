//go:build linux

// Package pgtest starts a PostgreSQL server of its own for a test: in a directory of
// its own, on a Unix socket of its own, as an unprivileged user, gone when the
// test ends.
//
//	server := pgtest.Start(t)       // or the test is skipped
//	db, err := sql.Open("pgx", server.DSN())
//	server.Crash()
//	server.Restart()
package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A Server is a running server. Its methods are for the goroutine of the test.
type Server struct {
	t     testing.TB
	bin   string // folder of the programs
	dir   string // holds the data, the socket and the log
	owner *syscall.Credential

	cmd   *exec.Cmd
	ended chan struct{}
}

// Start starts a server with an empty database, or skips the test where
// PostgreSQL is not installed.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, bin: programs(t), owner: owner(t)}
	var err error
	if s.dir, err = os.MkdirTemp("", "pg"); err != nil { // t.TempDir is too long for a socket, and closed to others
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Crash()
		os.RemoveAll(s.dir)
	})
	if s.owner != nil {
		if err := os.Chown(s.dir, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	init := s.command("initdb", "-D", s.data(), "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	s.Restart()
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }
func (s *Server) log() string  { return filepath.Join(s.dir, "log") }

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// DSN names the server's only database.
func (s *Server) DSN() string {
	return fmt.Sprintf("host=%s user=test dbname=postgres sslmode=disable", s.dir)
}

// Restart starts the server again and returns when it answers.
func (s *Server) Restart() {
	s.t.Helper()
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "shared_buffers=4MB", "-c", "max_connections=20")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT // when the test is killed
	s.cmd, s.ended = cmd, make(chan struct{})
	started, ended := make(chan error, 1), s.ended
	go func() {
		defer close(ended)
		runtime.LockOSThread() // that signal comes when this thread ends
		err := cmd.Start()
		if started <- err; err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	for !s.answers() {
		select {
		case <-s.ended:
			said, _ := os.ReadFile(s.log())
			s.t.Fatalf("postgres ended: %s", said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Crash ends the server as a crash does: at once, without a checkpoint. It may be
// called twice.
func (s *Server) Crash() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGQUIT)
	<-s.ended
	s.cmd = nil
}

// answers sends the start of a session and looks whether the server takes it.
func (s *Server) answers() bool {
	c, err := net.Dial("unix", s.Socket())
	if err != nil {
		return false
	}
	defer c.Close()
	body := []byte("\x00\x03\x00\x00user\x00test\x00database\x00postgres\x00\x00")
	c.Write(append([]byte{0, 0, 0, byte(len(body) + 4)}, body...))
	c.SetReadDeadline(time.Now().Add(time.Second))
	var kind [1]byte
	n, _ := c.Read(kind[:])
	return n == 1 && bytes.Equal(kind[:], []byte("R")) // not E: it is starting up
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return cmd
}

// programs finds the folder of the newest version that is installed.
func programs(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		t.Skip("needs PostgreSQL: install Debian's package postgresql")
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return filepath.Dir(path)
}

// owner returns whom the server has to run as: it refuses to run as root.
func owner(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	var u *user.User
	err := errors.New("no user")
	for _, name := range []string{"postgres", "nobody"} {
		if u, err = user.Lookup(name); err == nil {
			break
		}
	}
	if err != nil {
		t.Skip("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
