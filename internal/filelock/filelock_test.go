package filelock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

var _ = proctest.Helper("hold", func(args []string) {
	var err error
	if args[0] == "file" {
		var f *os.File
		if f, err = os.OpenFile(args[1], os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, err = File(f)
		}
	} else {
		_, err = Beside(args[1])
	}
	fmt.Println("held", err)
	io.Copy(io.Discard, os.Stdin)
})

// While a second process holds the lock, the error names it; when it is killed,
// the lock is free; a released lock leaves no file.
func TestOneWriter(t *testing.T) {
	for _, kind := range []string{"file", "beside"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "run.log")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		take := func() (*Lock, error) {
			if kind == "file" {
				return File(f)
			}
			return Beside(path)
		}

		cmd := proctest.Command(t, "hold", kind, path)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said string
		if fmt.Fscanln(out, &said, new(string)); said != "held" {
			t.Fatalf("helper said %q", said)
		}
		_, err = take()
		var locked *LockedError
		if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "choose another path") || !strings.Contains(err.Error(), path) {
			t.Fatalf("%s: %v", kind, err)
		}
		if runtime.GOOS == "linux" && locked.PID != cmd.Process.Pid {
			t.Errorf("%s: names process %d, it is %d", kind, locked.PID, cmd.Process.Pid)
		}
		cmd.Process.Kill()
		in.Close()
		cmd.Wait()

		l, err := take()
		if err != nil {
			t.Fatalf("%s: after the holder's death: %v", kind, err)
		}
		if _, err := take(); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: locked twice in one process: %v", kind, err)
		}
		if err := errors.Join(l.Release(), l.Release()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path + ".lock"); err == nil {
			t.Errorf("%s: a lock file is left", kind)
		}
	}
}

// The lock stays with the file when somebody renames it.
func TestLockFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.log")
	create := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	old, err := File(create())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Release()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	fresh, err := File(create())
	if err != nil {
		t.Fatalf("the new file of that name: %v", err)
	}
	fresh.Release()
}

func TestErrors(t *testing.T) {
	if _, err := Beside(filepath.Join(t.TempDir(), "no", "x")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "x.lock") {
		t.Errorf("missing folder: %v", err)
	}
	path := filepath.Join(t.TempDir(), "x")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	os.Rename(path, path+".1")
	os.WriteFile(path, nil, 0o600)
	if _, err := File(f); err == nil || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("another file of that name: %v", err)
	}
}
