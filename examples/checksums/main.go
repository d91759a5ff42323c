// Command checksums prints a checksum of each file below a folder, made by several
// worker processes, and shows how a program is put together with fxkit: workers ask
// for what they need and are given it.
//
//	checksums [-workers N] [-config FILE.yaml] DIR
//
// Beside their logger the workers have
//
//   - the live configuration, and a hash function that it selects (shared memory);
//   - the owner's list of files, from which they take the next and to which they
//     give the sum (functions that run in the owner);
//   - a buffer of their own (local).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"go.uber.org/dig"
	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/adapters/koanfsource"
	"shmkit/call"
	"shmkit/cfgblob"
)

func main() {
	shmkit.Main() // a worker process goes no further
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// Config is what the file may say. It is followed: a change acts on the next file that
// is summed.
type Config struct {
	Level string `json:"level"`
	Hash  string `json:"hash"` // sha256 or crc32
}

// run is main with its surroundings passed in.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("checksums", flag.ContinueOnError)
	flags.SetOutput(stderr)
	workers := flags.Int("workers", runtime.NumCPU(), "worker processes")
	config := flags.String("config", "", "YAML, TOML or JSON file with level and hash")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "checksums: want one folder: checksums [-workers N] [-config FILE] DIR")
		return 2
	}
	code, err := sum(flags.Arg(0), *config, *workers, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "checksums:", err)
		return 1
	}
	return code
}

// sum is the owner's side.
func sum(dir, config string, workers int, stdout io.Writer) (code int, err error) {
	o := shmkit.Options{Config: Config{Level: "info", Hash: "sha256"}}
	if config != "" {
		o.Sources = []cfgblob.Source{koanfsource.File(config)}
	}
	files, err := newList(dir)
	if err != nil {
		return 0, err
	}
	app := fx.New(
		fxkit.Node(o),
		fx.Supply(files),
		fxkit.Serve[Files](call.Options{Name: "queue"}, (*list).offer),
		fxkit.Workers(shmkit.Spec{Func: worker, Workers: workers}),
		fx.NopLogger,
	)
	ctx := context.Background()
	if err := app.Start(ctx); err != nil {
		return 0, dig.RootCause(err) // without the way there
	}
	end := <-app.Wait() // the workers have ended, or somebody interrupts
	if err := app.Stop(ctx); err != nil {
		return 0, err
	}
	return end.ExitCode, files.print(stdout)
}
