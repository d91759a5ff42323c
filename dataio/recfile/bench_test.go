package recfile_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"shmkit/dataio/recfile"
	"shmkit/internal/proctest"
)

// cheap returns a record whose making costs nothing beside its writing: 64 bytes, with
// a number in them.
func cheap(rec []byte, i int) []byte {
	for k := 0; k < 10; k, i = k+1, i/10 {
		rec[20-k] = '0' + byte(i%10)
	}
	return rec
}

func cheapRecord(rank string) []byte {
	return []byte(rank + ",0123456789012345678901234567890123456789012345678901234567890,")[:63]
}

var _ = proctest.Helper("cheap-appender", func(args []string) {
	n, _ := strconv.Atoi(args[1])
	c := attached(args[2:])
	f, rec := c.File("results.csv"), cheapRecord(args[0])
	for i := range n {
		if err := f.Append(cheap(rec, i)); err != nil {
			die(err)
		}
	}
	c.Close()
})

// The other way to append whole records from many processes: O_APPEND, and a lock
// around each write, because a write may be cut short.
var _ = proctest.Helper("locker", func(args []string) {
	n, _ := strconv.Atoi(args[1])
	f, err := os.OpenFile(args[2], os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		die(err)
	}
	fd := int(f.Fd())
	rec := append(cheapRecord(args[0]), '\n')
	for i := range n {
		cheap(rec, i)
		if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
			die(err)
		}
		if _, err := f.Write(rec); err != nil {
			die(err)
		}
		if err := syscall.Flock(fd, syscall.LOCK_UN); err != nil {
			die(err)
		}
	}
})

// BenchmarkWorkers is 8 processes that append the same records: through the node, and
// each by itself under a lock. ratio is the node's rate over the other.
func BenchmarkWorkers(b *testing.B) {
	const workers = 8
	n := max(b.N/workers, 100)
	var node, locked []float64
	for range 3 {
		dir := b.TempDir()
		s := serve(b, map[string]recfile.Options{"results.csv": {Path: filepath.Join(dir, "results.csv")}})
		start := time.Now()
		var cmds []*exec.Cmd
		var leases []messenger
		for rank := range workers {
			cmd, lease := process(b, s, "cheap-appender", strconv.Itoa(rank), strconv.Itoa(n))
			cmds, leases = append(cmds, cmd), append(leases, lease)
		}
		for i, cmd := range cmds {
			if err := cmd.Wait(); err != nil {
				b.Fatal(err)
			}
			leases[i].Close()
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		node = append(node, float64(workers*n)/time.Since(start).Seconds())

		start = time.Now()
		cmds = cmds[:0]
		for rank := range workers {
			cmd := proctest.Command(b, "locker", strconv.Itoa(rank), strconv.Itoa(n), filepath.Join(dir, "locked.csv"))
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		for _, cmd := range cmds {
			if err := cmd.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		locked = append(locked, float64(workers*n)/time.Since(start).Seconds())
	}
	slices.Sort(node)
	slices.Sort(locked)
	b.ReportMetric(node[1]/1e6, "node-Mrec/s")
	b.ReportMetric(locked[1]/1e6, "flock-Mrec/s")
	b.ReportMetric(node[1]/locked[1], "ratio")
}

// TestBenchmarksRun keeps the benchmark from rotting.
func TestBenchmarksRun(t *testing.T) {
	was := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", was)
	flag.Set("test.benchtime", "800x")
	if r := testing.Benchmark(BenchmarkWorkers); r.N == 0 {
		t.Error("failed")
	}
}
