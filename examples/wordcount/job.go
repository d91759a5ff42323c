package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"shmkit"
	"shmkit/spawn"
)

// startConfig is version 1 of the job's configuration.
var startConfig = Config{Level: "info", Every: 500}

// count runs the whole job and writes its three outputs. The summary is not nil
// as soon as workers have run, also when some of them failed.
func count(ctx context.Context, p params, prog *progress) (*summary, error) {
	files, err := listFiles(p.input)
	if err != nil {
		return nil, err
	}
	out, err := createOutputs(p.out)
	if err != nil {
		return nil, err
	}
	defer out.Close()

	j := &job{files: files, prog: prog, rows: make([]result, 0, len(files))}
	if err := j.run(ctx, p.workers, out); err != nil && j.node == nil {
		return nil, err
	} else if err != nil {
		j.errs = append(j.errs, err)
	}
	s := j.summary()
	return s, errors.Join(j.failure(), out.saveSummary(s))
}

// job is the state of one run in the node process.
type job struct {
	files  []string
	prog   *progress
	node   *shmkit.Node
	rows   []result // in the order they came
	failed []result
	errs   []error

	mu    sync.Mutex
	exits []shmkit.Exit
}

func (j *job) run(ctx context.Context, workers int, out *outputFiles) error {
	const name = "wordcount"
	list, err := newFileList(name, j.files)
	if err != nil {
		return err
	}
	defer list.Close()
	res := newResults(name)

	node, err := shmkit.Start(ctx, shmkit.Options{
		Config:    startConfig,
		Sinks:     out.sinks(),
		Resources: map[string]spawn.Resource{"files": list, "results": res},
		Databases: map[string]*sql.DB{"main": out.db}, // one writer, shared with the log

		OnExit: j.ended,
	})
	if err != nil {
		return err
	}
	j.node = node
	group, err := node.Start(shmkit.Spec{Func: funcCount, Workers: workers})
	if err != nil {
		go res.wait()
		for range res.out {
		}
		return errors.Join(err, node.Close())
	}
	waited := make(chan error, 1)
	go func() {
		waited <- group.Wait()
		res.wait()
	}()
	collectErr := j.collect(res.out)
	return errors.Join(<-waited, collectErr, node.Close())
}

// collect takes results until the last worker is gone, and turns debug logging
// on for the running workers when half of them have come.
func (j *job) collect(in <-chan result) (err error) {
	defer j.prog.done()
	for r := range in {
		if r.File < 0 || r.File >= len(j.files) || r.Err != "" {
			j.failed = append(j.failed, r)
		} else {
			j.rows = append(j.rows, r)
		}
		j.prog.step(len(j.rows)+len(j.failed), len(j.files))
		if len(j.rows)+len(j.failed) == (len(j.files)+1)/2 {
			j.node.Log.Info("half-way: debug records from here on")
			if _, err = j.node.Config().Set("wordcount", "level", "debug", 0); err != nil {
				err = fmt.Errorf("turn debug logging on: %w", err)
			}
		}
	}
	return err
}

func (j *job) ended(e shmkit.Exit) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.exits = append(j.exits, e)
}

// failure is the job's verdict: the files that could not be counted, and what
// else went wrong.
func (j *job) failure() error {
	if n := len(j.failed); n > 0 {
		more := ""
		if n > 1 {
			more = fmt.Sprintf(" (and %d more, see run.jsonl)", n-1)
		}
		j.errs = append(j.errs, fmt.Errorf("not counted: %s%s: make it readable or leave it out", j.failed[0].Err, more))
	} else if len(j.errs) == 0 && len(j.rows) != len(j.files) {
		j.errs = append(j.errs, fmt.Errorf("%d of %d files were counted, and no worker says why", len(j.rows), len(j.files)))
	}
	return errors.Join(j.errs...)
}

func (j *job) summary() *summary {
	s := &summary{}
	for _, r := range j.rows {
		s.Files++
		s.Counts.add(r.Counts)
	}
	stats := j.node.Stats()
	s.Records.Attempted = stats.Attempted
	s.Records.Delivered = stats.Delivered
	for _, n := range stats.Dropped {
		s.Records.Dropped += n
	}
	s.Config.Versions = j.node.Config().Snapshot().Version
	j.mu.Lock()
	defer j.mu.Unlock()
	slices.SortFunc(j.exits, func(a, b shmkit.Exit) int { return a.Rank - b.Rank })
	for _, e := range j.exits {
		s.Workers = append(s.Workers, workerSummary{Rank: e.Rank, PID: e.Pid, Exit: e.Code})
	}
	return s
}
