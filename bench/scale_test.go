package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"shmkit"
	"shmkit/logring"
)

// BenchmarkRings is what a record costs the collector, and what an idle second
// costs it, as the rings that are attached grow: one ring is busy, the others are
// not. It runs in one process, since it is the collector that is asked.
func BenchmarkRings(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			before := rss(b)
			c, err := logring.NewCollector(logring.CollectorOptions{RingSize: 64 << 10, MaxRecord: 4 << 10, Sinks: []logring.Sink{nullSink{}}})
			if err != nil {
				b.Fatal(err)
			}
			writers := make([]*logring.Writer, n)
			for i := range writers {
				files, words, lease, err := c.Donate("bench", i, n)
				if err != nil {
					b.Fatal(err)
				}
				bell := lease.(interface{ Message([]byte, []*os.File) })
				if writers[i], err = logring.Attach(files, words, func() error { bell.Message(nil, nil); return nil }); err != nil {
					b.Fatal(err)
				}
				defer lease.Close()
				defer writers[i].Close()
			}
			log := slog.New(writers[0].Handler(nil))
			const calls = 200_000
			var ns []float64
			for b.Loop() {
				for range 3 {
					begin := time.Now()
					for range calls {
						log.LogAttrs(context.Background(), slog.LevelInfo, "request", slog.Int("status", runtimeInt), slog.String("path", runtimeString), slog.Float64("ms", runtimeFloat))
					}
					if err := c.Flush(context.Background()); err != nil {
						b.Fatal(err)
					}
					ns = append(ns, float64(time.Since(begin))/calls)
				}
			}
			idle := idleShare()
			figure(b, "ns/record", ns)
			b.ReportMetric(100*idle, "idle-cpu-%")
			b.ReportMetric(float64(rss(b)-before)/float64(n)/1024, "KiB/ring")
			c.Close(context.Background())
		})
	}
}

type nullSink struct{}

func (nullSink) Write([]logring.Record) error { return nil }
func (nullSink) Sync() error                  { return nil }
func (nullSink) Close() error                 { return nil }

// rss is the memory of this process in bytes, shared segments that it has touched
// included, garbage not.
func rss(b *testing.B) int64 {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// BenchmarkSpawn is the start and the end of one worker that does nothing: a
// function worker of shmkit with log and configuration attached, os/exec of the same
// binary, and a process of Python's forkserver. cmd is a foreign program, true, with its
// output captured line by line, beside os/exec collecting its output.
func BenchmarkSpawn(b *testing.B) {
	node, err := shmkit.Start(context.Background(), shmkit.Options{Sinks: []logring.Sink{nullSink{}}})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	const turns = 20
	var ours, execs, forks, cmds, trues []float64
	for b.Loop() {
		for range rounds {
			begin := time.Now()
			for range turns {
				startWait(b, node, shmkit.Spec{Func: funcNothing, Workers: 1})
			}
			ours = append(ours, time.Since(begin).Seconds()/turns*1e3)
			begin = time.Now()
			for range turns {
				if err := exec.Command(exe, "-test.run", "^$").Run(); err != nil {
					b.Fatal(err)
				}
			}
			execs = append(execs, time.Since(begin).Seconds()/turns*1e3)
			if ms, ok := forkserver(b, turns); ok {
				forks = append(forks, ms)
			}
			begin = time.Now()
			for range turns {
				group, err := node.Start(shmkit.Spec{Cmd: []string{"true"}, Workers: 1})
				if err == nil {
					err = group.Wait()
				}
				if err != nil {
					b.Log("of the programs one failed:", err) // told; the other parties go on
				}
			}
			cmds = append(cmds, time.Since(begin).Seconds()/turns*1e3)
			begin = time.Now()
			for range turns {
				if out, err := exec.Command("true").CombinedOutput(); err != nil {
					b.Fatal(err, out)
				}
			}
			trues = append(trues, time.Since(begin).Seconds()/turns*1e3)
		}
	}
	figure(b, "shmkit-ms", ours)
	figure(b, "exec-ms", execs)
	figure(b, "shmkit/exec", over(ours, execs))
	figure(b, "cmd-ms", cmds)
	figure(b, "exec-true-ms", trues)
	figure(b, "cmd/exec", over(cmds, trues))
	if len(forks) > 0 {
		figure(b, "forkserver-ms", forks)
		figure(b, "forkserver/shmkit", over(forks, ours))
	}
}

func startWait(b *testing.B, node *shmkit.Node, spec shmkit.Spec) {
	b.Helper()
	group, err := node.Start(spec)
	if err == nil {
		err = group.Wait()
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSpawnMany is the time of a worker when n are started together and end: a
// group of function workers, and as many processes of the same binary by os/exec.
func BenchmarkSpawnMany(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 4, 16, 64} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			node, err := shmkit.Start(context.Background(), shmkit.Options{Sinks: []logring.Sink{nullSink{}}})
			if err != nil {
				b.Fatal(err)
			}
			defer node.Close()
			var ours, execs []float64
			for b.Loop() {
				for range 5 {
					begin := time.Now()
					startWait(b, node, shmkit.Spec{Func: funcNothing, Workers: n})
					ours = append(ours, time.Since(begin).Seconds()*1e3/float64(n))
					begin = time.Now()
					all := make([]*exec.Cmd, n)
					for i := range all {
						all[i] = exec.Command(exe, "-test.run", "^$")
						if err := all[i].Start(); err != nil {
							b.Fatal(err)
						}
					}
					for _, cmd := range all {
						if err := cmd.Wait(); err != nil {
							b.Fatal(err)
						}
					}
					execs = append(execs, time.Since(begin).Seconds()*1e3/float64(n))
				}
			}
			figure(b, "shmkit-ms", ours)
			figure(b, "exec-ms", execs)
		})
	}
}

var funcNothing = shmkit.Func("bench-nothing", func(context.Context, *shmkit.Worker) error { return nil })

// forkserver returns the milliseconds of one start and join.
func forkserver(b *testing.B, turns int) (ms float64, ok bool) {
	python, err := exec.LookPath("python3")
	if err != nil {
		b.Log("without Python: python3 is not installed (Debian package python3)")
		return 0, false
	}
	out, err := exec.Command(python, "python/forkserver.py", fmt.Sprint(turns)).Output()
	if err != nil {
		b.Fatalf("forkserver.py: %v", err)
	}
	ms, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatalf("forkserver.py printed %q", out)
	}
	return ms, true
}
