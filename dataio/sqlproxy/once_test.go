//go:build linux

package sqlproxy_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"shmkit/dataio/sqlproxy"
	"shmkit/internal/proctest"
)

// A stepper is a database that writes down what was executed, a line for each
// statement or committed transaction's statement, and that has an accident at one of
// its steps: it takes the whole node with it, or only its connection.
type stepper struct {
	book *os.File
	at   int // the step of the accident, 0 for none
	kill bool
	n    int
}

// step is where accidents happen. done says whether the work was executed.
func (s *stepper) step(done bool) error {
	if s.n++; s.n != s.at {
		return nil
	}
	if s.kill {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if done {
		return fmt.Errorf("read tcp: %w", io.ErrUnexpectedEOF)
	}
	return driver.ErrBadConn
}

func (s *stepper) Driver() driver.Driver { return nil }
func (s *stepper) Connect(context.Context) (driver.Conn, error) {
	return &stepConn{s: s}, s.step(false)
}

type stepConn struct {
	s    *stepper
	tx   bool
	todo string
}

func (c *stepConn) Close() error              { return nil }
func (c *stepConn) Begin() (driver.Tx, error) { c.tx, c.todo = true, ""; return c, c.s.step(false) }
func (c *stepConn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("not here")
}
func (c *stepConn) ExecContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Result, error) {
	if err := c.s.step(false); err != nil {
		return nil, err
	}
	if c.tx {
		c.todo += q + "\n"
		return driver.ResultNoRows, c.s.step(false) // not before the commit
	}
	c.s.book.WriteString(q + "\n")
	return driver.ResultNoRows, c.s.step(true)
}
func (c *stepConn) Rollback() error { c.tx = false; return c.s.step(false) }
func (c *stepConn) Commit() error {
	if err := c.s.step(false); err != nil {
		return err
	}
	c.tx = false
	c.s.book.WriteString(c.todo)
	return c.s.step(true)
}

var _ = proctest.Helper("stepping-node", func(args []string) {
	book, err := os.OpenFile(args[0], os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		die(err)
	}
	at, _ := strconv.Atoi(args[1])
	db := sql.OpenDB(&stepper{book: book, at: at, kill: args[2] == "kill"})
	s, err := sqlproxy.NewServer(map[string]*sql.DB{"main": db}, nil)
	if err != nil {
		die(err)
	}
	files, _, _, err := s.Donate("w", 0, 1)
	if err != nil {
		die(err)
	}
	if err := syscall.Sendmsg(3, []byte{1}, syscall.UnixRights(int(files[0].Fd())), nil, 0); err != nil {
		die(err)
	}
	files[0].Close()
	io.Copy(io.Discard, os.Stdin) // until the test is done with it
})

// node starts such a node and returns the worker's side.
func steppingNode(t *testing.T, book string, at int, mode string) (*sqlproxy.Client, *exec.Cmd) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far := os.NewFile(uintptr(fds[1]), "far")
	cmd := proctest.Command(t, "stepping-node", book, strconv.Itoa(at), mode)
	cmd.ExtraFiles = []*os.File{far}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	far.Close()
	f := os.NewFile(uintptr(fds[0]), "near")
	near, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	buf, oob := make([]byte, 1), make([]byte, 64)
	_, n, _, _, err := near.(*net.UnixConn).ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		t.Fatal(msgs, err)
	}
	got, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlproxy.Attach([]*os.File{os.NewFile(uintptr(got[0]), "line")}, []string{"main=4"})
	if err != nil {
		t.Fatal(err)
	}
	return c, cmd
}

// Whatever dies, and at whatever step: a program that does again what has failed, and
// asks the database first when the outcome is unknown, executes everything exactly once.
func TestNothingIsExecutedTwice(t *testing.T) {
	for _, mode := range []string{"kill", "break"} {
		unknown := 0
		for at := 1; ; at++ {
			book := filepath.Join(t.TempDir(), "book")
			c, cmd := steppingNode(t, book, at, mode)
			executed := func(what string) bool {
				b, _ := os.ReadFile(book)
				return strings.Contains(string(b), what+"\n")
			}
			accidents := 0
			do := func(what string, f func(db *sql.DB) error) {
				for range 5 {
					err := f(c.DB("main"))
					if err == nil {
						return
					}
					accidents++
					if errors.Is(err, sqlproxy.ErrOutcomeUnknown) {
						if unknown++; executed(what) {
							return
						}
					}
					if errors.Is(err, sqlproxy.ErrNodeGone) {
						c.Close()
						cmd.Wait()
						c, cmd = steppingNode(t, book, 0, mode)
					}
				}
				t.Fatalf("%s %d: %s was never executed", mode, at, what)
			}
			var want []string
			for i := range 3 {
				what := fmt.Sprint("statement ", i)
				want = append(want, what)
				do(what, func(db *sql.DB) error { _, err := db.Exec(what); return err })
			}
			want = append(want, "first of two", "second of two")
			do("second of two", func(db *sql.DB) error {
				tx, err := db.Begin()
				if err != nil {
					return err
				}
				defer tx.Rollback()
				for _, q := range []string{"first of two", "second of two"} {
					if _, err := tx.Exec(q); err != nil {
						return err // unknown or not: nothing is executed before the commit
					}
				}
				return tx.Commit()
			})
			b, err := os.ReadFile(book)
			if got := strings.Split(strings.TrimSpace(string(b)), "\n"); err != nil || strings.Join(got, ",") != strings.Join(want, ",") {
				t.Errorf("%s at step %d: executed were %q", mode, at, got)
			}
			c.Close()
			cmd.Process.Kill()
			cmd.Wait()
			if accidents == 0 && at > 12 {
				t.Logf("%s: %d steps, %d times of unknown outcome", mode, at, unknown)
				break
			}
		}
		if unknown == 0 {
			t.Errorf("%s: the outcome was never unknown: the test shows nothing", mode)
		}
	}
}
