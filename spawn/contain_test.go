//go:build linux

package spawn

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// runaway is a script that leaves processes behind in all ways it can: in the process
// group, in a session of their own, orphaned twice, deaf to signals. It prints their
// pids and waits.
const runaway = `
sleep 600 >/dev/null 2>&1 &
setsid sleep 600 >/dev/null 2>&1 &
setsid sh -c 'trap "" TERM HUP INT; (setsid sleep 600 >/dev/null 2>&1 &) ; sleep 600' >/dev/null 2>&1 &
sleep 0.05
echo ready
sleep 600`

// breeder runs a server with runaways until it is killed.
var _ = proctest.Helper("breeder", func(args []string) {
	want, _ := strconv.Atoi(args[1])
	s, err := NewServer(Options{Run: "breeder", Dir: args[0], Contain: Containment(want), Output: func(_ string, _, _ int, _ string, line []byte, _ bool) {
		fmt.Println(string(line))
	}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(uint(s.Containment()))
	if _, err := s.Start(context.Background(), shell(2, runaway)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {}
})

// When the server is killed, none of its processes is alive a second later, wherever
// they went, by each of the means that promise it.
func TestKilledServerLeavesNobody(t *testing.T) {
	trials := 2
	if stress() {
		trials = 334
	}
	for _, want := range []Containment{ContainGuardian, ContainGuardian | ContainCgroup, ContainNamespace} {
		t.Run(want.String(), func(t *testing.T) {
			for range trials {
				killBreeder(t, want)
			}
		})
	}
}

func killBreeder(t *testing.T, want Containment) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	cmd := proctest.Command(t, "breeder", dir, fmt.Sprint(uint(want)))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Scan()
	have, err := strconv.Atoi(lines.Text())
	must(t, err)
	if Containment(have)&want != want {
		cmd.Process.Kill()
		cmd.Wait()
		t.Skipf("asked for %v, there is %v here", want, Containment(have))
	}
	lines.Scan()
	lines.Scan()
	eventually(t, "all are there", func() bool { return len(ofRun(dir)) >= 10 })
	must(t, cmd.Process.Kill())
	killed := time.Now()
	cmd.Wait()
	eventually(t, "nobody is left", func() bool { return len(ofRun(dir)) == 0 })
	if d := time.Since(killed); d > time.Second {
		t.Logf("the last one was gone after %v", d)
		if !busyMachine() {
			t.Errorf("more than a second")
		}
	}
}

// busyMachine reports whether a time limit would say more about the machine.
func busyMachine() bool {
	b, _ := os.ReadFile("/proc/loadavg")
	load, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
	return load > 2
}

// ofRank counts the living processes of a rank.
func ofRank(dir string, rank int) (n int) {
	for _, pid := range ofRun(dir) {
		b, _ := os.ReadFile("/proc/" + pid + "/environ")
		if strings.Contains(string(b), fmt.Sprintf("\x00SHMKIT_RANK=%d\x00", rank)) {
			n++
		}
	}
	return n
}

// What a worker leaves behind ends with the worker, while the others' lives on; and the
// program's own children are no business of the server's.
func TestOrphansEndWithTheirWorker(t *testing.T) {
	rec := newRecorder()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	s := newServer(t, Options{Dir: dir, Output: rec.output, Contain: ContainSubreaper})
	if s.Containment()&ContainSubreaper == 0 {
		t.Skip("no subreaper here")
	}
	own := exec.Command("setsid", "sleep", "600")
	must(t, own.Start())
	defer own.Wait()
	defer own.Process.Kill()
	spec := shell(2, runaway)
	g := start(t, s, spec)
	for rank := range 2 {
		rec.waitFor(t, fmt.Sprintf("sh/%d/stdout", rank), 1)
	}
	eventually(t, "all are there", func() bool { return ofRank(dir, 0) >= 5 && ofRank(dir, 1) >= 5 })
	must(t, syscall.Kill(g.Infos()[0].Pid, syscall.SIGKILL))
	eventually(t, "its processes are gone", func() bool { return ofRank(dir, 0) == 0 })
	if n := ofRank(dir, 1); n < 5 {
		t.Errorf("%d processes of the other worker are left", n)
	}
	if !alive(own.Process.Pid) || g.Infos()[1].State != Running {
		t.Error("somebody else was killed")
	}
	must(t, g.Stop(context.Background()))
	eventually(t, "all are gone", func() bool { return len(ofRun(dir)) == 0 })
	must(t, s.Close())
	for _, pid := range ownChildren() {
		if pid != own.Process.Pid {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			t.Errorf("a child is left: %s", b)
		}
	}
}

// Close ends what a guardian would, and the guardian; the means say their names.
func TestCloseEndsRunaways(t *testing.T) {
	for _, want := range []Containment{ContainGuardian, ContainCgroup, ContainNamespace, ContainWell} {
		rec := newRecorder()
		dir, err := filepath.EvalSymlinks(t.TempDir())
		must(t, err)
		s := newServer(t, Options{Dir: dir, Output: rec.output, Contain: want})
		have := s.Containment()
		if have&want != want {
			t.Logf("asked for %v, there is %v here", want, have)
			continue
		}
		start(t, s, shell(1, runaway))
		rec.waitFor(t, "sh/0/stdout", 1)
		must(t, s.Close())
		eventually(t, fmt.Sprintf("all are gone with %v", want), func() bool { return len(ofRun(dir)) == 0 })
	}
	if s := (ContainParentDeath | ContainWell).String(); s != "parent-death,subreaper,guardian,cgroup" {
		t.Error(s)
	}
}

// In a namespace workers are workers like others.
func TestNamespaceWorkers(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output, Contain: ContainNamespace})
	if s.Containment()&ContainNamespace == 0 {
		t.Skip("no namespace here")
	}
	for _, x := range append(run(t, s, shell(3, "exit 3")), run(t, s, shell(2, "exit 3"))...) {
		if x.Code != 3 {
			t.Errorf("%+v", x)
		}
	}
	g := start(t, s, Spec{Func: tidy, Workers: 2, StopTimeout: time.Hour})
	rec.waitFor(t, "tidy/1/stdout", 1)
	rec.waitFor(t, "tidy/0/stdout", 1)
	must(t, g.Stop(context.Background()))
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// Workers that end at once keep their exit status, though every end makes the server
// look for orphans. Shown to fail without the lock around a start.
func TestShortWorkersAreNoOrphans(t *testing.T) {
	s := newServer(t, Options{Contain: ContainSubreaper})
	if s.Containment()&ContainSubreaper == 0 {
		t.Skip("no subreaper here")
	}
	rounds := 100
	if stress() {
		rounds = 2000
	}
	for range rounds {
		for _, x := range run(t, s, shell(4, "exit $((SHMKIT_RANK + 3))")) {
			if x.Code != x.Rank+3 {
				t.Fatalf("worker %d: %d, %s", x.Rank, x.Code, x.Message)
			}
		}
	}
}
