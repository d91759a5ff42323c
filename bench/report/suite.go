package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// A suite is one call of go test -bench.
type suite struct {
	Name    string
	Dir     string // relative to the folder bench
	Package string
	Bench   string // regular expression
	Time    string // -benchtime
	Count   int    // how often, for the medians; those in bench repeat by themselves
}

// suites in the order in which they run. The comparisons of package bench take turns
// with their peers inside one benchmark, and their figures are medians already.
var suites = []suite{
	{Name: "compare", Dir: ".", Package: ".", Bench: ".", Time: "1x", Count: 1},
	{Name: "shm", Dir: "..", Package: "./shm", Bench: ".", Time: "100ms", Count: 3},
	{Name: "ring", Dir: "..", Package: "./ring", Bench: ".", Time: "100ms", Count: 3},
	{Name: "seqlock", Dir: "..", Package: "./seqlock", Bench: ".", Time: "100ms", Count: 3},
	{Name: "cfgblob", Dir: "..", Package: "./cfgblob", Bench: ".", Time: "100ms", Count: 3},
	{Name: "logring", Dir: "..", Package: "./logring", Bench: ".", Time: "100ms", Count: 3},
	{Name: "spawn", Dir: "..", Package: "./spawn/...", Bench: "Attributes|Beat|ForkExec|Output|Pool|Python|Rate|Spawn|Task", Time: "100ms", Count: 1},
	{Name: "spawn-waits", Dir: "..", Package: "./spawn", Bench: "Spare|Successor", Time: "100x", Count: 1},
	{Name: "spawn-stop", Dir: "..", Package: "./spawn", Bench: "Stop256", Time: "1x", Count: 3},
	{Name: "spawn-starters", Dir: "..", Package: "./spawn", Bench: "RacingStarters", Time: "2x", Count: 1},
	{Name: "call", Dir: "..", Package: "./call/...", Bench: ".", Time: "100ms", Count: 3},
	{Name: "sqlproxy", Dir: "..", Package: "./dataio/sqlproxy", Bench: ".", Time: "100x", Count: 1},
	{Name: "recfile", Dir: "..", Package: "./dataio/recfile", Bench: ".", Time: "6400000x", Count: 1},
	{Name: "adapters", Dir: "../adapters", Package: "./...", Bench: ".", Time: "100ms", Count: 1},
}

// suiteLimit bounds one suite.
const suiteLimit = 15 * time.Minute

// run runs the benchmarks and shows what they print.
func (s suite) run(ctx context.Context) (*results, error) {
	ctx, cancel := context.WithTimeout(ctx, suiteLimit)
	defer cancel()
	fmt.Fprintf(os.Stderr, "== %s\n", s.Name)
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", s.Bench, "-benchtime", s.Time,
		"-count", strconv.Itoa(s.Count), "-timeout", suiteLimit.String(), s.Package)
	cmd.Dir = s.Dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := newResults(s.Name)
	readErr := r.read(io.TeeReader(out, os.Stderr))
	if err := errors.Join(readErr, cmd.Wait()); err != nil {
		return nil, fmt.Errorf("suite %s: %w", s.Name, err)
	}
	r.settle()
	return r, nil
}

// read takes the lines of the Go benchmark format.
func (r *results) read(in io.Reader) error {
	lines := benchfmt.NewReader(in, r.Suite)
	for lines.Scan() {
		res, ok := lines.Result().(*benchfmt.Result)
		if !ok {
			continue // what is no result is other output of the test
		}
		name := strings.TrimSuffix(string(res.Name), "-"+procs(res))
		if pkg := strings.TrimPrefix(res.GetConfig("pkg"), "shmkit/"); pkg != "" {
			name = pkg + "." + name
		}
		for _, v := range res.Values {
			unit, value := v.Unit, v.Value
			if v.OrigUnit != "" {
				unit, value = v.OrigUnit, v.OrigValue
			}
			if unit == "ns/op" && value == 0 {
				continue // a comparison: its own units say it
			}
			r.add(name, unit, value)
		}
	}
	_, err := io.Copy(io.Discard, in)
	return errors.Join(lines.Err(), err)
}

// procs is the GOMAXPROCS that go test adds to the names.
func procs(res *benchfmt.Result) string {
	name := string(res.Name)
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return ""
	}
	if _, err := strconv.Atoi(name[i+1:]); err != nil {
		return ""
	}
	return name[i+1:]
}
