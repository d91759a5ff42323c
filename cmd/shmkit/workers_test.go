package main

import (
	"strings"
	"testing"
)

// Another process starts workers in a live run, resizes, waits for and stops them.
func TestWorkers(t *testing.T) {
	l := newLab(t)
	g, end := l.gate("gate"), l.gate("end")
	run := l.command("run", "--name", "r", "--log", "json:log", "--", "sh", "-c", "echo up > "+g.String()+"; read x < "+end.String()).start()
	g.arrive(run)
	if got := l.want("workers", "start", "--run", "r", "-n", "2", "--group", "extra", "--", "sleep", "1000"); got != "extra\n" {
		t.Errorf("start printed %q", got)
	}
	l.want("workers", "resize", "--run", "r", "extra", "3")
	if got := strings.Count(l.want("ps", "--run", "r"), "extra"); got != 3 {
		t.Errorf("ps lists %d workers of the group, want 3", got)
	}
	l.want("workers", "stop", "extra") // the only run
	if r := l.shmkit("workers", "wait", "extra"); r.code != 128+15 || strings.Count(r.stdout, "SIGTERM") != 3 {
		t.Errorf("wait: %+v", r)
	}
	l.want("workers", "start", "--group", "fine", "--", "true")
	l.want("workers", "wait", "fine")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"workers stop nobody", 1, `run "r" has no group "nobody": see shmkit ps`},
		{"workers resize extra x", 2, "give a number from 1"},
		{"workers start", 2, "COMMAND is missing"},
		{"workers start -- no-such-program", 1, `command "no-such-program"`},
		{"workers fly", 2, "unknown command"},
	} {
		if r := l.shmkit(strings.Fields(c.args)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("shmkit %s: %+v, want code %d and %q", c.args, r, c.code, c.want)
		}
	}
	end.open(t)
	if r := run.wait(); r.code != 0 {
		t.Errorf("run: %+v", r)
	}
}
