package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// A second run is refused the file that the first one writes, and told who that is;
// when the file was moved away, SIGUSR1 makes the first one go on in a new one.
func TestOneRunAFile(t *testing.T) {
	l := newLab(t)
	here, turn := l.gate("here"), l.gate("turn")
	run := l.command("run", "--log", "json:out.jsonl", "--", "sh", "-c", "echo one; echo x > here; read x < turn; while [ ! -e out.jsonl ]; do echo again; sleep 0.01; done; echo two").start()
	here.arrive(run)
	for _, sink := range []string{"json:out.jsonl", "text:./out.jsonl"} {
		r := l.shmkit("run", "--log", "json:other.jsonl", "--log", sink, "--", "true")
		if r.code != 1 {
			t.Errorf("%+v", r)
		}
		oneLineError(t, r.stderr, sink, fmt.Sprintf("process %d", run.Process.Pid), "choose another path")
	}
	l.absent("other.jsonl")
	for len(l.records("out.jsonl")) == 0 { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	if err := os.Rename(l.path("out.jsonl"), l.path("old.jsonl")); err != nil {
		t.Fatal(err)
	}
	run.signal(syscall.SIGUSR1)
	turn.open(t)
	if r := run.wait(); r.code != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	old, out := l.records("old.jsonl"), l.records("out.jsonl")
	if old[0].Msg != "one" || out[len(out)-1].Msg != "two" {
		t.Errorf("old %+v, new %+v", old, out)
	}
	if r := l.shmkit("run", "--log", "json:out.jsonl", "--", "true"); r.code != 0 {
		t.Errorf("after the first run: %+v", r)
	}
}
