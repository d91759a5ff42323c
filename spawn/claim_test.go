//go:build linux

package spawn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"shmkit/internal/proctest"
)

func TestRunNames(t *testing.T) {
	for _, name := range []string{"", "..", "a/b", "a b", strings.Repeat("x", 65)} {
		_, err := NewServer(Options{Run: name, Dir: t.TempDir()})
		var se *SpecError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), "run name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// helperHold is a server that holds a run until it is killed.
var _ = proctest.Helper("hold", func(args []string) {
	s, err := NewServer(Options{Run: args[1], Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.WriteFile(filepath.Join(s.Dir(), "leftover"), []byte("x"), 0o600)
	os.MkdirAll(filepath.Join(s.Dir(), "deep", "er"), 0o700)
	fmt.Println("holding")
	io.Copy(io.Discard, os.Stdin)
})

func hold(t testing.TB, dir, run string) *exec.Cmd {
	t.Helper()
	cmd := proctest.Command(t, "hold", dir, run)
	in, err := cmd.StdinPipe()
	must(t, err)
	t.Cleanup(func() { in.Close() })
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "holding\n" {
		t.Fatalf("holder said %q", line)
	}
	return cmd
}

// A live run is refused with its holder's pid and what to do; a killed one is taken
// over, emptied, listed as stale, and can be pruned.
func TestLiveAndStale(t *testing.T) {
	dir := t.TempDir()
	h := hold(t, dir, "one")
	h2 := hold(t, dir, "two")

	_, err := NewServer(Options{Run: "one", Dir: dir})
	var re *RunningError
	if !errors.As(err, &re) || !errors.Is(err, ErrRunning) || re.Pid != h.Process.Pid || re.Run != "one" {
		t.Fatalf("got %v, want a RunningError with pid %d", err, h.Process.Pid)
	}
	if !strings.Contains(err.Error(), strconv.Itoa(re.Pid)) || !strings.Contains(err.Error(), "choose another run name") {
		t.Errorf("the error does not say who and what to do: %v", err)
	}
	// Another name is another run.
	must(t, newServer(t, Options{Run: "three", Dir: t.TempDir()}).Close())

	list := func() string {
		runs, err := Runs(dir)
		must(t, err)
		var s []string
		for _, r := range runs {
			s = append(s, fmt.Sprint(r.Name, r.Live, r.Pid))
		}
		return strings.Join(s, " ")
	}
	want := fmt.Sprint("one", true, h.Process.Pid, " two", true, h2.Process.Pid)
	if got := list(); got != want {
		t.Errorf("runs: %s, want %s", got, want)
	}
	kill := func(c *exec.Cmd) { c.Process.Kill(); c.Wait() }
	kill(h)
	kill(h2)
	want = fmt.Sprint("one", false, h.Process.Pid, " two", false, h2.Process.Pid)
	if got := list(); got != want {
		t.Errorf("runs after the kill: %s, want %s", got, want)
	}

	s, err := NewServer(Options{Run: "one", Dir: dir})
	must(t, err)
	if left := names(t, s.Dir()); !slices.Equal(left, []string{"lock"}) {
		t.Errorf("a taken-over run begins with %q", left)
	}
	if pruned, err := Prune(dir); err != nil || !slices.Equal(pruned, []string{"two"}) {
		t.Errorf("pruned %q, %v", pruned, err)
	}
	want = fmt.Sprint("one", true, os.Getpid())
	if got := list(); got != want {
		t.Errorf("runs after pruning: %s, want %s", got, want)
	}
	must(t, s.Close())
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if runs, err := Runs(filepath.Join(dir, "missing")); err != nil || runs != nil {
		t.Errorf("runs of a missing directory: %v, %v", runs, err)
	}
}

// A racer takes the run, looks with an independent lock whether it is alone, and
// gives the run up, or dies with it. It prints one word.
var _ = proctest.Helper("racer", func(args []string) {
	dir, mark, suicidal := args[0], args[1], args[2] == "die"
	fail := func(v ...any) {
		fmt.Println(append([]any{"FAILED:"}, v...)...)
		os.Exit(1)
	}
	for deadline := time.Now().Add(patienceOfTests); ; {
		s, err := NewServer(Options{Run: "race", Dir: dir})
		if errors.Is(err, ErrRunning) && time.Now().Before(deadline) {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			continue
		}
		if err != nil {
			fail(err)
		}
		alone := flock.New(mark)
		if ok, err := alone.TryLock(); !ok {
			fail("two holders", err)
		}
		if left, err := os.ReadDir(s.Dir()); len(left) != 1 {
			fail("not alone in the directory:", left, err)
		}
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
		if suicidal {
			fmt.Println("held")
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		alone.Unlock()
		if err := s.Close(); err != nil {
			fail(err)
		}
		fmt.Println("held")
		return
	}
})

// Guarantees, of 50 processes that want the same run at the same moment:
//
//  1. at no time two of them hold it;
//  2. each of them gets it, none fails for another reason than that it is held;
//  3. it does not matter that a third of the holders is killed while holding;
//  4. nothing is left.
//
// That the test can fail was shown by letting stillNames always say yes, by taking
// the lock of the directory shared, and by not trying again after errVanished.
func TestSingletonRace(t *testing.T) {
	n := 50
	if stress() {
		n = 256
	}
	for _, deaths := range []bool{false, true} {
		t.Run(fmt.Sprintf("deaths=%v", deaths), func(t *testing.T) {
			base := t.TempDir()
			dir, mark := filepath.Join(base, "runtime"), filepath.Join(base, "mark")
			cmds := make([]*exec.Cmd, n)
			outs := make([]strings.Builder, n)
			for i := range cmds {
				how := "live"
				if deaths && i%3 == 0 {
					how = "die"
				}
				cmds[i] = proctest.Command(t, "racer", dir, mark, how)
				cmds[i].Stdout = &outs[i]
				must(t, cmds[i].Start())
			}
			for i, c := range cmds {
				c.Wait()
				if got := outs[i].String(); got != "held\n" {
					t.Errorf("racer %d: %q", i, got)
				}
			}
			if deaths {
				_, err := Prune(dir)
				must(t, err)
			}
			if left := names(t, base); len(left) > 1 {
				t.Errorf("left: %q, in it %q", left, names(t, dir))
			}
		})
	}
}

// What third parties do to the files of a live run gives nobody else the run, and
// the holder does not touch what is not its own any more.
func TestFilesTamperedWith(t *testing.T) {
	set(t, &patience, 50*time.Millisecond)
	dir := t.TempDir()
	second := func() error {
		s, err := NewServer(Options{Run: "test", Dir: dir})
		if err == nil {
			s.Close()
		}
		return err
	}
	lockOf := func(s *Server) string { return filepath.Join(s.Dir(), "lock") }

	t.Run("lock file removed", func(t *testing.T) {
		s := newServer(t, Options{Dir: dir})
		must(t, os.Remove(lockOf(s)))
		if err := second(); !errors.Is(err, ErrRunning) {
			t.Errorf("second server: %v", err)
		}
	})
	t.Run("lock file replaced", func(t *testing.T) {
		s := newServer(t, Options{Dir: dir})
		must(t, os.Remove(lockOf(s)))
		must(t, os.WriteFile(lockOf(s), []byte("shmkit run 1, pid 1\n"), 0o600))
		if err := second(); !errors.Is(err, ErrRunning) {
			t.Errorf("second server: %v", err)
		}
	})
	t.Run("directory moved away", func(t *testing.T) {
		s := newServer(t, Options{Dir: dir})
		moved := filepath.Join(t.TempDir(), "moved")
		must(t, os.Rename(s.Dir(), moved))
		s2, err := NewServer(Options{Run: "test", Dir: dir})
		must(t, err)
		must(t, s.Close())
		if _, err := os.Stat(lockOf(s2)); err != nil {
			t.Errorf("the first server removed the files of the second: %v", err)
		}
		must(t, s2.Close())
	})
	t.Run("lock file is a link", func(t *testing.T) {
		victim := filepath.Join(t.TempDir(), "victim")
		must(t, os.WriteFile(victim, []byte("precious"), 0o600))
		run := filepath.Join(dir, "test")
		must(t, os.Mkdir(run, 0o700))
		must(t, os.Symlink(victim, filepath.Join(run, "lock")))
		if err := second(); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("server over a linked lock: %v", err)
		}
		if b, _ := os.ReadFile(victim); string(b) != "precious" {
			t.Errorf("the link's target now says %q", b)
		}
		must(t, os.RemoveAll(run))
	})
	t.Run("lock file is a FIFO", func(t *testing.T) {
		run := filepath.Join(dir, "test")
		must(t, os.Mkdir(run, 0o700))
		must(t, syscall.Mkfifo(filepath.Join(run, "lock"), 0o600))
		second() // must not hang; an empty one may be used or refused
		must(t, os.RemoveAll(run))
	})
	t.Run("run directory is a link", func(t *testing.T) {
		target := t.TempDir()
		must(t, os.Symlink(target, filepath.Join(dir, "test")))
		if err := second(); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("server over a linked directory: %v", err)
		}
		if left := names(t, target); len(left) > 0 {
			t.Errorf("behind the link: %q", left)
		}
		must(t, os.Remove(filepath.Join(dir, "test")))
	})
	t.Run("not a run", func(t *testing.T) {
		run := filepath.Join(dir, "test")
		must(t, os.Mkdir(run, 0o700))
		must(t, os.WriteFile(filepath.Join(run, "thesis.tex"), nil, 0o600))
		for _, lock := range []string{"", "somebody else's"} {
			if lock != "" {
				must(t, os.WriteFile(filepath.Join(run, "lock"), []byte(lock), 0o600))
			}
			if err := second(); err == nil || !strings.Contains(err.Error(), "other things than a run") {
				t.Errorf("server in a directory of other things: %v", err)
			}
			if pruned, err := Prune(dir); len(pruned) > 0 || err != nil {
				t.Errorf("pruned %q, %v", pruned, err)
			}
		}
		if left := names(t, run); !slices.Contains(left, "thesis.tex") {
			t.Errorf("it was emptied: %q", left)
		}
		must(t, os.RemoveAll(run))
	})
}

// Who tidies up an unfinished directory has both locks, as a server has, but has not
// said that it is one: a start waits for it. The test failed as long as whoever had
// the locks was taken for a server.
func TestTidyingIsNoServer(t *testing.T) {
	dir, err := givenRuntimeDir(t.TempDir())
	must(t, err)
	path := filepath.Join(dir.path, "test")
	must(t, os.Mkdir(path, 0o700))
	must(t, os.WriteFile(filepath.Join(path, lockName), nil, 0o600))
	tidy, start := &claim{parent: dir, path: path}, &claim{parent: dir, path: path}
	must(t, tidy.try(false))
	if err := start.try(true); !errors.Is(err, errInMotion) {
		t.Errorf("while somebody tidies up: %v", err)
	}
	must(t, tidy.release())
	must(t, newServer(t, Options{Run: "test", Dir: dir.path}).Close())
}

// Looking at a run never makes a start fail. (It may take its time on a busy machine,
// where who looks is put aside in the middle.)
func TestLookingDisturbsNobody(t *testing.T) {
	set(t, &patience, patienceOfTests)
	dir := t.TempDir()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				Runs(dir)
				Prune(dir)
			}
		}
	}()
	for range 200 {
		s, err := NewServer(Options{Run: "test", Dir: dir})
		if err != nil {
			t.Error(err)
			break
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
}
