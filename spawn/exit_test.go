//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Every code and every deadly signal is reported as what it was.
func TestExitCodesAndSignals(t *testing.T) {
	s := newServer(t, Options{})
	codes := []int{0, 1, 2, 3, 42, 69, 126, 127, 128, 137, 254, 255}
	signals := []syscall.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT,
		syscall.SIGBUS, syscall.SIGFPE, syscall.SIGKILL, syscall.SIGUSR1, syscall.SIGSEGV, syscall.SIGUSR2,
		syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGTERM, syscall.SIGSTKFLT, syscall.SIGXCPU, syscall.SIGXFSZ,
		syscall.SIGVTALRM, syscall.SIGPROF, syscall.SIGIO, syscall.SIGPWR, syscall.SIGSYS, 34, 64,
	}
	spec := Spec{Cmd: []string{"sh", "-c", `shift "$SHMKIT_RANK"; case $1 in s*) ulimit -c 0; kill -"${1#s}" $$; sleep 600;; esac; exit "$1"`, "sh"}}
	for _, c := range codes {
		spec.Cmd = append(spec.Cmd, strconv.Itoa(c))
	}
	for _, sig := range signals {
		spec.Cmd = append(spec.Cmd, "s"+strconv.Itoa(int(sig)))
	}
	spec.Workers = len(codes) + len(signals)
	rounds := 1
	if stress() {
		rounds = 10_000 / spec.Workers
	}
	for range rounds {
		checkExits(t, run(t, s, spec), codes, signals)
	}
}

func checkExits(t *testing.T, exits []Exit, codes []int, signals []syscall.Signal) {
	for _, x := range exits {
		if x.Rank < len(codes) {
			if want := codes[x.Rank]; x.Code != want || x.Signal != 0 {
				t.Errorf("code %d reported as %s (%d)", want, x.Cause(), x.Code)
			}
		} else if want := signals[x.Rank-len(codes)]; x.Code != 128+int(want) || x.Signal != want {
			t.Errorf("signal %d reported as %s (%d)", int(want), x.Cause(), x.Code)
		}
		if x.Pid <= 0 || x.Started.IsZero() || x.Ended.Before(x.Started) || x.MaxRSS <= 0 || x.Stopped || x.Core {
			t.Errorf("odd: %+v", x)
		}
	}
}

// The error of Wait says who died and why, in one line, and can be taken apart.
func TestWaitSaysWhoAndWhy(t *testing.T) {
	s := newServer(t, Options{})
	g := start(t, s, Spec{Group: "count", Workers: 4, Cmd: []string{"sh", "-c",
		`case $SHMKIT_RANK in 3) echo "first" >&2; printf 'disk is "full"' >&2; kill -9 $$;; esac`}})
	err := g.Wait()
	pid := g.Exits()[3].Pid
	want := fmt.Sprintf(`spawn: worker 3 (pid %d) of group "count": killed by signal 9 (SIGKILL); last stderr: "disk is \"full\""`, pid)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var ee *ExitError
	if !errors.As(err, &ee) || len(ee.Exits) != 1 || ee.Code() != 137 || ee.Size != 4 {
		t.Errorf("%+v", ee)
	} else if got := ee.Exits[0].Stderr; !slices.Equal(got, []string{"first", `disk is "full"`}) {
		t.Errorf("stderr %q", got)
	}

	err = start(t, s, shell(20, "exit 3")).Wait()
	if n := strings.Count(err.Error(), "exited with code 3"); n != maxListed || !strings.Contains(err.Error(), "20 of 20 workers of group \"sh\" failed") || !strings.HasSuffix(err.Error(), "and 12 more") {
		t.Errorf("20 dead workers: %v", err)
	}
	if err := start(t, s, shell(3, "exit 0")).Wait(); err != nil {
		t.Errorf("no dead worker: %v", err)
	}
	if got := run(t, s, shell(1, `i=0; while [ $i -lt 100 ]; do echo $i >&2; i=$((i+1)); done`))[0].Stderr; len(got) != tailLines || got[0] != "80" || got[19] != "99" {
		t.Errorf("the tail of 100 lines: %q", got)
	}
}

var failer = workerFunc("failer", func(c *Child) {
	c.Fail("superseded")
	c.Fail("cannot open \"x\"\n" + strings.Repeat("y", 2*maxFail))
	os.Exit(4)
})

// What the worker says itself arrives, also when it exits at once.
func TestFailMessage(t *testing.T) {
	s := newServer(t, Options{})
	for _, x := range run(t, s, Spec{Func: failer, Workers: 8}) {
		if x.Code != 4 || !strings.HasPrefix(x.Message, "cannot open \"x\"\ny") || len(x.Message) != maxFail {
			t.Errorf("code %d, message of %d bytes %.30q", x.Code, len(x.Message), x.Message)
		}
	}
}

// Other code of the process that waits for our child (wait4(-1) in some library)
// costs the exit code, and says so. It costs nothing else: no hang, and no signal
// to a process group that may be a stranger's by then.
func TestStolenStatus(t *testing.T) {
	set(t, &linger, 0)
	hold := make(chan struct{})
	s := newServer(t, Options{Output: func(string, int, int, string, []byte, bool) { <-hold }})
	g := start(t, s, shell(1, "echo; exit 3"))
	pid := g.Infos()[0].Pid
	var ws syscall.WaitStatus
	if got, err := syscall.Wait4(pid, &ws, 0, nil); got != pid || ws.ExitStatus() != 3 {
		t.Fatalf("could not steal: %d, %v, %v", got, ws, err)
	}
	close(hold)
	if err := g.Wait(); err == nil || !strings.Contains(err.Error(), "exit status lost") || g.Exits()[0].Code != -1 {
		t.Errorf("got %v", err)
	}
}

// Stop is TERM to the process groups, then KILL at the deadline, for all workers
// at the same time; the stopped and the ignoring are reached as well.
func TestStop(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	ready := func(g *Group) {
		for rank := range g.Size() {
			rec.waitFor(t, fmt.Sprintf("%s/%d/stdout", g.Name(), rank), 1)
		}
	}
	check := func(g *Group, sig syscall.Signal) {
		t.Helper()
		must(t, g.Stop(context.Background()))
		for _, x := range g.Exits() {
			if x.Signal != sig || !x.Stopped {
				t.Errorf("%s (stopped: %v), want signal %d", x, x.Stopped, int(sig))
			}
		}
		if len(g.Exits()) != g.Size() {
			t.Errorf("%d exits of %d", len(g.Exits()), g.Size())
		}
		for _, i := range g.Infos() {
			if i.State != Exited {
				t.Errorf("worker %d is %s", i.Rank, i.State)
			}
		}
	}
	polite := shell(4, "echo; exec sleep 600")
	polite.Group, polite.StopTimeout = "polite", time.Hour
	g := start(t, s, polite)
	ready(g)
	check(g, syscall.SIGTERM)
	must(t, g.Stop(context.Background())) // nothing left to do

	stubborn := shell(4, "trap '' TERM; echo; while :; do sleep 600; done")
	stubborn.Group, stubborn.StopTimeout = "stubborn", 50*time.Millisecond
	g = start(t, s, stubborn)
	ready(g)
	check(g, syscall.SIGKILL)

	stubborn.Group, stubborn.StopTimeout = "impatient", -1
	g = start(t, s, stubborn)
	ready(g)
	check(g, syscall.SIGKILL)

	stubborn.Group, stubborn.StopTimeout = "cancelled", time.Hour
	g = start(t, s, stubborn)
	ready(g)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	must(t, g.Stop(ctx))

	// A process that was stopped takes notice of TERM when it goes on: it is made
	// to, well before the deadline.
	frozen := shell(1, "kill -STOP $$; sleep 600")
	frozen.Group, frozen.StopTimeout = "frozen", time.Hour
	g = start(t, s, frozen)
	pid := g.Infos()[0].Pid
	eventually(t, "it is stopped", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return strings.Contains(string(b), ") T ")
	})
	check(g, syscall.SIGTERM)

	// However often it is asked for, TERM is sent once: a second one would end a
	// worker that is about to end in order.
	g = start(t, s, Spec{Func: tidy, Workers: 2, StopTimeout: time.Hour})
	ready(g)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { g.Stop(context.Background()) })
	}
	wg.Wait()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// tidy takes its time to end.
var tidy = workerFunc("tidy", func(c *Child) {
	ctx := c.Context()
	fmt.Println("ready")
	<-ctx.Done()
	time.Sleep(50 * time.Millisecond)
})

func TestSignal(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	g := start(t, s, Spec{Group: "g", Workers: 2, Cmd: []string{"sh", "-c", `trap 'echo usr1' USR1; echo ready; while :; do sleep 0.01; done`}})
	for _, key := range []string{"g/0/stdout", "g/1/stdout"} {
		rec.waitFor(t, key, 1)
	}
	must(t, g.Signal(syscall.SIGUSR1))
	for _, key := range []string{"g/0/stdout", "g/1/stdout"} {
		if got := rec.waitFor(t, key, 2); got[1] != "usr1" {
			t.Errorf("%s: %q", key, got)
		}
	}
	must(t, g.Signal(syscall.SIGKILL))
	g.Wait()
	if err := g.Signal(syscall.SIGUSR1); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to nobody: %v", err)
	}
}

// The rest of a worker's process group does not outlive it.
func TestProcessGroupEndsWithWorker(t *testing.T) {
	set(t, &linger, 20*time.Millisecond)
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	// One holds the output, one does not; one ignores TERM.
	g := start(t, s, shell(1, `sleep 600 & echo $!; sleep 600 >/dev/null 2>&1 & echo $!; (trap '' TERM; exec sleep 600) & echo $!; exit 5`))
	if err := g.Wait(); g.Exits()[0].Code != 5 {
		t.Error(err)
	}
	for _, line := range rec.get("sh/0/stdout") {
		pid, err := strconv.Atoi(line)
		must(t, err)
		waitGone(t, pid)
	}
	if n := len(rec.get("sh/0/stdout")); n != 3 {
		t.Errorf("%d background processes", n)
	}
}
