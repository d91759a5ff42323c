package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/logring"
)

// rankOptions are the flags of shmkit rank.
type rankOptions struct {
	name        runNameFlag
	config      []string
	set         assignmentsFlag
	log         sinksFlag
	stopTimeout time.Duration
	stopSignals signalsFlag
}

func newRankCommand() *cobra.Command {
	o := &rankOptions{stopTimeout: 20 * time.Second}
	cmd := &cobra.Command{
		Use:   "rank [flags] -- COMMAND [ARG…]",
		Short: "Run a command as one rank of a Slurm or MPI job",
		Long: `Run COMMAND, any program, as the rank that srun or mpirun made this process,
and collect its output as log records. To be started by them:

  srun -n 8 shmkit rank --log json:job.jsonl -- python3 rank.py

The ranks of a job step that run on one machine share one node process there. The
first of them starts it, with the sinks and the configuration that it was given;
the last waits for its end. It writes the records of all of them; with several
machines, give each its own file: --log 'json:job-%N.jsonl' puts the name of the
machine for %N.

COMMAND finds in its environment SHMKIT_RUN, SHMKIT_RANK and SHMKIT_SIZE beside what
the launcher set, and "shmkit config get KEY" works inside it.

SINK, --config and --set are those of shmkit run. SIGTERM, SIGINT and the signals
of --stop-signal are passed on as SIGTERM; what is still there after the stop
timeout is killed. Choose it below the grace time of the batch system.

The exit code is that of COMMAND, or 128+signal.`,
		Example: `  srun -n 8 shmkit rank -- ./a.out
  mpirun -np 4 shmkit rank --log json:out.jsonl -- python3 rank.py
  sbatch --signal=USR1@60 …; srun shmkit rank --stop-signal USR1 -- ./a.out`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usageErrorf(cmd, "COMMAND is missing: write shmkit rank -- COMMAND [ARG…]")
			}
			if o.stopTimeout < 0 {
				return usageErrorf(cmd, "--stop-timeout %v: give a time of 0s or more", o.stopTimeout)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.Var(&o.name, "name", "name of the run (default: that of the job step)")
	f.StringArrayVar(&o.config, "config", nil, "configuration `FILE`: .json .yaml .yml .toml (repeatable)")
	f.Var(&o.set, "set", "set a configuration key, as in log.level=debug (repeatable)")
	f.Var(&o.log, "log", "where records go: "+sinkForms+" (repeatable; default console)")
	f.DurationVar(&o.stopTimeout, "stop-timeout", o.stopTimeout, "time from SIGTERM to SIGKILL when the rank is stopped")
	f.Var(&o.stopSignals, "stop-signal", "a signal that means the same as SIGTERM, as in USR1 (repeatable)")
	return cmd
}

// cliNode is the node process that the first rank starts. What it needs to know is
// in its environment.
var cliNode = shmkit.ServeFunc("shmkit rank", func(context.Context) (shmkit.Options, error) {
	var n nodeOrder
	if err := json.Unmarshal([]byte(os.Getenv(envNodeOrder)), &n); err != nil {
		return shmkit.Options{}, fmt.Errorf("%s: %w", envNodeOrder, err)
	}
	os.Unsetenv(envNodeOrder)
	var specs sinksFlag
	for _, s := range n.Log {
		if err := specs.Set(s); err != nil {
			return shmkit.Options{}, fmt.Errorf("log sink %q: %w", s, err)
		}
	}
	sinks, err := openSinks(specs, place{console: os.Stdout, service: "shmkit"})
	if err != nil {
		return shmkit.Options{}, err
	}
	return shmkit.Options{Config: n.Config, LevelKey: "-", Sinks: sinks.all}, nil
})

const envNodeOrder = "SHMKIT_RANK_NODE"

// nodeOrder is what the first rank tells the node.
type nodeOrder struct {
	Config json.RawMessage
	Log    []string
}

func (o *rankOptions) run(ctx context.Context, command []string) error {
	doc, err := document(o.config, o.set)
	if err != nil {
		return err
	}
	if err := checkCommand(command[0]); err != nil {
		return err
	}
	order := nodeOrder{}
	if order.Config, err = json.Marshal(doc); err != nil {
		return err
	}
	if len(o.log) == 0 {
		o.log = sinksFlag{{kind: "console"}}
	}
	for _, s := range o.log {
		order.Log = append(order.Log, s.onThisMachine().String())
	}
	b, err := json.Marshal(order)
	if err != nil {
		return err
	}
	os.Setenv(envNodeOrder, string(b))
	w, err := shmkit.Join(ctx, shmkit.JoinOptions{Run: string(o.name), Node: cliNode})
	os.Unsetenv(envNodeOrder)
	if err != nil {
		return err
	}
	code, err := o.execute(w, command)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if code != 0 {
		return &codeError{code, nil}
	}
	return nil
}

// execute runs the command to its end and logs its output.
func (o *rankOptions) execute(w *shmkit.Worker, command []string) (code int, err error) {
	// The command is killed with its parent, by the signal that follows the parent's
	// thread: this one, to the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), workerEnv()...)
	cmd.Env = append(cmd.Env, "SHMKIT_RUN="+w.Run, "SHMKIT_RANK="+strconv.Itoa(w.Rank), "SHMKIT_SIZE="+strconv.Itoa(w.Size))
	if _, set := os.LookupEnv("PYTHONUNBUFFERED"); !set {
		cmd.Env = append(cmd.Env, "PYTHONUNBUFFERED=1")
	}
	cmd.Stdin = os.Stdin
	stdout := logring.NewLineWriter(w.Log.Handler(), logring.LineOptions{Level: slog.LevelInfo, Stream: "stdout"})
	stderr := logring.NewLineWriter(w.Log.Handler(), logring.LineOptions{Level: slog.LevelWarn, Stream: "stderr"})
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // for what the command left running with its output

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, append([]os.Signal{syscall.SIGTERM, syscall.SIGINT}, o.stopSignals.list()...)...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		o.passOn(signals, w.Context(), cmd.Process.Pid, ended)
	}()
	err = cmd.Wait()
	close(ended)
	<-stopped
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the rest of its process group
	stdout.Close()
	stderr.Close()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return 0, err
	}
	code = cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	if code != 0 {
		w.Log.Warn("rank ended", "exit", code, "how", cmd.ProcessState.String())
	}
	return code, nil
}

// passOn tells the command to stop when this process is told to, or when the node
// stops, and kills it when it does not.
func (o *rankOptions) passOn(signals <-chan os.Signal, node context.Context, pid int, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-signals:
	case <-node.Done():
	}
	syscall.Kill(-pid, syscall.SIGTERM)
	syscall.Kill(-pid, syscall.SIGCONT)
	select {
	case <-ended:
	case <-time.After(o.stopTimeout):
		syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// onThisMachine puts the machine's name for %N into the path, and makes it
// absolute: the node process may be elsewhere.
func (s sinkSpec) onThisMachine() sinkSpec {
	if s.path == "" {
		return s
	}
	name := os.Getenv("SLURMD_NODENAME")
	if name == "" {
		name, _ = os.Hostname()
	}
	var b []byte
	for i := 0; i < len(s.path); i++ {
		if s.path[i] == '%' && i+1 < len(s.path) && s.path[i+1] == 'N' {
			b = append(b, name...)
			i++
			continue
		}
		b = append(b, s.path[i])
	}
	s.path = string(b)
	if abs, err := filepath.Abs(s.path); err == nil {
		s.path = abs
	}
	return s
}
