package main

import (
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"shmkit/logring"
)

// This binary is also a node that is killed before it has written anything: see
// TestSalvage.
func init() {
	dir := os.Getenv("SHMKIT_TEST_CRASH")
	if dir == "" {
		return
	}
	c, err := logring.NewCollector(logring.CollectorOptions{CrashDir: dir, Sinks: []logring.Sink{stuckSink{}}})
	if err != nil {
		panic(err)
	}
	files, words, _, err := c.Donate("job", 3, 4)
	if err != nil {
		panic(err)
	}
	w, err := logring.Attach(files, words, nil)
	if err != nil {
		panic(err)
	}
	slog.New(w.Handler(nil)).Info("left behind", "n", 1)
	slog.New(w.Handler(nil)).Info("and this", "n", 2)
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

type stuckSink struct{}

func (stuckSink) Write([]logring.Record) error { select {} }
func (stuckSink) Sync() error                  { return nil }
func (stuckSink) Close() error                 { return nil }

// What a killed node had not written is printed, as often as it is kept, and once
// more when it is not; a device that is full keeps it, too.
func TestSalvage(t *testing.T) {
	l := newLab(t)
	crash := exec.Command(os.Args[0])
	crash.Env = append(l.env(), "SHMKIT_TEST_CRASH="+l.path("crash"))
	if out, err := crash.CombinedOutput(); err == nil || len(out) > 0 {
		t.Fatalf("the node was to be killed: %v %s", err, out)
	}
	check := func(r result, code int, lines int, says, account string) {
		t.Helper()
		if r.code != code || strings.Count(r.stdout, "\n") != lines || !strings.Contains(r.stdout, says) || !strings.Contains(r.stderr, account) {
			t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	const json = `"msg":"left behind","group":"job","worker":3,`
	check(l.shmkit("salvage", "--format", "json", "--keep", "crash"), 0, 2, json, "2 records of 1 workers")
	check(l.shmkit("salvage", "--keep", "crash"), 0, 2, `msg="and this" group=job worker=3`, "2 records of 1 workers")
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil {
		defer full.Close()
		c := l.command("salvage", "crash")
		c.Cmd.Stdout = full
		check(c.start().wait(), 1, 0, "", "no space left on device: the files are left in crash")
	}
	check(l.shmkit("salvage", "--format", "json", "crash"), 0, 2, `"salvaged":true`, "2 records of 1 workers")
	check(l.shmkit("salvage", "crash"), 0, 0, "", "0 records of 0 workers")
}
