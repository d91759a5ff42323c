//go:build linux

package spawn

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bareStart starts and waits for a program as a loop around ForkExec does.
func bareStart(b testing.TB, fd uintptr, env []string) {
	pid, err := syscall.ForkExec(benchProgram, []string{"true"}, &syscall.ProcAttr{
		Env: env, Files: []uintptr{fd, fd, fd}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err == nil {
		_, err = syscall.Wait4(pid, nil, 0, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSpawnRate compares the server with a bare loop, in turns of 20 starts, so
// that both have the same machine: one at a time, waited for. Groups of 8 are how many
// workers are started; there the ends overlap with the starts.
func BenchmarkSpawnRate(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	fd, env := null.Fd(), os.Environ()
	const turn = 24
	for _, per := range []int{1, 8} {
		b.Run("per="+strconv.Itoa(per), func(b *testing.B) {
			s := newServer(b, Options{})
			var bare, ours time.Duration
			for b.Loop() {
				t := time.Now()
				for range turn {
					bareStart(b, fd, env)
				}
				bare += time.Since(t)
				t = time.Now()
				for range turn / per {
					if err := start(b, s, Spec{Cmd: []string{benchProgram}, Workers: per}).Wait(); err != nil {
						b.Fatal(err)
					}
				}
				ours += time.Since(t)
			}
			n := float64(turn * b.N)
			b.ReportMetric(float64(bare.Microseconds())/n, "bare-µs")
			b.ReportMetric(float64(ours.Microseconds())/n, "spawn-µs")
			b.ReportMetric(float64(bare)/float64(ours), "rate/bare")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPythonForkserver is start and join of an empty child by Python's
// forkserver, and in turns a function worker of ours, which is a whole program.
func BenchmarkPythonForkserver(b *testing.B) {
	python, err := exec.LookPath("python3")
	if err != nil {
		b.Skip("python3 is not installed")
	}
	const script = `
import multiprocessing as m, time, sys
def f(): pass
if __name__ == "__main__":
    c = m.get_context("forkserver")
    p = c.Process(target=f); p.start(); p.join()
    for line in sys.stdin:
        t = time.perf_counter()
        for _ in range(10):
            p = c.Process(target=f); p.start(); p.join()
        print((time.perf_counter() - t) / 10, flush=True)
`
	file := b.TempDir() + "/forkserver.py"
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(python, file)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	s := newServer(b, Options{})
	var theirs, ours float64
	answers := bufio.NewReader(out)
	for b.Loop() {
		in.Write([]byte("go\n"))
		line, err := answers.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		d, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil {
			b.Fatal(err)
		}
		theirs += d
		t := time.Now()
		for range 10 {
			if err := start(b, s, Spec{Func: nothing, Workers: 1}).Wait(); err != nil {
				b.Fatal(err)
			}
		}
		ours += time.Since(t).Seconds() / 10
	}
	b.ReportMetric(theirs*1e6/float64(b.N), "forkserver-µs")
	b.ReportMetric(ours*1e6/float64(b.N), "spawn-µs")
	b.ReportMetric(theirs/ours, "times-faster")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStop256 stops 256 workers of which every other one ignores SIGTERM; the
// figure is the time beyond the deadline.
func BenchmarkStop256(b *testing.B) {
	const deadline = time.Second
	s := newServer(b, Options{})
	for b.Loop() {
		b.StopTimer()
		spec := shell(256, `[ $((SHMKIT_RANK % 2)) = 0 ] && trap '' TERM; while :; do sleep 600; done`)
		spec.StopTimeout = deadline
		g := start(b, s, spec)
		b.StartTimer()
		t := time.Now()
		if err := g.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((time.Since(t) - deadline).Seconds(), "s-beyond-deadline")
	}
}
