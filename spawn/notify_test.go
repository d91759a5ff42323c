//go:build linux

package spawn

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// notifying is a Python program that says what it is told to and stays.
const notifying = `
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
for word in sys.argv[1:]:
    s.send(word.replace(";", "\n").encode())
time.sleep(600)
`

// A command is ready when it says so as sd_notify(3) does, and one that says other
// things is not.
func TestCommandReadiness(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	s := newServer(t, Options{})
	spec := Spec{Workers: 3, ReadyTimeout: patienceOfTests, StopTimeout: -1}
	spec.Cmd = []string{python, "-c", notifying, "STATUS=warming up", "READY=1;STATUS=ready"}
	g := start(t, s, spec)
	if len(pids(g)) != 3 {
		t.Errorf("not all are ready after Start: %+v", g.Infos())
	}
	must(t, g.Reload(context.Background(), Reload{}))
	if len(pids(g)) != 3 {
		t.Errorf("not all are ready after Reload: %+v", g.Infos())
	}
	spec.Workers, spec.ReadyTimeout = 1, time.Second
	spec.Cmd = []string{python, "-c", notifying, "READY=0", "XREADY=1", "", "READY=11", "STATUS=READY=1"}
	_, err = s.Start(context.Background(), spec)
	var nr *NotReadyError
	if !errors.As(err, &nr) {
		t.Errorf("one that does not say so: %v", err)
	}
	if len(pids(g)) != 3 {
		t.Errorf("the others: %+v", g.Infos())
	}
	long := newServer(t, Options{Dir: t.TempDir() + "/", Run: strings.Repeat("x", 64)})
	if len(long.Dir()) > maxAddress-len("/notify") {
		if _, err := long.Start(context.Background(), spec); err == nil || !strings.Contains(err.Error(), "too long for the name of a socket") {
			t.Errorf("a path that is too long: %v", err)
		}
	}
}

// A worker that is ready before the server knows its number is ready all the same.
func TestEarlyReadiness(t *testing.T) {
	s := newServer(t, Options{})
	_, err := s.notifyAt()
	must(t, err)
	const pid = 1 << 30 // of nobody
	s.notices.ready(pid)
	w := &worker{pid: pid, ready: make(chan struct{})}
	s.started(w)
	if !w.isReady {
		t.Error("a worker that was early is not ready")
	}
	if s.notices.wasEarly(pid) {
		t.Error("the next one of that number is taken for ready")
	}
	s.over(w)
}
