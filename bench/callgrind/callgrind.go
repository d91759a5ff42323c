// Package callgrind counts the instructions of the hot paths, which unlike their times do
// not depend on what else the machine does.
package callgrind

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

// A HotPath is a benchmark whose instructions are counted.
type HotPath struct{ Package, Bench string }

func (h HotPath) String() string { return strings.TrimPrefix(h.Package, "./") + "." + h.Bench }

// Unit of the counts, which include what the loop of the benchmark does itself: a few
// instructions.
const Unit = "instructions/op"

// Both numbers of times are multiples of the batches that benchmarks work in.
const (
	fewTimes  = 16_000
	manyTimes = 96_000
)

var collectedRE = regexp.MustCompile(`Collected : (\d+)`)

// ErrNoValgrind is why there is nothing to count with.
var ErrNoValgrind = errors.New("needs valgrind: install Debian's package valgrind")

// Count builds the hot paths of the tree and runs each few and many times under callgrind:
// the difference is what the operations cost, without the start of the process. tell is
// called with each count.
func Count(ctx context.Context, tree string, tell func(HotPath, float64)) error {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return ErrNoValgrind
	}
	tmp, err := os.MkdirTemp("", "shmkit-instructions-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	binaries := map[string]string{}
	for _, h := range HotPaths {
		bin := binaries[h.Package]
		if bin == "" {
			bin = filepath.Join(tmp, strconv.Itoa(len(binaries)))
			binaries[h.Package] = bin
			build := exec.CommandContext(ctx, "go", "test", "-c", "-o", bin, h.Package)
			build.Dir = tree
			if out, err := build.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", h.Package, err, out)
			}
		}
		few, err1 := callgrind(ctx, bin, h.Bench, fewTimes)
		many, err2 := callgrind(ctx, bin, h.Bench, manyTimes)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		tell(h, float64(many-few)/(manyTimes-fewTimes))
	}
	return nil
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
