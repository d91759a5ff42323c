package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ready is a worker's word at the gate, in a script.
const ready = `echo "$SHMKIT_RANK" > %[1]q
`

// A worker that obeys: it says goodbye and ends with 0, and so does the run.
func TestStopSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		l := newLab(t)
		g := l.gate("gate")
		c := l.command("run", "-n", "2", "--log", "json:out.jsonl", "--", "sh", "-c",
			`trap 'echo goodbye; printf end; exit 0' TERM
`+fmt.Sprintf(ready, g)+`while :; do sleep 1; done`).start()
		for range 2 {
			g.arrive(c)
		}
		c.signal(sig)
		r := c.wait()
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%v: exit code %d, stderr %q", sig, r.code, r.stderr)
		}
		got, _ := captured(l.records("out.jsonl"))
		for rank := range 2 {
			if lines := got[fmt.Sprintf("%d/stdout", rank)]; fmt.Sprint(lines) != "[goodbye end]" {
				t.Errorf("%v: worker %d wrote %q", sig, rank, lines)
			}
		}
	}
}

// A worker that ends by the signal that stopped it is no surprise: no message,
// but its exit code counts.
func TestStoppedWorkersAreNotNews(t *testing.T) {
	l := newLab(t)
	g := l.gate("gate")
	c := l.command("run", "--", "sh", "-c", fmt.Sprintf(ready, g)+`exec sleep 1000`).start()
	g.arrive(c)
	c.signal(syscall.SIGTERM)
	if r := c.wait(); r.code != 143 || r.stderr != "" {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
}

// ignores is a worker that does not obey, with a child that does not either.
const ignores = `trap '' TERM INT
sh -c 'trap "" TERM INT; while :; do sleep 1; done' &
echo before
` + ready + `while :; do sleep 1; done`

func TestDeadlineKills(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		l := newLab(t)
		g := l.gate("gate")
		c := l.command("run", "-n", "2", "--stop-timeout", "300ms", "--log", "json:out.jsonl", "--",
			"sh", "-c", fmt.Sprintf(ignores, g)).start()
		for range 2 {
			g.arrive(c)
		}
		c.signal(sig)
		r := c.wait()
		if r.code != 137 {
			t.Errorf("%v: exit code %d", sig, r.code)
		}
		oneLineError(t, r.stderr, "2 of 2 workers", "killed by signal 9")
		got, _ := captured(l.records("out.jsonl"))
		if fmt.Sprint(got["0/stdout"], got["1/stdout"]) != "[before] [before]" {
			t.Errorf("%v: workers wrote %q", sig, got)
		}
	}
}

// The second interrupt kills at once: the deadline is an hour away, so that the
// end of this test shows it. A second SIGTERM does nothing.
func TestSecondInterruptKills(t *testing.T) {
	l := newLab(t)
	g := l.gate("gate")
	heard := l.gate("heard")
	c := l.command("run", "--stop-timeout", "1h", "--", "sh", "-c",
		fmt.Sprintf(`trap 'echo heard > %q' TERM
`, heard)+fmt.Sprintf(ready, g)+`while :; do sleep 0.05; done`).start()
	g.arrive(c)
	c.signal(syscall.SIGTERM)
	heard.arrive(c) // the worker was told, and goes on
	c.signal(syscall.SIGTERM)
	select {
	case <-c.done:
		t.Fatal("a second SIGTERM ended the run")
	default:
	}
	c.signal(syscall.SIGINT)
	if r := c.wait(); r.code != 137 {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
}

// A stop timeout of 0 does not ask.
func TestNoPatience(t *testing.T) {
	l := newLab(t)
	g := l.gate("gate")
	c := l.command("run", "--stop-timeout", "0s", "--", "sh", "-c", fmt.Sprintf(ignores, g)).start()
	g.arrive(c)
	c.signal(syscall.SIGINT)
	if r := c.wait(); r.code != 137 {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
}

// When nobody reads standard output any more, the run ends instead of writing
// for ever.
func TestClosedOutput(t *testing.T) {
	l := newLab(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := l.command("run", "-n", "2", "--", "sh", "-c", "while :; do echo y; sleep 0.01; done")
	c.Cmd.Stdout = w
	c.start()
	w.Close()
	buf := make([]byte, 1)
	if _, err := r.Read(buf); err != nil {
		t.Error(err)
	}
	r.Close()
	if res := c.wait(); res.code != 143 || strings.Count(res.stderr, "\n") > 1 {
		t.Errorf("exit code %d, stderr %q", res.code, res.stderr)
	}
}

// The node dies without a word: its workers die, too, and the name is free
// again.
func TestKilledNode(t *testing.T) {
	l := newLab(t)
	g := l.gate("gate")
	c := l.command("run", "-n", "2", "--name", "again", "--", "sh", "-c", fmt.Sprintf(ready, g)+`exec sleep 1000`).start()
	for range 2 {
		g.arrive(c)
	}
	c.signal(syscall.SIGKILL)
	if r := c.wait(); r.code != 137 {
		t.Errorf("exit code %d", r.code)
	}
	l.want("run", "--name", "again", "--", "true")
}

// Ctrl-C reaches the whole foreground process group: the workers are not in it
// and end in the order that shmkit tells them.
func TestWorkersAreNotInOurProcessGroup(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("needs ps")
	}
	l := newLab(t)
	out := l.want("run", "-n", "2", "--", "sh", "-c", `ps -o pgid= -p $$; ps -o pgid= -p $PPID`)
	f := strings.Fields(out)
	if len(f) < 4 {
		t.Fatalf("%q", out)
	}
	groups := map[string]bool{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		groups[f[len(f)-1]] = true
	}
	if len(groups) != 3 {
		t.Errorf("process groups %v, want one for each worker and shmkit's: %s", groups, out)
	}
}

// Standard output is a pipe that is open and never read: the last records cannot
// be written. Interrupts end even that.
func TestInterruptsEndAStuckFlush(t *testing.T) {
	l := newLab(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	c := l.command("run", "--name", "stuck", "--", "sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x")
	c.Cmd.Stdout = w
	c.start()
	buf := make([]byte, 1)
	if _, err := r.Read(buf); err != nil { // signals are watched from here on
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
			c.Process.Signal(syscall.SIGINT)
		case <-c.done:
			running = false
		}
	}
	res := c.wait()
	if res.code != 130 {
		t.Errorf("exit code %d", res.code)
	}
	oneLineError(t, res.stderr, "interrupted again")
	l.want("ps") // tidies up after a node that could not
}
