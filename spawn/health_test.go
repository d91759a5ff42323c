//go:build linux

package spawn

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// beating workers beat until the file STILL/RANK exists.
var beating = workerFunc("beating", func(c *Child) {
	still := filepath.Join(os.Getenv("STILL"), fmt.Sprint(c.Rank))
	every, err := time.ParseDuration(os.Getenv("BEAT"))
	if err != nil {
		every = 5 * time.Millisecond
	}
	for ctx := c.Context(); ctx.Err() == nil; time.Sleep(every) {
		if _, err := os.Stat(still); err != nil {
			c.Beat()
		}
	}
})

type stalls struct {
	mu  sync.Mutex
	all []Stall
}

func (s *stalls) add(x Stall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
}

func (s *stalls) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// A worker that beats no more is reported, once, and once more when it beats again;
// others are not.
func TestStallIsReported(t *testing.T) {
	var st stalls
	s := newServer(t, Options{Stall: st.add})
	dir := t.TempDir()
	g := start(t, s, Spec{Func: beating, Workers: 2, Env: []string{"STILL=" + dir}, Heartbeat: Heartbeat{Timeout: 300 * time.Millisecond}})
	eventually(t, "beats are seen", func() bool { return g.Infos()[1].Beats > 0 && g.Infos()[0].LastBeat != nil })
	still := filepath.Join(dir, "1")
	must(t, os.WriteFile(still, nil, 0o644))
	eventually(t, "it is reported", func() bool { return st.len() == 1 })
	must(t, os.Remove(still))
	eventually(t, "it is reported again", func() bool { return st.len() == 2 })
	if a, b := st.all[0], st.all[1]; a.Rank != 1 || a.Recovered || a.Silent < 300*time.Millisecond || b.Rank != 1 || !b.Recovered || a.Pid != g.Infos()[1].Pid {
		t.Errorf("%+v", st.all)
	}
	must(t, g.Stop(context.Background()))
	if x := g.Exits()[0]; x.Beats == 0 || x.LastBeat.IsZero() {
		t.Errorf("the exit says nothing of its heartbeat: %+v", x)
	}
}

// A stalled worker is killed, with its goroutines on stderr, and started again.
func TestStallIsKilled(t *testing.T) {
	var h history
	var st stalls
	s := newServer(t, Options{Exit: h.add, Stall: st.add})
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "0"), nil, 0o644))
	spec := Spec{Func: beating, Workers: 2, Env: []string{"STILL=" + dir}, Heartbeat: Heartbeat{Timeout: 500 * time.Millisecond, Action: StallRestart}}
	spec.Restart = Restart{Backoff: time.Millisecond, Intensity: -1}
	g := start(t, s, spec)
	eventually(t, "it is started again", func() bool { return g.Infos()[0].Restarts > 0 && h.of(0) > 0 })
	x := h.exits[0]
	if x.Reason != ReasonStalled || x.Rank != 0 || x.Code == 0 {
		t.Errorf("%+v", x)
	}
	if !strings.Contains(strings.Join(x.Stderr, "\n"), "rip") && x.Signal != syscall.SIGKILL { // a register, at the end of the dump
		t.Errorf("no dump: %q", x.Stderr)
	}
	if i := g.Infos()[1]; i.Restarts != 0 || h.of(1) != 0 {
		t.Errorf("the other one: %+v", i)
	}
}

// A job that was stopped as a whole, longer than the timeout, has not stalled; nor has
// a single worker that somebody has stopped.
//
// (Without isFrozen the single worker has stalled.)
func TestStoppedIsNotStalled(t *testing.T) {
	cmd := proctest.Command(t, "stoppable", t.TempDir())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var pids [3]int
	if _, err := fmt.Fscan(out, &pids[0], &pids[1], &pids[2]); err != nil {
		t.Fatal(err)
	}
	all := append([]int{cmd.Process.Pid}, pids[:]...)
	for range 2 {
		for _, pid := range all {
			must(t, syscall.Kill(pid, syscall.SIGSTOP))
		}
		time.Sleep(1300 * time.Millisecond) // more than the timeout
		for _, pid := range all {
			must(t, syscall.Kill(pid, syscall.SIGCONT))
		}
		time.Sleep(50 * time.Millisecond)
	}
	must(t, syscall.Kill(pids[1], syscall.SIGSTOP))
	time.Sleep(1300 * time.Millisecond)
	must(t, syscall.Kill(pids[1], syscall.SIGCONT))
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	var n, ended int
	if _, err := fmt.Fscan(out, &n, &ended); err != nil || n != 0 || ended != 0 {
		t.Errorf("%d stalls, %d ends; %v", n, ended, err)
	}
	cmd.Wait()
}

// Time in which the server was held up itself is nobody's silence. (Without "late" in
// feel the second look reports.)
func TestLateLook(t *testing.T) {
	var st stalls
	g := &Group{s: &Server{opt: Options{Stall: st.add}}, spec: Spec{Heartbeat: Heartbeat{Timeout: time.Second}}}
	w := &worker{g: g, pid: os.Getpid(), isReady: true}
	for i, look := range []struct {
		passed time.Duration
		late   bool
		stalls int
	}{
		{900 * time.Millisecond, false, 0},
		{time.Hour, true, 0},
		{900 * time.Millisecond, false, 0},
		{200 * time.Millisecond, false, 1},
		{time.Hour, false, 1}, // it was reported
	} {
		g.feel(w, look.passed, look.late)
		if st.len() != look.stalls {
			t.Fatalf("look %d: %d stalls, want %d: %+v", i, st.len(), look.stalls, st.all)
		}
	}
}

var _ = proctest.Helper("stoppable", func(args []string) {
	var st stalls
	s, err := NewServer(Options{Run: "stoppable", Dir: args[0], Stall: st.add})
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := s.Start(context.Background(), Spec{Func: beating, Workers: 3, Env: []string{"STILL=" + args[0], "BEAT=300ms"}, Heartbeat: Heartbeat{Timeout: time.Second, Action: StallKill}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for beat := 0; beat < 3; time.Sleep(time.Millisecond) {
		beat = 0
		for _, i := range g.Infos() {
			if i.Beats > 0 {
				beat++
			}
		}
	}
	for _, i := range g.Infos() {
		fmt.Println(i.Pid)
	}
	term := notify(syscall.SIGTERM)
	<-term
	fmt.Println(st.len(), len(g.Exits()))
	s.Close()
})

// busy workers count tasks, grow, or just live, as their environment says.
var busy = workerFunc("busy", func(c *Child) {
	ctx := c.Context()
	var hoard [][]byte
	for ctx.Err() == nil {
		switch os.Getenv("BUSY") {
		case "tasks":
			c.TaskDone()
		case "memory":
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			hoard = append(hoard, b)
		}
		time.Sleep(time.Millisecond)
	}
	_ = hoard
})

// Workers that are worn out are replaced, one at a time, without being counted.
func TestRecycle(t *testing.T) {
	for what, r := range map[string]Recycle{
		"tasks":  {Tasks: 20},
		"age":    {Age: 100 * time.Millisecond},
		"memory": {Memory: 100 << 20},
	} {
		t.Run(what, func(t *testing.T) {
			var h history
			s := newServer(t, Options{Exit: h.add})
			g := start(t, s, Spec{Func: busy, Workers: 2, Recycle: r, Env: []string{"BUSY=" + what}, Restart: Restart{Intensity: 1}})
			eventually(t, "both were replaced", func() bool { return h.of(0) > 0 && h.of(1) > 0 })
			must(t, g.Stop(context.Background()))
			for i, x := range h.exits {
				if x.Code != 0 && x.Signal != syscall.SIGTERM || x.Reason != ReasonRecycle && x.Reason != ReasonStop {
					t.Errorf("%+v", x)
				}
				if x.Reason == ReasonRecycle && i > 0 && h.exits[i-1].Ended.After(x.Ended) {
					t.Errorf("two at a time: %+v", x)
				}
				if x.Reason == ReasonRecycle && what == "memory" && x.MaxRSS < 80<<20 {
					t.Errorf("recycled at %d bytes", x.MaxRSS)
				}
			}
		})
	}
	seen := map[int]bool{}
	for range 100 {
		d := (Recycle{Tasks: 1000, Memory: 1 << 30}).drawn()
		seen[d.Tasks] = true
		if d.Tasks < 900 || d.Tasks > 1000 || d.Memory < 9<<30/10 || d.Memory > 1<<30 || d.Age != 0 {
			t.Errorf("%+v", d)
		}
	}
	if len(seen) < 20 {
		t.Errorf("no jitter: %v", seen)
	}
}

func TestBadHealth(t *testing.T) {
	s := newServer(t, Options{})
	for want, spec := range map[string]Spec{
		"Spec.Heartbeat":         {Cmd: []string{"true"}, Heartbeat: Heartbeat{Timeout: 1}},
		"Spec.Heartbeat.Timeout": {Func: beating, Heartbeat: Heartbeat{Timeout: -1}},
		"Spec.Heartbeat.Action":  {Func: beating, Heartbeat: Heartbeat{Action: 9}},
		"Spec.Recycle":           {Func: beating, Recycle: Recycle{Memory: -1}},
		"Spec.Recycle.Jitter":    {Func: beating, Recycle: Recycle{Jitter: 1}},
		"Spec.Recycle.Tasks":     {Cmd: []string{"true"}, Recycle: Recycle{Tasks: 1}},
		"Spec.Spares":            {Cmd: []string{"true"}, Spares: 1},
	} {
		spec.Workers = 1
		if _, err := s.Start(context.Background(), spec); err == nil || !strings.HasPrefix(err.Error(), "spawn: "+want+":") {
			t.Errorf("%s: %v", want, err)
		}
	}
}
