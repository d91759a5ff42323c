package bench

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"shmkit"
	"shmkit/logring"
)

// BenchmarkMemory is the memory of workers that have logged once and wait, and what each
// adds to its node. A worker's is its proportional set size, in which a page that is shared
// counts in parts; the node's is what it has more in memory, and open; node-threads are all
// of its threads.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{64, 256} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { memory(b, n) })
	}
}

func memory(b *testing.B, workers int) {
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Dir: b.TempDir(), Config: benchConfig{Level: "info"}, Sinks: []logring.Sink{nullSink{}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	debug.FreeOSMemory()
	before, files := rollup(b, os.Getpid(), "Rss"), entries(b, "/proc/self/fd")
	if _, err := node.Start(shmkit.Spec{Func: funcQuiet, Workers: workers}); err != nil {
		b.Fatal(err)
	}
	var pids []int
	for len(pids) < workers {
		time.Sleep(50 * time.Millisecond)
		pids = pids[:0]
		for _, w := range node.Stats().Workers {
			if w.Live && w.PID > 0 && w.Delivered > 0 && w.PID != os.Getpid() {
				pids = append(pids, w.PID)
			}
		}
	}
	var kib, own []float64
	for range 3 * b.N {
		time.Sleep(100 * time.Millisecond)
		sum := 0.0
		for _, pid := range pids {
			sum += rollup(b, pid, "Pss")
		}
		kib = append(kib, sum/float64(workers))
		debug.FreeOSMemory()
		own = append(own, (rollup(b, os.Getpid(), "Rss")-before)/float64(workers))
	}
	figure(b, "worker-KiB", kib)
	figure(b, "node-KiB/worker", own)
	b.ReportMetric(float64(entries(b, "/proc/self/fd")-files)/float64(workers), "node-files/worker")
	b.ReportMetric(float64(entries(b, "/proc/self/task")), "node-threads")
}

// rollup returns KiB of a process's memory.
func rollup(b *testing.B, pid int, field string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+field+":")
	kib, err := strconv.ParseFloat(strings.Fields(rest + " ?")[0], 64)
	if err != nil {
		b.Skipf("the kernel does not tell %s", field)
	}
	return kib
}

func entries(b *testing.B, folder string) int {
	all, err := os.ReadDir(folder)
	if err != nil {
		b.Skip(err)
	}
	return len(all)
}

// BenchmarkRecordBytes is what a record of a message and three values takes in the ring,
// as a native event and as a slog call.
func BenchmarkRecordBytes(b *testing.B) {
	const records = 1000
	for _, party := range hotPaths[:2] {
		b.Run(party.name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(recordBytes(b, party.make, records), "B/record")
			}
		})
	}
}

func recordBytes(b *testing.B, make func(*logring.Writer) func(int), records int) float64 {
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{nullSink{}}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	files, words, lease, err := c.Donate("bench", 0, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer lease.Close()
	// The bell rings for nobody: the records stay where they are.
	w, err := logring.Attach(files, words, func() error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	log := make(w)
	log(0) // what is told once: names, and the declaration of the event
	before := c.Stats()
	for i := range records {
		log(i)
	}
	after := c.Stats()
	if after.Delivered != before.Delivered || len(after.Workers) != 1 {
		b.Skip("the collector looked by itself")
	}
	return float64(after.Workers[0].RingUsed-before.Workers[0].RingUsed) / float64(records)
}
