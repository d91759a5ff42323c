// Command hpc is a rank of a parallel job: it integrates its part of 4/(1+x²)
// from 0 to 1, block by block, and logs what it did. All ranks of a machine log
// into one file and share one live configuration, through a node process that the
// first of them starts and the last of them waits for.
//
//	srun -n 8 ./hpc -blocks 1000 -out .
//	mpirun -np 8 ./hpc
//
// job.sbatch runs it beside a Python program. While it runs,
//
//	SHMKIT_RUN=… shmkit config set pause=10ms
//
// slows all ranks of a machine down. SIGTERM, or SIGUSR1 as a warning before the
// time is over, ends it in order: what was logged is written.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"shmkit"
	"shmkit/logring"
)

// Config is what can be changed while the job runs.
type Config struct {
	Level string `json:"level"`
	Pause string `json:"pause"` // after each block, as in "10ms"
}

// envOut tells the node process, which has no flags, where to write.
const envOut = "HPC_OUT"

var node = shmkit.ServeFunc("hpc", func(context.Context) (shmkit.Options, error) {
	machine := os.Getenv("SLURMD_NODENAME")
	if machine == "" {
		machine, _ = os.Hostname()
	}
	file, err := logring.OpenJSON(filepath.Join(os.Getenv(envOut), "job-"+machine+".jsonl"))
	return shmkit.Options{Config: Config{Level: "info", Pause: "0s"}, Sinks: []logring.Sink{file}}, err
})

func main() {
	shmkit.Main() // a node process goes no further
	blocks := flag.Int("blocks", 100, "blocks per rank")
	out := flag.String("out", ".", "folder for job-MACHINE.jsonl")
	flag.Parse()
	if err := run(*blocks, *out); err != nil {
		fmt.Fprintln(os.Stderr, "hpc:", err)
		os.Exit(1)
	}
}

func run(blocks int, out string) (err error) {
	abs, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	os.Setenv(envOut, abs)
	joining, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w, err := shmkit.Join(joining, shmkit.JoinOptions{Node: node, StopSignals: []os.Signal{syscall.SIGUSR1}})
	if err != nil {
		return err
	}
	defer func() {
		if e := w.Close(); err == nil {
			err = e
		}
	}()
	cfg := shmkit.Config[Config](w)
	w.Log.Info("begin", "run", w.Run, "size", w.Size)
	sum, done := 0.0, 0
	for ; done < blocks && w.Context().Err() == nil; done++ {
		sum += block(w.Rank*blocks+done, w.Size*blocks)
		w.Log.Debug("block", "n", done)
		if pause, _ := time.ParseDuration(cfg.Load().Pause); pause > 0 {
			select {
			case <-time.After(pause):
			case <-w.Context().Done():
			}
		}
	}
	if cause := context.Cause(w.Context()); cause != nil {
		w.Log.Warn("stopped", "blocks", done, "of", blocks, "cause", cause)
		return nil
	}
	w.Log.Info("end", "blocks", done, "part", sum)
	return nil
}

// block is the midpoint rule over block i of n, in 10,000 steps.
func block(i, n int) float64 {
	const steps = 10_000
	h := 1 / (float64(n) * steps)
	sum := 0.0
	for k := range steps {
		x := (float64(i)*steps + float64(k) + 0.5) * h
		sum += 4 / (1 + x*x) * h
	}
	return sum
}
