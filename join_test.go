package shmkit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"shmkit"
	"shmkit/internal/proctest"
	"shmkit/logring"
	"shmkit/spawn"
)

// A Go program that is started by Spec.Cmd.
var attached = proctest.Helper("attached", func([]string) {
	w, err := shmkit.Attach(context.Background())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	cfg := shmkit.Config[config](w)
	w.Log.Info("attached", "limit", cfg.Load().Limit)
	if err := w.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	w.Close()
	os.Exit(w.Rank)
})

func TestAttach(t *testing.T) {
	n, out := start(t, shmkit.Options{Config: config{Level: "info", Limit: 7}})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	proctest.Command(t, attached)
	g, err := n.Start(shmkit.Spec{Cmd: []string{exe}, Group: "prog", Workers: 2, Env: []string{proctest.EnvHelper + "=" + attached}})
	if err != nil {
		t.Fatal(err)
	}
	g.Wait()
	for _, x := range g.Exits() {
		if x.Code != x.Rank || x.Guest {
			t.Errorf("exit %+v", x)
		}
	}
	if err := n.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, r := range out.records(t) {
		if r.Msg == "attached" && r.Group == "prog" && r.Limit == 7 && r.PID == g.Exits()[r.Worker].Pid {
			seen[r.Worker] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("records of ranks %v, want 0 and 1; all: %+v", seen, out.records(t))
	}
	if _, err := shmkit.Attach(t.Context()); !errors.Is(err, spawn.ErrNotWorker) {
		t.Errorf("outside of a run: %v", err)
	}
}

// What the ranks of a job share, as their program registers it.
var jobNode = shmkit.ServeFunc("job", func(context.Context) (shmkit.Options, error) {
	if msg := os.Getenv("TEST_NODE_FAILS"); msg != "" {
		return shmkit.Options{}, errors.New(msg)
	}
	file, err := logring.OpenJSON(os.Getenv("TEST_NODE_LOG"))
	return shmkit.Options{Config: config{Level: "info", Limit: 11}, Sinks: []logring.Sink{file}}, err
})

// A rank of a job joins, or starts its node, says so, and lives as it is told.
var rankProgram = proctest.Helper("rank", func(args []string) {
	w, err := shmkit.Join(context.Background(), shmkit.JoinOptions{Dir: args[0], Node: jobNode})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("joined", w.Run, w.Group, w.Rank, w.Size, shmkit.Config[config](w).Load().Limit)
	bufio.NewReader(os.Stdin).ReadString('\n')
	for i := range 100 {
		w.Log.Info("work", "n", i)
	}
	if err := w.Close(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("closed")
})

type rank struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startRank(t *testing.T, dir string, i, size int, env ...string) rank {
	t.Helper()
	cmd := proctest.Command(t, rankProgram, dir)
	cmd.Env = append(cmd.Env, "SLURM_JOB_ID=4711", "SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS="+strconv.Itoa(size),
		"SLURM_STEP_TASKS_PER_NODE="+strconv.Itoa(size), "SLURM_PROCID="+strconv.Itoa(i), "SLURM_LOCALID="+strconv.Itoa(i))
	cmd.Env = append(cmd.Env, env...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	return rank{cmd, in, bufio.NewReader(out)}
}

func (r rank) line(t *testing.T) string {
	t.Helper()
	s, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("no line: %v (%q)", err, s)
	}
	return strings.TrimSuffix(s, "\n")
}

// The ranks of a job step find each other on their machine: one node is started,
// all join it, and when the last has closed, everything is written and nothing is
// left of it.
func TestJoin(t *testing.T) {
	proctest.SkipIfEmulated(t, "ranks execute themselves")
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "job.jsonl")
	const size = 5
	var ranks []rank
	for i := range size {
		ranks = append(ranks, startRank(t, dir, i, size, "TEST_NODE_LOG="+log))
	}
	for i, r := range ranks {
		if got, want := r.line(t), fmt.Sprintf("joined slurm-4711.0 ranks %d %d 11", i, size); got != want {
			t.Fatalf("rank %d: %q, want %q", i, got, want)
		}
	}
	runs, err := shmkit.Runs(dir)
	if err != nil || len(runs) != 1 {
		t.Fatalf("runs %+v, %v", runs, err)
	}
	for _, r := range ranks {
		io.WriteString(r.in, "go\n")
	}
	for i, r := range ranks {
		if got := r.line(t); got != "closed" {
			t.Fatalf("rank %d: %q", i, got)
		}
		if err := r.cmd.Wait(); err != nil {
			t.Errorf("rank %d: %v", i, err)
		}
	}
	// The last one has waited for the node's process.
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	b, err := os.ReadFile(log)
	if n := strings.Count(string(b), `"msg":"work"`); err != nil || n != size*100 {
		t.Errorf("%d records, want %d (%v)", n, size*100, err)
	}
}

// A node that cannot start is told to the rank that starts it; one that is killed
// leaves its ranks alive and its name free.
func TestJoinNodeFails(t *testing.T) {
	proctest.SkipIfEmulated(t, "ranks execute themselves")
	dir := t.TempDir()
	if got := startRank(t, dir, 0, 2, "TEST_NODE_FAILS=no licence").line(t); got != `error: shmkit: start the node of run "slurm-4711.0": no licence` {
		t.Errorf("%q", got)
	}
	env := "TEST_NODE_LOG=" + filepath.Join(t.TempDir(), "job.jsonl")
	a := startRank(t, dir, 0, 2, env)
	a.line(t)
	runs, _ := shmkit.Runs(dir)
	if len(runs) != 1 || runs[0].Pid == a.cmd.Process.Pid {
		t.Fatalf("runs %+v", runs)
	}
	p, err := os.FindProcess(runs[0].Pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if runs, _ = shmkit.Runs(dir); len(runs) == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("still there: %+v", runs)
		}
	}
	b := startRank(t, dir, 0, 1, env)
	if got := b.line(t); !strings.HasPrefix(got, "joined ") {
		t.Errorf("after the node was killed: %q", got)
	}
	for _, r := range []rank{a, b} {
		io.WriteString(r.in, "go\n")
		if got := r.line(t); got != "closed" {
			t.Errorf("%q", got)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestJoinNobody(t *testing.T) {
	_, err := shmkit.Join(t.Context(), shmkit.JoinOptions{Run: "nobody", Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), `join run "nobody": no node of that run lives in`) {
		t.Error(err)
	}
	_, err = shmkit.Join(t.Context(), shmkit.JoinOptions{Run: "nobody", Dir: t.TempDir(), Node: "unheard"})
	if err == nil || !strings.Contains(err.Error(), `node "unheard" is not registered`) {
		t.Error(err)
	}
}
