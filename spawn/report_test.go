//go:build linux

package spawn

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A SIGKILL nobody here sent, with one more on the kernel's count, is one for want of
// memory; the next one, without, is not.
func TestOutOfMemory(t *testing.T) {
	s := newServer(t, Options{})
	if n, ok := oomKills(); ok {
		t.Logf("%d kills so far", n)
	}
	kills := uint64(7)
	s.oom = &oomWatch{read: func() (uint64, bool) { return kills, true }, claimed: 7, ok: true}
	die := shell(1, "kill -9 $$")
	if x := run(t, s, die)[0]; x.OOM || strings.Contains(x.Cause(), "memory") {
		t.Errorf("%+v", x)
	}
	kills++
	if x := run(t, s, shell(1, "exit 137"))[0]; x.OOM {
		t.Errorf("an exit code: %+v", x)
	}
	if x := run(t, s, die)[0]; !x.OOM || x.Cause() != "killed by signal 9 (SIGKILL, out of memory)" {
		t.Errorf("%s", x)
	}
	if x := run(t, s, die)[0]; x.OOM {
		t.Errorf("claimed twice: %s", x)
	}

	file := filepath.Join(t.TempDir(), "events")
	must(t, os.WriteFile(file, []byte("low 0\noom 3\noom_kill 42\noom_group_kill 0\n"), 0o644))
	if n, ok := readCount(file, "oom_kill"); n != 42 || !ok {
		t.Errorf("%d, %v", n, ok)
	}
	if _, ok := readCount(file, "oom_killed"); ok {
		t.Error("found what is not there")
	}
}

// An Exit in a log record has its fields, and its text the reason.
func TestExitAsRecord(t *testing.T) {
	now := time.Now()
	x := Exit{Group: "g", Rank: 3, Pid: 77, Code: 137, Signal: syscall.SIGKILL, Reason: ReasonStalled, Stderr: []string{"a", "b c"},
		Beats: 9, LastBeat: now, Started: now, Ended: now.Add(time.Second), MaxRSS: 4096, Message: "m"}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Warn("worker ended", "worker", x)
	for _, want := range []string{"worker.group=g", "worker.rank=3", "worker.pid=77", "worker.exit=137", `worker.cause="killed by signal 9 (SIGKILL)"`,
		"worker.lived=1s", "worker.reason=stalled", "worker.beats=9", "worker.last_beat=", "worker.message=m", `worker.stderr="b c"`, "worker.max_rss=4096"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in %s", want, b.String())
		}
	}
	if got, want := x.String(), `worker 3 (pid 77) of group "g": killed by signal 9 (SIGKILL) (stalled): "m"; last stderr: "b c"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(Exit{Group: "g", Code: 1, Reason: ReasonStop}); strings.Contains(got, "stop") {
		t.Error(got)
	}
}
