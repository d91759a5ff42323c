package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binary is the command under test, built once.
var binary string

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	dir, err := os.MkdirTemp("", "shmkit-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "shmkit")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return
	}
	code = m.Run()
}

// hung is when a command that should have ended is taken for one that never
// will. It bounds a failing test only.
const hung = 2 * time.Minute

// A lab is a world of its own for the commands of one test: a working
// directory, a runtime directory and a temporary directory. When the test ends,
// nothing may be left: no file in the latter two, no process, no segment.
type lab struct {
	t       *testing.T
	dir     string // working directory of the commands
	runtime string // $SHMKIT_DIR
	tmp     string // $TMPDIR
	mark    string // in the environment of every process of this lab
}

var labs atomic.Int64

const markKey = "SHMKIT_TEST_LAB"

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), runtime: t.TempDir(), tmp: t.TempDir()}
	if err := os.Chmod(l.runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	l.mark = fmt.Sprintf("%s=%d.%d", markKey, os.Getpid(), labs.Add(1))
	t.Cleanup(func() {
		for _, left := range l.leftovers(10 * time.Second) {
			t.Errorf("left behind: %s", left)
		}
		for _, pid := range l.processes() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return l
}

func (l *lab) env() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "SHMKIT_") || strings.HasPrefix(kv, "PYTHONUNBUFFERED=")
	})
	return append(env, "SHMKIT_DIR="+l.runtime, "TMPDIR="+l.tmp, l.mark)
}

// leftovers names what the commands of the lab left. A process that was just
// killed needs a moment to be gone: what is there gets some time to go.
func (l *lab) leftovers(settle time.Duration) []string {
	var left []string
	for deadline := time.Now().Add(settle); ; time.Sleep(10 * time.Millisecond) {
		left = left[:0]
		for _, dir := range []string{l.runtime, l.tmp} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				l.t.Error(err)
			}
			for _, e := range entries {
				left = append(left, filepath.Join(dir, e.Name()))
			}
		}
		for _, pid := range l.processes() {
			cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			left = append(left, fmt.Sprintf("process %d: %q", pid, cmdline))
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// processes finds the live processes of the lab by its mark in their environment.
func (l *lab) processes() []int {
	var pids []int
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), l.mark) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/environ", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, content string) string {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return l.path(name)
}

// command is one shmkit command line that is or was run.
type command struct {
	*exec.Cmd
	t      *testing.T
	cancel context.CancelFunc
	ctx    context.Context
	stdout bytes.Buffer
	stderr bytes.Buffer
	done   chan struct{}
	waited error
}

func (l *lab) command(args ...string) *command {
	c := &command{t: l.t, done: make(chan struct{})}
	c.ctx, c.cancel = context.WithTimeout(context.Background(), hung)
	c.Cmd = exec.CommandContext(c.ctx, binary, args...)
	c.Dir, c.Env = l.dir, l.env()
	c.Cmd.Stdout, c.Cmd.Stderr = &c.stdout, &c.stderr
	c.WaitDelay = 10 * time.Second
	return c
}

// start starts the command; the end of the test ends it, too.
func (c *command) start() *command {
	c.t.Helper()
	if err := c.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		c.waited = c.Wait()
		close(c.done)
	}()
	c.t.Cleanup(func() {
		c.cancel()
		<-c.done
	})
	return c
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int // exit code, or 128+signal
}

func (c *command) wait() result {
	c.t.Helper()
	<-c.done
	if c.ctx.Err() != nil {
		c.t.Fatalf("%q did not end\nstdout: %.2000s\nstderr: %.2000s", c.Args, c.stdout.String(), c.stderr.String())
	}
	var exit *exec.ExitError
	if c.waited != nil && !errors.As(c.waited, &exit) {
		c.t.Fatalf("%q: %v", c.Args, c.waited)
	}
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	code := status.ExitStatus()
	if status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return result{c.stdout.String(), c.stderr.String(), code}
}

func (c *command) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// shmkit runs a command line to its end.
func (l *lab) shmkit(args ...string) result {
	l.t.Helper()
	return l.command(args...).start().wait()
}

// want runs a command line that must succeed and say nothing on stderr, and
// returns its standard output.
func (l *lab) want(args ...string) string {
	l.t.Helper()
	r := l.shmkit(args...)
	if r.code != 0 || r.stderr != "" {
		l.t.Fatalf("shmkit %q: exit code %d, stderr %q", args, r.code, r.stderr)
	}
	return r.stdout
}

// A gate is a fifo: two processes meet there, without a clock. The test holds
// both ends open, so that several workers can come one after the other.
type gate struct {
	*os.File
	in *bufio.Reader
}

// String is the gate's path, for scripts.
func (g *gate) String() string { return g.Name() }

func (l *lab) gate(name string) *gate {
	l.t.Helper()
	if err := syscall.Mkfifo(l.path(name), 0o600); err != nil {
		l.t.Skip("needs fifos:", err)
	}
	f, err := os.OpenFile(l.path(name), os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { f.Close() })
	return &gate{f, bufio.NewReader(f)}
}

// arrive waits for a line that a worker of c, which goes on afterwards, writes
// into the gate.
func (g *gate) arrive(c *command) string {
	c.t.Helper()
	arrived := make(chan struct{})
	defer close(arrived)
	g.SetReadDeadline(time.Now().Add(hung))
	go func() {
		select {
		case <-c.done:
			g.SetReadDeadline(time.Unix(1, 0))
		case <-arrived:
		}
	}()
	line, err := g.in.ReadString('\n')
	if err != nil {
		select {
		case <-c.done:
			c.t.Fatalf("%q ended before a worker came to the gate: %+v", c.Args, c.wait())
		default:
			c.t.Fatalf("nobody came to the gate: %v", err)
		}
	}
	return strings.TrimSuffix(line, "\n")
}

// open lets one worker that reads a line from the gate go on.
func (g *gate) open(t *testing.T) {
	t.Helper()
	if _, err := g.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
}

// record is a line of a json sink.
type record struct {
	Time      time.Time `json:"time"`
	Level     string    `json:"level"`
	Msg       string    `json:"msg"`
	Group     string    `json:"group"`
	Worker    *int      `json:"worker"`
	PID       int       `json:"pid"`
	Stream    string    `json:"stream"`
	Continued bool      `json:"continued"`
}

// records reads a json sink's file: all lines must be whole objects.
func (l *lab) records(name string) []record {
	l.t.Helper()
	data, err := os.ReadFile(l.path(name))
	if err != nil {
		l.t.Fatal(err)
	}
	var all []record
	for i, line := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		if len(data) == 0 {
			break
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil || r.Worker == nil {
			l.t.Fatalf("%s, line %d: %.200q: %v", name, i+1, line, err)
		}
		all = append(all, r)
	}
	return all
}

// captured are the records that workers wrote as lines, by rank and stream, in
// the order of the file. Lines that were split are put together again; split
// says how many pieces were continuations.
func captured(all []record) (lines map[string][]string, split int) {
	lines = map[string][]string{}
	for _, r := range all {
		if *r.Worker < 0 {
			continue // the node's own
		}
		key := fmt.Sprintf("%d/%s", *r.Worker, r.Stream)
		if n := len(lines[key]); r.Continued && n > 0 {
			lines[key][n-1] += r.Msg
			split++
			continue
		}
		lines[key] = append(lines[key], r.Msg)
	}
	return lines, split
}

// The check for leftovers is shown to trip: each kind is left on purpose.
func TestLeftoversAreSeen(t *testing.T) {
	l := newLab(t)
	for _, path := range []string{filepath.Join(l.runtime, "lock"), filepath.Join(l.tmp, "file")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if left := l.leftovers(0); len(left) == 0 {
			t.Errorf("%s went unnoticed", path)
		}
		os.Remove(path)
	}
	c := exec.Command("sleep", "1000")
	c.Env = l.env()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	left := l.leftovers(0)
	c.Process.Kill()
	c.Wait()
	if len(left) == 0 {
		t.Error("a process went unnoticed")
	}
}
