// Command compare tells whether this tree is slower than another revision of it:
//
//	make bench-compare BASE=HEAD~1
//
// The benchmarks of the core packages are built from both and run in turns, ten
// times each. It prints what benchstat makes of them, and fails when the geometric
// mean of the times is more than 5 % above that of the base, or a hot path takes more than
// 5 % more instructions, which no other load on the machine can do (with valgrind).
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"

	"shmkit/bench/callgrind"
)

var packages = []string{"shm", "ring", "seqlock", "cfgblob", "logring", "call", "dataio/recfile"}

func main() {
	var (
		base  = flag.String("base", "", "revision to compare with")
		count = flag.Int("count", 10, "runs of each side")
		bench = flag.String("bench", ".", "which benchmarks")
		time  = flag.String("benchtime", "30ms", "how long each")
		limit = flag.Float64("limit", 5, "percent by which the geometric mean may be worse")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *base, *bench, *time, *count, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, base, bench, benchtime string, count int, limit float64) (err error) {
	if base == "" {
		return errors.New("-base is missing: name a revision, as in BASE=HEAD~1")
	}
	root, err := output(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "shmkit-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	old := filepath.Join(tmp, "base")
	if _, err := output(ctx, root, "git", "worktree", "add", "--detach", old, base); err != nil {
		return err
	}
	defer func() {
		_, e := output(context.WithoutCancel(ctx), root, "git", "worktree", "remove", "--force", old)
		err = errors.Join(err, e)
	}()
	sides := [2]side{{name: "base", tree: old}, {name: "this", tree: root}}
	for i := range sides {
		if err := sides[i].build(ctx, tmp); err != nil {
			return err
		}
	}
	for i := range count {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, count)
		for k := range sides {
			k = (k + i) % 2 // nobody is always first
			if err := sides[k].run(ctx, bench, benchtime); err != nil {
				return err
			}
		}
	}
	for i := range sides {
		if err := os.WriteFile(filepath.Join(tmp, sides[i].name+".txt"), sides[i].out.Bytes(), 0o600); err != nil {
			return err
		}
	}
	table, err := output(ctx, filepath.Join(root, "bench"), "go", "run", "golang.org/x/perf/cmd/benchstat", filepath.Join(tmp, "base.txt"), filepath.Join(tmp, "this.txt"))
	if err != nil {
		return err
	}
	fmt.Println(table)
	worse, n, err := geomean(sides[0].out.Bytes(), sides[1].out.Bytes())
	if err != nil {
		return err
	}
	fmt.Printf("%d benchmarks, geometric mean %+.1f %%\n", n, worse)
	grown, err := moreInstructions(ctx, old, root, limit)
	if err != nil {
		return err
	}
	if worse > limit {
		err = fmt.Errorf("the geometric mean is %.1f %% worse than that of %s, at most %g %% are allowed", worse, base, limit)
	}
	if len(grown) > 0 {
		err = errors.Join(err, fmt.Errorf("more than %g %% more instructions than %s: %s", limit, base, strings.Join(grown, ", ")))
	}
	return err
}

// moreInstructions prints the counts of both trees and returns the hot paths that have
// grown by more than limit percent.
func moreInstructions(ctx context.Context, old, tree string, limit float64) (grown []string, err error) {
	before := map[string]float64{}
	err = callgrind.Count(ctx, old, func(h callgrind.HotPath, n float64) { before[h.String()] = n })
	if errors.Is(err, callgrind.ErrNoValgrind) {
		fmt.Fprintln(os.Stderr, "instructions are not counted:", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("instructions of the base: %w", err)
	}
	err = callgrind.Count(ctx, tree, func(h callgrind.HotPath, n float64) {
		was := before[h.String()]
		fmt.Printf("%-40s %6.0f → %6.0f instructions\n", h, was, n)
		if isMore(was, n, limit) {
			grown = append(grown, h.String())
		}
	})
	return grown, err
}

// isMore tolerates two instructions of a path that has only a few.
func isMore(was, is, limit float64) bool { return is > was*(1+limit/100) && is > was+2 }

// A side is one of the two trees.
type side struct {
	name, tree string
	binaries   []string
	out        bytes.Buffer
}

func (s *side) build(ctx context.Context, tmp string) error {
	for _, p := range packages {
		if st, err := os.Stat(filepath.Join(s.tree, p)); err != nil || !st.IsDir() {
			continue
		}
		bin := filepath.Join(tmp, s.name+"-"+strings.ReplaceAll(p, "/", "+"))
		if _, err := output(ctx, s.tree, "go", "test", "-c", "-o", bin, "./"+p); err != nil {
			return err
		}
		s.binaries = append(s.binaries, bin)
	}
	return nil
}

func (s *side) run(ctx context.Context, bench, benchtime string) error {
	for _, bin := range s.binaries {
		_, pkg, _ := strings.Cut(filepath.Base(bin), "-")
		pkg = strings.ReplaceAll(pkg, "+", "/")
		out, err := output(ctx, filepath.Join(s.tree, pkg), bin, "-test.run", "^$", "-test.bench", bench, "-test.benchtime", benchtime)
		if err != nil {
			return err
		}
		s.out.WriteString("pkg: shmkit/" + pkg + "\n" + out + "\n")
	}
	return nil
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strconv.Quote(strings.Join(cmd.Args, " ")), err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

// geomean is by how many percent the times of b are above those of a: the geometric
// mean of the ratios of the medians of the benchmarks that both have.
func geomean(a, b []byte) (percent float64, n int, err error) {
	before, err1 := medians(a)
	after, err2 := medians(b)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, err
	}
	sum := 0.0
	for name, t := range after {
		if old := before[name]; old > 0 && t > 0 {
			sum += math.Log(t / old)
			n++
		}
	}
	if n == 0 {
		return 0, 0, errors.New("the two have no benchmark in common")
	}
	return 100 * (math.Exp(sum/float64(n)) - 1), n, nil
}

// medians are the times of an operation in seconds.
func medians(out []byte) (map[string]float64, error) {
	all := map[string][]float64{}
	r := benchfmt.NewReader(bytes.NewReader(out), "output")
	for r.Scan() {
		if res, ok := r.Result().(*benchfmt.Result); ok {
			if v, ok := res.Value("sec/op"); ok {
				name := res.GetConfig("pkg") + " " + string(res.Name)
				all[name] = append(all[name], v)
			}
		}
	}
	mid := map[string]float64{}
	for name, v := range all {
		slices.Sort(v)
		mid[name] = v[len(v)/2]
	}
	return mid, r.Err()
}
