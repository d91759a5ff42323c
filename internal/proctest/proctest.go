// Package proctest lets a test be played by several real processes, and fails a
// test binary that leaves anything behind.
//
// A helper is a named function that runs in a second copy of the test binary:
//
//	func TestMain(m *testing.M) { proctest.Main(m) }
//
//	var _ = proctest.Helper("echo", func(args []string) {
//		io.Copy(os.Stdout, os.Stdin)
//	})
//
//	func TestEcho(t *testing.T) {
//		cmd := proctest.Command(t, "echo")
//		…
//	}
//
// [Main] dispatches to the helper in the second process. In the first one it
// runs the tests and then fails the run if a registered helper was never
// started (when all tests were selected), or if a descriptor, a mapping of
// shared memory, a goroutine or a child process is left over.
//
// The shape follows os/exec's own tests (helper commands in a re-executed
// binary) and the leak checks of cilium/ebpf's testmain.
package proctest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"testing"
	"time"
)

// EnvHelper names the helper that a re-executed test binary has to run.
const EnvHelper = "SHMKIT_TEST_HELPER"

// EnvEmulator names the program that a second process needs in front of it when
// the test binary is of another architecture, as in
//
//	SHMKIT_TEST_EMULATOR=qemu-aarch64 GOARCH=arm64 go test -exec qemu-aarch64 ./...
const EnvEmulator = "SHMKIT_TEST_EMULATOR"

// SkipIfEmulated skips a test of what an emulator does not have: ptrace, or the
// system calls of a kernel as they are.
func SkipIfEmulated(t testing.TB, why string) {
	t.Helper()
	if e := os.Getenv(EnvEmulator); e != "" {
		t.Skipf("under %s: %s", e, why)
	}
}

// envParent names the test binary that started a helper.
const envParent = "SHMKIT_TEST_PARENT"

var (
	helpers = map[string]func(args []string){}

	mu   sync.Mutex
	used = map[string]bool{}
)

// Helper registers fn under name and returns name. It panics on a name that is
// taken: helpers are registered by package-level variables.
func Helper(name string, fn func(args []string)) string {
	if _, dup := helpers[name]; dup {
		panic("proctest: helper " + name + " registered twice")
	}
	helpers[name] = fn
	return name
}

// Main runs the helper that the environment asks for and exits, or runs the
// tests, checks that nothing is left over, and exits.
func Main(m *testing.M) {
	if name := os.Getenv(EnvHelper); name != "" {
		fn, ok := helpers[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "proctest: no helper %q in this binary\n", name)
			os.Exit(2)
		}
		if os.Getenv(envParent) == strconv.Itoa(os.Getppid()) {
			go leaveWithParent()
		}
		args := os.Args[1:]
		if len(args) > 0 && args[0] == "--" {
			args = args[1:]
		}
		fn(args)
		os.Exit(0)
	}
	// The first Notify of a process starts a goroutine that stays: it is nobody's leak.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	signal.Reset(os.Interrupt)
	before := takeInventory()
	code := m.Run()
	if fuzzing() {
		os.Exit(code) // the fuzzer has goroutines and processes of its own
	}
	if code == 0 && !unusedAllowed() {
		for name := range helpers {
			if !used[name] {
				fmt.Fprintf(os.Stderr, "proctest: helper %q was never started by a test\n", name)
				code = 1
			}
		}
	}
	if code == 0 {
		if left := before.leftovers(); len(left) > 0 {
			for _, l := range left {
				fmt.Fprintln(os.Stderr, "proctest: left behind:", l)
			}
			code = 1
		}
	}
	os.Exit(code)
}

// leaveWithParent ends a helper whose test binary is gone: killed by a time limit,
// it runs no clean-up. Processes that a helper starts are left alone: whether those
// stay behind may be what a test is about.
func leaveWithParent() {
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(500 * time.Millisecond)
	}
	os.Exit(1)
}

func fuzzing() bool {
	f := flag.Lookup("test.fuzz")
	return f != nil && f.Value.String() != ""
}

// unusedAllowed reports whether the command line selected only a part of the
// tests, so that a helper may rightly stay unused.
func unusedAllowed() bool {
	if testing.Short() {
		return true
	}
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.bench", "test.fuzz", "test.failfast"} {
		if f := flag.Lookup(name); f != nil {
			if v := f.Value.String(); v != "" && v != "false" {
				return true
			}
		}
	}
	return false
}

// Command returns a command that runs the named helper in a second copy of the
// test binary. The process is killed and reaped when the test ends, if it is
// still there. Standard error goes to the test's own.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	if _, ok := helpers[name]; !ok {
		t.Fatalf("proctest: no helper %q", name)
	}
	mu.Lock()
	used[name] = true
	mu.Unlock()
	exe, err := os.Executable()
	if err != nil {
		t.Fatalf("proctest: own executable: %v", err)
	}
	args = append([]string{"--"}, args...)
	if e := os.Getenv(EnvEmulator); e != "" {
		exe, args = e, append([]string{exe}, args...)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), EnvHelper+"="+name, envParent+"="+strconv.Itoa(os.Getpid()))
	cmd.Stderr = os.Stderr
	t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}
