package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPs(t *testing.T) {
	l := newLab(t)
	begin := time.Now().Add(-time.Second)
	in, out, ended := l.gate("in"), l.gate("out"), l.gate("ended")
	c := l.command("run", "-n", "3", "--name", "listed", "--", "sh", "-c",
		fmt.Sprintf(ready, in)+fmt.Sprintf("if [ $SHMKIT_RANK = 1 ]; then read x < %q; exit 4; fi; read x < %q", ended, out)).start()
	var ranks []string
	for range 3 {
		ranks = append(ranks, in.arrive(c))
	}
	slices.Sort(ranks)
	if fmt.Sprint(ranks) != "[0 1 2]" {
		t.Errorf("ranks %v", ranks)
	}

	list := func() []workerRow {
		t.Helper()
		var rows []workerRow
		if err := json.Unmarshal([]byte(l.want("ps", "--json", "--run", "listed")), &rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	rows := list()
	if len(rows) != 3 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		if r.Run != "listed" || r.Group != "sh" || r.Rank != i || r.State != "running" || r.Exit != nil ||
			r.Started.Before(begin) || r.Elapsed < 0 || syscall.Kill(r.PID, 0) != nil {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	table := strings.Split(strings.TrimSpace(l.want("ps")), "\n")
	if len(table) != 4 || !strings.HasPrefix(table[0], "RUN ") {
		t.Errorf("table: %q", table)
	}
	for i, line := range table[1:] {
		if f := strings.Fields(line); f[0] != "listed" || f[1] != "sh" || f[2] != fmt.Sprint(i) || f[3] != fmt.Sprint(rows[i].PID) || f[4] != "running" {
			t.Errorf("table row %d: %q", i, f)
		}
	}

	// A worker that has ended is listed as such.
	ended.open(t)
	for {
		if r := list()[1]; r.State != "running" {
			if r.State != "exited" || r.Exit == nil || *r.Exit != 4 {
				t.Errorf("ended worker: %+v", r)
			}
			break
		}
		if c.ctx.Err() != nil {
			t.Fatal("worker 1 never ended")
		}
	}
	out.open(t)
	out.open(t)
	if r := c.wait(); r.code != 4 {
		t.Errorf("run: %+v", r)
	}
	if r := l.shmkit("ps", "--run", "listed"); r.code != 1 {
		t.Errorf("ps of a run that has ended: %+v", r)
	}
	if got := l.want("ps"); strings.Count(got, "\n") != 1 {
		t.Errorf("ps without a run: %q", got)
	}
}
