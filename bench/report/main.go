// Command report runs the benchmarks and makes of their results what people read:
//
//	go run ./report            # from the folder bench; make bench does it
//	go run ./report -from results
//
// It writes results/SUITE.json (every figure, with the machine it was measured on),
// BARS.md (what shmkit holds itself to, and whether it holds), plots/*.svg, and the
// parts of ../README.md and ../docs/SCALING.md between the bench markers. With -from nothing is run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"

	"shmkit/bench/callgrind"
)

func main() {
	var (
		dir    = flag.String("results", "results", "folder of the results")
		plots  = flag.String("plots", "plots", "folder of the pictures")
		bars   = flag.String("bars", "BARS.md", "table of the bars")
		readme = flag.String("readme", "../README.md", "file with the bench markers; empty: leave it alone")
		from   = flag.Bool("from", false, "make everything anew from the results that are there")
		only   = flag.String("only", "", "run only the suites whose name matches")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *plots, *bars, *readme, *only, *from); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, plots, bars, readme, only string, from bool) error {
	choose, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	var failed []error
	if !from {
		for _, s := range suites {
			if !choose.MatchString(s.Name) {
				continue
			}
			r, err := s.run(ctx)
			if err != nil { // the others can still be measured
				failed = append(failed, err)
				continue
			}
			if err := r.write(filepath.Join(dir, s.Name+".json")); err != nil {
				return err
			}
		}
		if choose.MatchString("instructions") {
			r := newResults("instructions")
			err := callgrind.Count(ctx, "..", func(h callgrind.HotPath, n float64) {
				r.add(h.String(), callgrind.Unit, n)
				fmt.Fprintf(os.Stderr, "%s: %.0f instructions\n", h, n)
			})
			r.settle()
			switch {
			case errors.Is(err, callgrind.ErrNoValgrind):
				fmt.Fprintln(os.Stderr, "instructions are not counted:", err)
			case err != nil:
				failed = append(failed, err)
			default:
				if err := r.write(filepath.Join(dir, r.Suite+".json")); err != nil {
					return err
				}
			}
		}
	}
	all, err := readResults(dir)
	if err != nil {
		return err
	}
	if err := writeBars(bars, all); err != nil {
		return err
	}
	if err := drawPlots(plots, all); err != nil {
		return err
	}
	if readme != "" {
		failed = append(failed, updateReadme(readme, all),
			updateScaling(filepath.Join(filepath.Dir(readme), "docs", "SCALING.md"), all))
	}
	return errors.Join(failed...)
}
