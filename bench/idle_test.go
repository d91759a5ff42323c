package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit"
	"shmkit/logring"
)

// What idling costs is the difference of two naps: each of them includes one wake, which
// takes its time where everything has become cold.
const shortNap, longNap = 200 * time.Millisecond, 2 * time.Second

// idleShare is the share of a processor that this process takes while nothing happens.
func idleShare() float64 {
	nap(cpuTime, shortNap) // what was still under way
	return max(0, (nap(cpuTime, longNap)-nap(cpuTime, shortNap)).Seconds()/(longNap-shortNap).Seconds())
}

// nap returns how much processor time was used meanwhile.
func nap(used func() time.Duration, d time.Duration) time.Duration {
	before := used()
	time.Sleep(d)
	return used() - before
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuTimeOf is that of another process, of all its threads that live, as the scheduler
// counts it.
func cpuTimeOf(pid int) (sum time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, t := range tasks {
		text, _ := os.ReadFile(t)
		ns, _ := strconv.ParseInt(strings.Fields(string(text) + " 0")[0], 10, 64)
		sum += time.Duration(ns)
	}
	return sum
}

// funcIdle waits for changes that do not come, in eight places, and tells how much
// processor time a second of that takes.
var funcIdle = shmkit.Func("bench-idle", func(ctx context.Context, w *shmkit.Worker) error {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range w.Snapshots().Watch(stop, "level") {
			}
		})
	}
	time.Sleep(500 * time.Millisecond) // until they sleep, and what a young process has to do is done
	share := idleShare()
	cancel()
	all.Wait()
	return tell(w, time.Duration(share*float64(time.Second)))
})

// BenchmarkConfigIdle is the processor time that a worker with eight watches takes
// in a second in which nothing changes. The bar: none to speak of.
func BenchmarkConfigIdle(b *testing.B) {
	var us []float64
	for range 3 * b.N {
		figures, _ := runWorkers(b, funcIdle, 1, 1, logring.JSON(io.Discard))
		us = append(us, figures[0]/1e3)
	}
	figure(b, "cpu-µs/s", us)
}

// funcQuiet does nothing until it is told to stop.
var funcQuiet = shmkit.Func("bench-quiet", func(ctx context.Context, w *shmkit.Worker) error {
	w.Log.Info("here")
	<-ctx.Done()
	return nil
})

// BenchmarkIdle measures the processor time of a node and its 64 workers that have logged
// once and say nothing.
//
// The bar: 0.1 % of one processor, for all of them together.
func BenchmarkIdle(b *testing.B) {
	const workers = 64
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Name: fmt.Sprintf("bench-idle-%d", os.Getpid()), Dir: b.TempDir(),
		Config: benchConfig{Level: "info"}, Sinks: []logring.Sink{&latencySink{}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	if _, err := node.Start(shmkit.Spec{Func: funcQuiet, Workers: workers}); err != nil {
		b.Fatal(err)
	}
	for s := node.Stats(); s.Delivered < workers || s.Pending > 0; s = node.Stats() {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond) // the workers are young
	var pids []int
	for _, w := range node.Stats().Workers {
		if w.PID != os.Getpid() {
			pids = append(pids, w.PID)
		}
	}
	ofWorkers := func() (sum time.Duration) {
		for _, pid := range pids {
			sum += cpuTimeOf(pid)
		}
		return sum
	}
	var all, nodes, wakes []float64
	for range 3 * b.N {
		before, woken := ofWorkers(), node.Stats().Wakes
		own := idleShare()
		theirs := (ofWorkers() - before).Seconds() / (longNap + 2*shortNap).Seconds() // nobody wakes them
		nodes, all = append(nodes, 100*own), append(all, 100*(own+theirs))
		wakes = append(wakes, float64(node.Stats().Wakes-woken))
	}
	figure(b, "cpu-%", all)
	figure(b, "node-cpu-%", nodes)
	figure(b, "wakes", wakes)
}

// The two ways to ask for processor time agree about this process.
func TestCPUTime(t *testing.T) {
	for own := cpuTime(); cpuTime()-own < 20*time.Millisecond; { // spin
	}
	of := cpuTimeOf(os.Getpid())
	if of == 0 {
		t.Skip("the kernel does not tell what a thread has run")
	}
	if own := cpuTime(); of > 2*own || own > 2*of+100*time.Millisecond { // threads that ended count in one only
		t.Errorf("the process has used %v, its threads %v", own, of)
	}
}
