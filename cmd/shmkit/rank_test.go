package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// rank starts one rank of a job step, as srun would.
func (l *lab) rank(i, size int, args ...string) *command {
	c := l.command(append([]string{"rank"}, args...)...)
	c.Env = append(c.Env, "SLURM_JOB_ID=12", "SLURM_STEP_ID=0", "SLURMD_NODENAME=n1", fmt.Sprintf("SLURM_STEP_NUM_TASKS=%d", size),
		fmt.Sprintf("SLURM_STEP_TASKS_PER_NODE=%d", size), fmt.Sprintf("SLURM_PROCID=%d", i), fmt.Sprintf("SLURM_LOCALID=%d", i))
	return c.start()
}

// The ranks of a job step write into one file, find their rank and the
// configuration, and leave nothing.
func TestRank(t *testing.T) {
	l := newLab(t)
	const size = 3
	var ranks []*command
	for i := range size {
		ranks = append(ranks, l.rank(i, size, "--set", "greeting=hello", "--log", "json:job-%N.jsonl", "--", "sh", "-c",
			`echo "$SHMKIT_RANK of $SHMKIT_SIZE says $(`+binary+` config get greeting)"; echo oops >&2; exit $SHMKIT_RANK`))
	}
	for i, c := range ranks {
		if r := c.wait(); r.code != i || r.stderr != "" {
			t.Errorf("rank %d: exit code %d, stderr %q", i, r.code, r.stderr)
		}
	}
	got := map[string]int{}
	for _, r := range l.records("job-n1.jsonl") {
		if r.Group == "ranks" && r.Msg != "rank ended" {
			got[fmt.Sprintf("%d %s %s %s", *r.Worker, r.Stream, r.Level, r.Msg)]++
		}
	}
	for i := range size {
		for _, want := range []string{fmt.Sprintf(`%d stdout INFO %d of %d says hello`, i, i, size), fmt.Sprintf("%d stderr WARN oops", i)} {
			if got[want] != 1 {
				t.Errorf("%q came %d times; all: %v", want, got[want], got)
			}
		}
	}
}

// SIGTERM, and what is named to mean the same, is passed on once; who ignores it is
// killed after the stop timeout.
func TestRankStops(t *testing.T) {
	l := newLab(t)
	g := l.gate("gate")
	polite := l.rank(0, 2, "--stop-signal", "USR1", "--log", "json:job.jsonl", "--", "bash", "-c", `trap 'echo bye; exit 7' TERM; echo up > `+g.String()+`; while :; do sleep 0.01; done`)
	g.arrive(polite)
	deaf := l.rank(1, 2, "--stop-timeout", "0s", "--log", "json:job.jsonl", "--", "sh", "-c", `trap '' TERM; echo up > `+g.String()+`; exec sleep 1000`)
	g.arrive(deaf)
	polite.signal(syscall.SIGUSR1)
	deaf.signal(syscall.SIGTERM)
	if r := polite.wait(); r.code != 7 {
		t.Errorf("the polite one: %+v", r)
	}
	if r := deaf.wait(); r.code != 128+9 {
		t.Errorf("the deaf one: %+v", r)
	}
	lines := []string{}
	for _, r := range l.records("job.jsonl") {
		if r.Group == "ranks" {
			lines = append(lines, r.Msg)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return s != "bye" })); n != 1 {
		t.Errorf("said goodbye %d times: %q", n, lines)
	}
}

func TestRankRefused(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"rank"}, 2, "COMMAND is missing"},
		{[]string{"rank", "--stop-signal", "KILL", "--", "true"}, 2, "that can be caught"},
		{[]string{"rank", "--", "no-such-program"}, 1, `command "no-such-program" not found`},
		{[]string{"rank", "--", "true"}, 1, "run name"}, // outside of a job, and no name
	} {
		if r := l.shmkit(c.args...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("shmkit %q: %+v, want code %d and %q", c.args, r, c.code, c.want)
		}
	}
	r := l.rank(0, 1, "--log", "json:/nowhere/x.jsonl", "--", "true").wait()
	if r.code != 1 || !strings.Contains(r.stderr, `start the node of run "slurm-12.0-n1": log sink "json:/nowhere/x.jsonl"`) {
		t.Errorf("a sink that cannot be opened: %+v", r)
	}
	// Outside of a job, with a name, it is a run of one.
	if r := l.shmkit("rank", "--name", "alone", "--", "sh", "-c", "echo $SHMKIT_RUN/$SHMKIT_RANK/$SHMKIT_SIZE"); r.code != 0 || !strings.Contains(r.stdout, "alone/0/1") {
		t.Errorf("alone: %+v", r)
	}
}
