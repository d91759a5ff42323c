package main

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What the workers are given is in force in them.
func TestRunGivesWorkers(t *testing.T) {
	for _, c := range []struct{ name, flags, script, want string }{
		{"umask", "--umask 027", "umask", "0027"},
		{"nice", "--nice 3", "nice", ""},
		{"limit", "--limit nofile=77 --limit core=0", "ulimit -n; ulimit -c", "77 0"},
		{"pty", "--pty", "test -t 1 && test -t 2 && echo both", "both"},
		{"no pty", "", "test -t 1 || echo none", "none"},
		{"cpus", "--cpus compact", "echo $GOMAXPROCS $OMP_NUM_THREADS", "1 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			args := append([]string{"run", "--log", "json:out.jsonl"}, strings.Fields(c.flags)...)
			l.want(append(args, "--", "sh", "-c", c.script)...)
			if c.name == "nice" {
				prio, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
				if err != nil {
					t.Fatal(err)
				}
				c.want = strconv.Itoa(min(19, 20-prio+3))
			}
			got, _ := captured(l.records("out.jsonl"))
			if s := strings.Join(got["0/stdout"], " "); s != c.want {
				t.Errorf("%s: %q, want %q", c.flags, s, c.want)
			}
		})
	}
}

// A worker that fails is started again, alone or with the others.
func TestRunRestarts(t *testing.T) {
	for _, c := range []struct {
		flags string
		want  string // lines of the marks file, one for each start
	}{
		{"--restart never", "0 1"},
		{"--restart on-failure", "0 0 1"},
		{"--restart on-failure --restart-strategy one-for-all", "0 0 1 1"},
	} {
		t.Run(c.flags, func(t *testing.T) {
			l := newLab(t)
			g := l.gate("gate")
			// Rank 1 is there before rank 0 fails, and stays until told.
			script := `echo $SHMKIT_RANK >> starts
if [ $SHMKIT_RANK = 0 ]; then
	while [ $(grep -c 1 starts) = 0 ]; do sleep 0.01; done
	if [ $(grep -c 0 starts) = 1 ]; then exit 3; fi
	if [ "$MODE" = all ]; then while [ $(grep -c 1 starts) = 1 ]; do sleep 0.01; done; fi
	echo done > ` + g.String() + `
else
	trap 'exit 0' TERM
	while ! [ -e over ]; do sleep 0.01; done
fi`
			if strings.Contains(c.flags, "all") {
				script = "MODE=all\n" + script
			}
			cmd := l.command(append(append([]string{"run", "-n", "2", "--log", "json:out.jsonl"}, strings.Fields(c.flags)...),
				"--", "sh", "-c", script)...).start()
			if !strings.Contains(c.flags, "never") {
				g.arrive(cmd)
			}
			l.write("over", "")
			r := cmd.wait()
			if want := map[bool]int{true: 3, false: 0}[strings.Contains(c.flags, "never")]; r.code != want {
				t.Errorf("exit code %d, want %d; %s", r.code, want, r.stderr)
			}
			b, err := os.ReadFile(l.path("starts"))
			if err != nil {
				t.Fatal(err)
			}
			if got := sorted(strings.Fields(string(b))); got != c.want {
				t.Errorf("started: %s, want %s", got, c.want)
			}
		})
	}
}

// A secret is in the configuration and not in its prints; the crash directory is
// made, and holds nothing when all was written; a stop signal stops the run.
func TestRunSecretCrashDirStopSignal(t *testing.T) {
	l := newLab(t)
	g := l.gate("gate")
	c := l.command("run", "--name", "kept", "--set", "db.password=hunter2", "--secret", "*.password", "--grant", "db.*",
		"--crash-dir", "crash", "--stop-signal", "USR2", "--log", "json:out.jsonl",
		"--", "sh", "-c", "echo here > "+g.String()+"; exec sleep 600").start()
	g.arrive(c)
	if out := l.want("config", "get", "--run", "kept"); strings.Contains(out, "hunter2") || !strings.Contains(out, "password") {
		t.Errorf("config get prints %s", out)
	}
	c.signal(syscall.SIGUSR2)
	if r := c.wait(); r.code != 143 {
		t.Errorf("exit code %d after the stop signal; %s", r.code, r.stderr)
	}
	if segments, err := os.ReadDir(l.path("crash")); err != nil || len(segments) != 0 {
		t.Errorf("left in the crash directory: %v, %v", segments, err)
	}
}

// A worker that is not ready in time fails the start, by name.
func TestRunReady(t *testing.T) {
	l := newLab(t)
	r := l.shmkit("run", "--ready", "300ms", "--log", "json:out.jsonl", "--", "sleep", "600")
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	oneLineError(t, r.stderr, `"sleep"`, "not ready within 300ms", "NOTIFY_SOCKET")
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	// Before it ends, it waits until what it said was taken, as sd_notify_barrier(3) does.
	l.want("run", "--ready", "1m", "--log", "json:out.jsonl", "--", "python3", "-c", `
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
r, w = os.pipe()
socket.send_fds(s, [b"BARRIER=1"], [w])
os.close(w)
os.read(r, 1)`)
}

func sorted(words []string) string {
	slices.Sort(words)
	return strings.Join(words, " ")
}
