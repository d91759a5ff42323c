package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A hotPath is a benchmark whose instructions are counted: unlike its time they do
// not depend on what else the machine does.
type hotPath struct{ Package, Bench string }

func (h hotPath) name() string { return strings.TrimPrefix(h.Package, "./") + "." + h.Bench }

// The counts include what the loop of the benchmark does itself: a few instructions.
// Both numbers of times are multiples of the batches that benchmarks work in.
const (
	instructionsUnit = "instructions/op"
	fewTimes         = 16_000
	manyTimes        = 96_000
)

var collectedRE = regexp.MustCompile(`Collected : (\d+)`)

var errNoValgrind = errors.New("needs valgrind: install Debian's package valgrind")

// countInstructions runs each hot path few and many times under callgrind: the
// difference is what the operations cost, without the start of the process.
func countInstructions(ctx context.Context) (*results, error) {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return nil, errNoValgrind
	}
	tmp, err := os.MkdirTemp("", "shmkit-instructions-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	r := newResults("instructions")
	for i, h := range hotPaths {
		bin := filepath.Join(tmp, strconv.Itoa(i))
		build := exec.CommandContext(ctx, "go", "test", "-c", "-o", bin, h.Package)
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", h.Package, err, out)
		}
		few, err1 := callgrind(ctx, bin, h.Bench, fewTimes)
		many, err2 := callgrind(ctx, bin, h.Bench, manyTimes)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		count := float64(many-few) / (manyTimes - fewTimes)
		r.add(h.name(), instructionsUnit, count)
		fmt.Fprintf(os.Stderr, "%s: %.0f instructions\n", h.name(), count)
	}
	r.settle()
	return r, nil
}

// exactly is the pattern of one benchmark: each part of its name by itself, since the
// flag takes them apart.
func exactly(bench string) string {
	return "^Benchmark" + strings.ReplaceAll(bench, "/", "$/^") + "$"
}

// callgrind returns the instructions of a whole process. One processor and no garbage
// collection leave nothing to chance but the runtime's own ticks; the preemption signal,
// which valgrind delivers late, is turned off, and so is RDTSCP, which it does not know.
func callgrind(ctx context.Context, bin, bench string, times int) (int, error) {
	cmd := exec.CommandContext(ctx, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", bin,
		"-test.run", "^$", "-test.bench", exactly(bench), "-test.benchtime", fmt.Sprintf("%dx", times))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("valgrind %s: %w\n%s", bench, err, out)
	}
	m := collectedRE.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("valgrind %s: it counted nothing:\n%s", bench, out)
	}
	return strconv.Atoi(string(m[1]))
}
