package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/cfgblob"
	"shmkit/logring"
)

// runOptions are the flags of shmkit run.
type runOptions struct {
	workers     workersFlag
	name        runNameFlag
	config      []string
	set         assignmentsFlag
	log         sinksFlag
	noLogLock   bool
	stopTimeout time.Duration
	stopSignals signalsFlag
	secrets     []string
	grants      []string
	crashDir    string
	spec        specFlags
}

func newRunCommand() *cobra.Command {
	o := &runOptions{workers: 1, stopTimeout: 20 * time.Second}
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG…]",
		Short: "Run N copies of a command and collect their output as log records",
		Long: `Run N copies of COMMAND, any program, and wait for all of them.

Each copy finds in its environment SHMKIT_RUN (the name of the run),
SHMKIT_RANK (0 … N-1) and SHMKIT_SIZE (N). "shmkit config get KEY" inside it
prints the current value of a configuration key: where shmkit is not in PATH,
its folder is added at the end. Standard input is empty. Python is told not to
buffer its output (PYTHONUNBUFFERED).

Every line of standard output becomes a log record of level INFO, every line of
standard error one of level WARN, with the rank and the stream it came from.
Lines longer than 64 KiB are split and marked.

SINK says where the records go, and may be given several times:
  console      standard output (the default); shmkit's own errors go to
               standard error
  text:PATH    appended to a file as text
  json:PATH    appended to a file, one JSON object a line: time, level, msg,
               group, worker, pid, stream
  rotate:PATH?mb=100&every=24h&keep=7&compress=gzip
               the same, in a new file every so many MB or hours; also at=00:00,
               days, total (MB of all old ones), format=text
  sqlite:PATH  table "logs" of an SQLite database
  postgres://USER@HOST/DATABASE
               table "logs" of a PostgreSQL database
  syslog, syslog:unix:PATH, syslog:udp:HOST:PORT, syslog:tcp:HOST:PORT
               RFC 5424 messages, by default to /dev/log
  journald     the systemd journal
  otlp://HOST:PORT, otlps://HOST:PORT
               an OpenTelemetry receiver, by gRPC
A file has one writer: a second run that names the same one is refused. SIGUSR1
makes shmkit open its log files anew, after somebody has renamed them.

The configuration is what the files of --config hold (JSON, YAML, TOML; later
ones win), then the assignments of --set. VALUE is JSON, or else a string.

SIGINT, SIGTERM and the signals of --stop-signal stop the workers: SIGTERM to each, SIGKILL to those that are
still there after the stop timeout; a second SIGINT kills at once. Then what
they wrote is drained and flushed; an interrupt during that gives it up. When
nobody reads standard output any more, the workers are stopped, too. A failing
worker does not stop the others; --restart starts it again.

The exit code is 0, or that of the worst worker (128+signal), or 1 if records
could not be written.`,
		Example: `  shmkit run -n 4 -- python3 job.py --input data
  shmkit run -n 2 --set greeting=hello -- sh -c 'echo $SHMKIT_RANK: $(shmkit config get greeting)'
  shmkit run -n 8 --name nightly --config job.yaml --log json:out.jsonl --log sqlite:out.db -- ./job`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usageErrorf(cmd, "COMMAND is missing: write shmkit run -- COMMAND [ARG…]")
			}
			if o.stopTimeout < 0 {
				return usageErrorf(cmd, "--stop-timeout %v: give a time of 0s or more", o.stopTimeout)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows COMMAND belongs to COMMAND
	f.VarP(&o.workers, "workers", "n", "number of copies")
	f.Var(&o.name, "name", "name of the run (default shmkit-PID)")
	f.StringArrayVar(&o.config, "config", nil, "configuration `FILE`: .json .yaml .yml .toml (repeatable)")
	f.Var(&o.set, "set", "set a configuration key, as in log.level=debug (repeatable)")
	f.Var(&o.log, "log", "where records go: "+sinkForms+" (repeatable; default console)")
	f.BoolVar(&o.noLogLock, "no-log-lock", false, "do not lock the files of --log: for a file system of several machines")
	f.DurationVar(&o.stopTimeout, "stop-timeout", o.stopTimeout, "time from SIGTERM to SIGKILL when the run is stopped")
	f.Var(&o.stopSignals, "stop-signal", "a signal that means the same as SIGTERM, as in USR1 (repeatable)")
	f.StringArrayVar(&o.secrets, "secret", nil, "configuration `KEYS` whose values are shown nowhere, as in db.password or *.token (repeatable)")
	f.StringArrayVar(&o.grants, "grant", nil, "configuration `KEYS` that workers may change over their own connection (repeatable)")
	f.StringVar(&o.crashDir, "crash-dir", "", "keep the log of workers that attach themselves in `DIR`: what a killed run had not written, the next one writes")
	o.spec.register(f)
	cmd.MarkFlagDirname("crash-dir")
	cmd.MarkFlagFilename("config", "json", "yaml", "yml", "toml")
	cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions(
		[]cobra.Completion{"console", "text:", "json:", "rotate:", "sqlite:", "postgres://", "syslog", "journald", "otlp://"}, cobra.ShellCompDirectiveNoSpace))
	return cmd
}

// run starts the workers and waits for them. What a user gets wrong is found out
// in the order in which it costs something: the configuration, the command, then
// the sinks, whose files are created, then the run and its name.
func (o *runOptions) run(ctx context.Context, command []string, stdout io.Writer) error {
	doc, err := document(o.config, o.set)
	if err != nil {
		return err
	}
	if err := checkCommand(command[0]); err != nil {
		return err
	}
	stop := watchSignals(o.stopSignals...)
	defer stop.release()

	specs := o.log
	if len(specs) == 0 {
		specs = sinksFlag{{kind: "console"}}
	}
	sinks, err := openSinks(specs, place{stop.guard(stdout), o.noLogLock, cmp.Or(string(o.name), "shmkit")})
	if err != nil {
		return err
	}
	defer logring.ReopenOn(sinks.all, syscall.SIGUSR1)()
	node, err := shmkit.Start(ctx, shmkit.Options{
		Name:        string(o.name),
		Config:      doc,
		LevelKey:    "-", // the configuration is the command's own: no key means anything to shmkit
		Sinks:       sinks.all,
		StopTimeout: o.killAfter(),
		Store:       cfgblob.StoreOptions{Secrets: o.secrets},
		Grants:      o.granted(),
		Log:         logring.CollectorOptions{CrashDir: o.crashDir},
	})
	if err != nil {
		sinks.discard()
		return err
	}
	spec := shmkit.Spec{Cmd: command, Workers: int(o.workers), Env: workerEnv()}
	o.spec.apply(&spec)
	group, err := node.Start(spec)
	if err != nil {
		err = errors.Join(err, node.Close())
		sinks.discard()
		return err
	}
	waitErr := stop.wait(group)
	closeErr := stop.close(node)
	return outcome(waitErr, closeErr, node.Stats())
}

// granted is what --grant allows every worker.
func (o *runOptions) granted() []cfgblob.Grant {
	if len(o.grants) == 0 {
		return nil
	}
	return []cfgblob.Grant{{Keys: o.grants}}
}

// killAfter is the stop timeout; one of 0 kills at once.
func (o *runOptions) killAfter() time.Duration { return max(o.stopTimeout, time.Nanosecond) }

// checkCommand looks whether there is such a program, before any file is
// created. Whether it can be executed turns out at its start.
func checkCommand(name string) error {
	_, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("command %q not found in PATH: check its name, or give its path", name)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("command %q does not exist: check its path", name)
	}
	return nil
}

// workerEnv lets workers find "shmkit config" even where this program was called
// by its path: its folder goes to the end of their PATH.
func workerEnv() []string {
	exe, err := os.Executable()
	if err != nil || filepath.Base(exe) != "shmkit" {
		return nil
	}
	if _, err := exec.LookPath("shmkit"); err == nil {
		return nil
	}
	path := os.Getenv("PATH")
	if path != "" {
		path += string(os.PathListSeparator)
	}
	return []string{"PATH=" + path + filepath.Dir(exe)}
}
