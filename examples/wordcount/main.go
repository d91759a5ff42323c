// Command wordcount counts lines, words and bytes of every .go file below a
// folder, with several worker processes, and shows what shmkit is for: one log
// from all of them, one configuration that changes while they run, and results
// that come back through shared memory.
//
//	wordcount -input DIR -workers N -out DIR
//
// It leaves run.jsonl (the log), run.db (SQLite: files and logs) and
// summary.json in the out folder and prints the summary as a table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"shmkit"
)

func main() {
	shmkit.Main() // a worker process goes no further
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// maxWorkers bounds -workers: more processes than this only wait for each other.
const maxWorkers = 1024

// params is what the command line says.
type params struct {
	input   string
	out     string
	workers int
}

// run is main with its surroundings passed in. It returns the exit code: 0, 1
// for a failure, 2 for wrong usage, each failure told in one line.
func run(args []string, stdout, stderr io.Writer) int {
	p, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "wordcount:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := count(ctx, p, newProgress(stderr))
	if s != nil {
		s.print(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "wordcount:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

func parse(args []string, help io.Writer) (params, error) {
	var p params
	fs := flag.NewFlagSet("wordcount", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&p.input, "input", "", "count the .go files below `DIR` (default the source tree of the installed Go)")
	fs.IntVar(&p.workers, "workers", max(2, runtime.NumCPU()), "number of worker processes")
	fs.StringVar(&p.out, "out", "out", "write run.jsonl, run.db and summary.json into `DIR`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "usage: wordcount [-input DIR] [-workers N] [-out DIR]")
			fs.SetOutput(help)
			fs.PrintDefaults()
			return p, err
		}
		return p, fmt.Errorf("%w: see wordcount -h", err)
	}
	switch {
	case fs.NArg() > 0:
		return p, fmt.Errorf("unexpected argument %q: the folder goes behind -input", fs.Arg(0))
	case p.workers < 1 || p.workers > maxWorkers:
		return p, fmt.Errorf("-workers %d: use 1 to %d", p.workers, maxWorkers)
	case p.out == "":
		return p, errors.New("-out is empty: name a folder")
	}
	if p.input == "" {
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return p, fmt.Errorf("no -input, and go env GOROOT does not work (%w): name a folder with -input", err)
		}
		p.input = filepath.Join(strings.TrimSpace(string(root)), "src")
	}
	return p, nil
}
