//go:build linux

package spawn

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// deaf workers react to nothing but SIGKILL.
var deaf = workerFunc("deaf", func(c *Child) {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	time.Sleep(time.Hour)
})

// A supervisor runs a server with workers of all kinds, in the runtime directory it
// is given, until it is killed; "churn" goes on starting and stopping more.
var _ = proctest.Helper("supervisor", func(args []string) {
	s, err := NewServer(Options{Run: "doomed", Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, spec := range []Spec{
		{Func: sleeper, Workers: 4},
		{Func: deaf, Workers: 2},
		{Cmd: []string{"sleep", "600"}, Workers: 10},
		{Cmd: []string{"sh", "-c", "trap '' TERM HUP INT; while :; do read x; done"}, Workers: 2, Stdin: os.Stdin},
	} {
		if _, err := s.Start(context.Background(), spec); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println("started")
	for args[1] == "churn" {
		g, err := s.Start(context.Background(), Spec{Cmd: []string{"sleep", "600"}, Workers: 3, StopTimeout: -1})
		if err == nil {
			g.Stop(context.Background())
		}
	}
	select {}
})

// ofRun returns the living processes that have dir as their runtime directory.
func ofRun(dir string) (pids []string) {
	mark := []byte(envDir + "=" + dir + "\x00")
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		b, err := os.ReadFile(path)
		pid := strings.Split(path, "/")[2]
		if n, _ := strconv.Atoi(pid); err == nil && bytes.Contains(b, mark) && alive(n) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// The kernel kills all children when it has killed the server, at any moment, and
// the run can be taken over at once.
func TestNobodyOutlivesTheServer(t *testing.T) {
	trials := 3
	if stress() {
		trials = 100
	}
	for i := range trials {
		how := []string{"rest", "churn"}[min(i, 1)]
		dir, err := filepath.EvalSymlinks(t.TempDir())
		must(t, err)
		cmd := proctest.Command(t, "supervisor", dir, how)
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
			t.Fatalf("supervisor said %q", line)
		}
		if how == "churn" {
			time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		}
		if n := len(ofRun(dir)); n < 18 {
			t.Errorf("%d workers are seen: the test shows nothing", n)
		}
		must(t, cmd.Process.Kill())
		cmd.Wait()
		in.Close()
		eventually(t, "no worker is left", func() bool { return len(ofRun(dir)) == 0 })
		s, err := NewServer(Options{Run: "doomed", Dir: dir})
		must(t, err)
		must(t, s.Close())
	}
}

// onDyingThread runs fn on a thread that ends with it.
func onDyingThread(fn func()) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		runtime.LockOSThread() // never unlocked: the runtime ends the thread
		if unix.Gettid() == os.Getpid() {
			onDyingThread(fn) // but not the first one; it is kept busy by this
			runtime.UnlockOSThread()
			return
		}
		fn()
	}()
	wg.Wait()
}

// The end of the thread that asked for workers is not the end of the workers.
func TestThreadsEndWorkersLive(t *testing.T) {
	// First that this is so otherwise: a child forked by a thread dies with it.
	var pid int
	onDyingThread(func() {
		var err error
		pid, err = syscall.ForkExec("/proc/self/exe", []string{"sleeper"}, &syscall.ProcAttr{
			Env: append(os.Environ(), proctest.EnvHelper+"=sleep"),
			Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}})
		if err != nil {
			t.Error(err)
		}
	})
	proctest.Command(t, "sleep") // in use
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the child of a thread that ended: %v, %v: this test shows nothing", ws, err)
	}

	s := newServer(t, Options{})
	rounds := 1
	if stress() {
		rounds = 100 // 10⁴ children
	}
	for range rounds {
		for range 50 {
			onDyingThread(func() { start(t, s, Spec{Cmd: []string{"sleep", "600"}, Workers: 2, StopTimeout: -1}) })
		}
		for range 200 {
			onDyingThread(func() {})
		}
		ws2 := s.Workers()
		if len(ws2) != 100 {
			t.Errorf("%d workers live, want 100", len(ws2))
		}
		for _, w := range ws2 {
			if w.State != Running || !alive(w.Pid) {
				t.Errorf("worker %+v", w)
			}
		}
		must(t, s.Stop(context.Background()))
	}
}

var _ = proctest.Helper("sleep", func([]string) { time.Sleep(time.Hour) })

// A signal that was blocked when the server was started is not blocked in its
// workers. (Without emptySignalMask the worker survives.)
func TestSignalMaskIsNotInherited(t *testing.T) {
	cmd := proctest.Command(t, "masked", t.TempDir())
	var out []byte
	onDyingThread(func() {
		set := unix.Sigset_t{}
		set.Val[0] = 1 << (syscall.SIGUSR1 - 1)
		unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
		var err error
		if out, err = cmd.Output(); err != nil {
			t.Error(err)
		}
	})
	if got := string(out); got != "own mask: blocked\nSIGUSR1\n" {
		t.Errorf("got %q", got)
	}
}

var _ = proctest.Helper("masked", func(args []string) {
	var set unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, nil, &set)
	if set.Val[0]&(1<<(syscall.SIGUSR1-1)) != 0 {
		fmt.Println("own mask: blocked")
	}
	s, err := NewServer(Options{Run: "masked", Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	g, err := s.Start(context.Background(), Spec{Cmd: []string{"sh", "-c", "kill -USR1 $$"}, Workers: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	g.Wait()
	fmt.Println(unix.SignalName(g.Exits()[0].Signal))
})

// crowd starts 200 foreign and 56 function workers and tells what they cost.
var _ = proctest.Helper("crowd", func(args []string) {
	s, err := NewServer(Options{Run: "crowd", Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	e, _ := os.ReadDir("/proc/self/fd")
	before := len(e)
	for _, spec := range []Spec{{Cmd: []string{"sleep", "600"}, Workers: 200}, {Func: sleeper, Workers: 56, Heartbeat: Heartbeat{Timeout: time.Hour}}} {
		if _, err := s.Start(context.Background(), spec); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	e, _ = os.ReadDir("/proc/self/fd")
	tasks, _ := os.ReadDir("/proc/self/task")
	fmt.Println(len(tasks), len(e)-before)
	if err := s.Close(); err != nil {
		fmt.Println(err)
	}
	tasks, _ = os.ReadDir("/proc/self/task")
	e, _ = os.ReadDir("/proc/self/fd")
	fmt.Println(len(tasks), len(e)-before)
})

// 256 workers cost the server no threads and at most four descriptors each, and
// nothing is left of that after Close.
func TestCrowd(t *testing.T) {
	const workers, maxThreads = 256, 12
	out, err := proctest.Command(t, "crowd", t.TempDir()).Output()
	must(t, err)
	t.Logf("threads and descriptors with %d workers, and after Close: %q", workers, out)
	var threads, files, threads2, files2 int
	if n, err := fmt.Sscan(string(out), &threads, &files, &threads2, &files2); n != 4 {
		t.Fatal(err)
	}
	if threads > maxThreads || threads2 > maxThreads || files > 4*workers+8 || files2 > 0 {
		t.Errorf("threads %d, then %d; descriptors %d, then %d", threads, threads2, files, files2)
	}
}

// Many cycles leave as many descriptors and goroutines as there were before.
func TestNothingAccumulates(t *testing.T) {
	rec := newRecorder()
	cycle := func() {
		s := newServer(t, Options{Dir: t.TempDir(), Output: rec.output, Resources: map[string]Resource{
			"r": fakeResource{func(int) ([]*os.File, []string, io.Closer, error) {
				f, err := os.Open("/dev/null")
				return []*os.File{f}, nil, nil, err
			}}}})
		run(t, s, Spec{Func: good, Workers: 2})
		run(t, s, shell(3, "echo x; kill -9 $$"))
		start(t, s, Spec{Cmd: []string{"sleep", "600"}, Workers: 2})
		s.Start(context.Background(), Spec{Cmd: []string{"no-such-command"}, Workers: 2})
		s.Start(context.Background(), Spec{Cmd: []string{t.TempDir() + "/missing"}, Workers: 2})
		must(t, s.Close())
	}
	cycle()
	fds, routines := openFDs(t), runtime.NumGoroutine()
	n := 20
	if stress() {
		n = 1000
	}
	for range n {
		cycle()
	}
	eventually(t, fmt.Sprintf("descriptors back to %d, goroutines to %d", fds, routines), func() bool {
		return openFDs(t) <= fds && runtime.NumGoroutine() <= routines
	})
}

// cramped lives with a low limit on descriptors: it holds one worker, and tries to
// start more while the limit is lowered at various moments.
var _ = proctest.Helper("cramped", func(args []string) {
	fail := func(v ...any) { fmt.Println(append([]any{"FAILED:"}, v...)...); os.Exit(1) }
	clear := func(err error) {
		if !strings.Contains(err.Error(), "descriptor") && !strings.Contains(err.Error(), "too many open files") {
			fail("unclear:", err)
		}
	}
	low, _ := strconv.Atoi(args[1])
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	setLimit := func(n uint64) {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: limit.Max})
	}
	lowerAt := -1
	s, err := NewServer(Options{Run: "cramped", Dir: args[0], Resources: map[string]Resource{
		"r": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
			if rank == lowerAt {
				setLimit(uint64(low))
			}
			return nil, nil, nil, nil
		}}}})
	if err != nil {
		fail(err)
	}
	first, err := s.Start(context.Background(), Spec{Func: sleeper, Workers: 2})
	if err != nil {
		fail(err)
	}
	_, before := fileLimit()

	// From the beginning: the need is seen before anything is started, or a few fit.
	setLimit(uint64(low))
	for n := 1; n <= 64; n *= 4 {
		g, err := s.Start(context.Background(), Spec{Func: sleeper, Workers: n, StopTimeout: -1})
		if err != nil {
			clear(err)
		} else if err := g.Stop(context.Background()); err != nil {
			fail(err)
		}
	}
	// It comes down while workers are being started.
	for lowerAt = range 4 {
		setLimit(limit.Cur)
		g, err := s.Start(context.Background(), Spec{Func: sleeper, Workers: 4, StopTimeout: -1})
		if err != nil {
			clear(err)
		} else if err := g.Stop(context.Background()); err != nil {
			fail(err)
		}
	}
	if s2, err := NewServer(Options{Run: "another", Dir: args[0]}); err == nil {
		s2.Close()
	} else {
		clear(err)
	}
	setLimit(limit.Cur)
	if n := len(s.Workers()); n != 2 || first.Infos()[0].State != Running {
		fail("running workers were harmed:", s.Workers())
	}
	if _, after := fileLimit(); after > before {
		fail("descriptors before", before, "after", after)
	}
	if err := first.Stop(context.Background()); err != nil {
		fail(err)
	}
	for _, x := range first.Exits() {
		if x.Code != 0 && x.Signal != syscall.SIGTERM { // TERM: it had not come to Context
			fail(x)
		}
	}
	if err := s.Close(); err != nil {
		fail(err)
	}
	fmt.Println("fine")
})

// At any limit on descriptors there are clear errors, and those who run go on.
func TestDescriptorLimits(t *testing.T) {
	step := 9
	if stress() {
		step = 1
	}
	sem := make(chan struct{}, 2)
	var wg sync.WaitGroup
	for low := 10; low <= 200; low += step {
		cmd := proctest.Command(t, "cramped", t.TempDir(), strconv.Itoa(low))
		sem <- struct{}{}
		wg.Go(func() {
			defer func() { <-sem }()
			if out, err := cmd.Output(); string(out) != "fine\n" {
				t.Errorf("RLIMIT_NOFILE %d: %v: %s", low, err, out)
			}
		})
	}
	wg.Wait()
}

// What cannot fit is said before anything is started, with need and available.
func TestLimitsAreSaidBefore(t *testing.T) {
	s := newServer(t, Options{})
	_, err := s.Start(context.Background(), Spec{Cmd: []string{"true"}, Workers: MaxWorkers})
	limit, used := fileLimit()
	if limit > MaxWorkers*filesPerWorker+used+filesPerStart {
		t.Skipf("RLIMIT_NOFILE is %d", limit)
	}
	if le, ok := err.(*LimitError); !ok || le.Need < MaxWorkers || le.Available > limit || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
		t.Errorf("got %v", err)
	}
	for _, l := range taskLimits() {
		t.Logf("%s: %d available", l.what, l.available)
		if l.available < 10 || l.what == "" {
			t.Errorf("%+v is hardly right", l)
		}
	}
}

// A group that cannot be started for want of processes leaves nothing. Only a user
// who is not root is held to RLIMIT_NPROC: the helper becomes one.
func TestProcessLimit(t *testing.T) {
	cmd := proctest.Command(t, "fewprocs", t.TempDir())
	if os.Geteuid() == 0 {
		const uid = 60123
		dir, err := os.MkdirTemp("", "fewprocs")
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		exe, err := os.ReadFile("/proc/self/exe")
		must(t, err)
		cmd.Path, cmd.Dir = filepath.Join(dir, "test-binary"), "/"
		must(t, os.WriteFile(cmd.Path, exe, 0o755))
		must(t, os.Chmod(cmd.Path, 0o755))
		must(t, os.Chown(dir, uid, uid))
		cmd.Args[len(cmd.Args)-1] = filepath.Join(dir, "runtime")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := cmd.Output()
	if err != nil && len(out) == 0 && os.Geteuid() == 0 {
		t.Skip("cannot run as another user here: ", err)
	}
	if !strings.HasSuffix(string(out), "fine\n") {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

var _ = proctest.Helper("fewprocs", func(args []string) {
	s, err := NewServer(Options{Run: "few", Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// The runtime shall have its threads before there are none to be had.
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { unix.Poll(nil, 50) })
	}
	wg.Wait()
	used := uint64(userTasks(os.Getuid()))
	unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: used + 12, Max: used + 12})
	sleep := Spec{Cmd: []string{"sleep", "600"}, Workers: 40}
	_, err = s.Start(context.Background(), sleep)
	fmt.Println(err)
	if le, ok := err.(*LimitError); !ok || le.Need != 40+spareTasks {
		os.Exit(1)
	}
	sleep.Workers = countTasksFrom - 1
	_, err = s.Start(context.Background(), sleep)
	fmt.Println(err)
	if err == nil || !strings.Contains(err.Error(), "no more processes") || len(s.Workers()) > 0 {
		os.Exit(1)
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("fine")
})
