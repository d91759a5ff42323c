package recfile_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
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

// What makes the comparisons fair: the same records, the same policy (nothing is flushed
// to the disk), the same folder. All processes are there, and have appended some records
// already, before the clock begins; each takes its own time, from that moment until its
// last record is written, and the slowest counts. The parties take turns (A B A B), and
// the figures are medians.
const rounds = 5

// A party appends as one process.
type party interface {
	append(rec []byte) error
	flush() error // until all is written
}

// appended is a party of ours, a File.
type appended struct{ *recfile.File }

func (a appended) append(rec []byte) error { return a.Append(rec) }
func (a appended) flush() error            { return a.Flush(context.Background()) }

// built is one that builds its records in the ring: from src, as others do in a buffer.
type built struct{ appended }

func (b built) append(rec []byte) error {
	buf, err := b.Reserve(len(rec))
	if err != nil {
		return err
	}
	copy(buf, rec)
	return b.Commit(len(rec))
}

// locked is the other way to append whole records from many processes: O_APPEND, and a
// lock around each write, because a write may be cut short.
type locked struct {
	f   *os.File
	buf []byte
}

func (l *locked) append(rec []byte) error {
	if err := syscall.Flock(int(l.f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	l.buf = append(append(l.buf[:0], rec...), '\n')
	if _, err := l.f.Write(l.buf); err != nil {
		return err
	}
	return syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN)
}
func (l *locked) flush() error { return nil }

// direct is what one process can do that has the file for itself.
type direct struct {
	f   *os.File
	buf []byte
}

func (d *direct) append(rec []byte) error {
	d.buf = append(d.buf[:0], rec...) // where it is built
	_, err := d.f.Write(d.buf)
	return err
}
func (d *direct) flush() error { return nil }

// The process of a party. Arguments: its kind, the records' number and size, and a path
// or the words of the rings. It says that it is ready, waits for the end of its standard
// input, and says how long it took.
var _ = proctest.Helper("party", func(args []string) {
	n, _ := strconv.Atoi(args[1])
	size, _ := strconv.Atoi(args[2])
	var p party
	switch open := func() *os.File {
		f, err := os.OpenFile(args[3], os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			die(err)
		}
		return f
	}; args[0] {
	case "appended":
		p = appended{attached(args[3:]).File("r")}
	case "built":
		p = built{appended{attached(args[3:]).File("r")}}
	case "locked":
		p = &locked{f: open()}
	case "direct":
		p = &direct{f: open()}
	}
	rec := bytes.Repeat([]byte("0123456789abcde,"), size/16+1)[:size]
	run := func(n int) {
		for i := range n {
			for k, v := 0, i; k < 10; k, v = k+1, v/10 { // a number, for no cost
				rec[20-k] = '0' + byte(v%10)
			}
			if err := p.append(rec); err != nil {
				die(err)
			}
		}
		if err := p.flush(); err != nil {
			die(err)
		}
	}
	run(n/20 + 1)
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	start := time.Now()
	run(n)
	fmt.Println(time.Since(start).Nanoseconds())
})

// race runs one turn of a party of some processes, and returns records per second.
func race(b *testing.B, kind string, workers, n, size int) float64 {
	b.Helper()
	dir, err := os.MkdirTemp(b.TempDir(), kind)
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "r")
	var s *recfile.Server
	if kind == "appended" || kind == "built" {
		format := recfile.Lines
		if workers == 1 {
			format = recfile.Frames
		}
		s = serve(b, map[string]recfile.Options{"r": {Path: path, Format: format, MaxRecord: max(size, 1<<10)}})
	}
	var outs []*bufio.Scanner
	var starts []io.Closer
	var cmds []*exec.Cmd
	var leases []messenger
	for range workers {
		args := []string{kind, strconv.Itoa(n), strconv.Itoa(size)}
		var cmd *exec.Cmd
		pipes := func(c *exec.Cmd) {
			cmd = c
			in, err := cmd.StdinPipe()
			if err != nil {
				b.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			starts, outs = append(starts, in), append(outs, bufio.NewScanner(out))
		}
		if s != nil {
			leases = append(leases, processWith(b, s, pipes, "party", args...))
		} else {
			pipes(proctest.Command(b, "party", append(args, path)...))
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
		}
		cmds = append(cmds, cmd)
	}
	for _, out := range outs {
		if !out.Scan() || out.Text() != "ready" {
			b.Fatalf("not ready: %q", out.Text())
		}
	}
	for _, c := range starts {
		c.Close()
	}
	var slowest time.Duration
	for _, out := range outs {
		out.Scan()
		ns, err := strconv.Atoi(out.Text())
		if err != nil {
			b.Fatal(err)
		}
		slowest = max(slowest, time.Duration(ns))
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		if s != nil {
			leases[i].Close()
		}
	}
	if s != nil {
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(workers*n) / slowest.Seconds()
}

// median, and the spread in percent of it.
func median(xs []float64) (mid, spread float64) {
	slices.Sort(xs)
	mid = xs[len(xs)/2]
	return mid, 100 * (xs[len(xs)-1] - xs[0]) / mid
}

// BenchmarkWorkers is 8 processes that append records of 64 bytes: through the node, and
// each by itself under a lock. ratio is the node's rate over the other.
func BenchmarkWorkers(b *testing.B) {
	const workers = 8
	n := max(b.N/workers, 100)
	var node, flock, ratio []float64
	for range rounds {
		node = append(node, race(b, "appended", workers, n, 63))
		flock = append(flock, race(b, "locked", workers, max(n/5, 100), 63)) // as long, about: it is slow
		ratio = append(ratio, node[len(node)-1]/flock[len(flock)-1])
	}
	ours, _ := median(node)
	theirs, _ := median(flock)
	r, spread := median(ratio)
	b.ReportMetric(ours/1e6, "node-Mrec/s")
	b.ReportMetric(theirs/1e6, "flock-Mrec/s")
	b.ReportMetric(r, "ratio")
	b.ReportMetric(spread, "spread-%")
}

// BenchmarkLarge is one process that makes large records: built in the ring, or copied
// into it, and framed by the node; and built in a buffer and written by itself, with no
// frame. ratio is the first's rate over the last's.
func BenchmarkLarge(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			n := max(min(b.N<<6, 256<<20)/size, 8) // a quarter of a gigabyte at most
			var inRing, copied, alone, ratio []float64
			for range rounds {
				inRing = append(inRing, race(b, "built", 1, n, size))
				copied = append(copied, race(b, "appended", 1, n, size))
				alone = append(alone, race(b, "direct", 1, n, size))
				ratio = append(ratio, inRing[len(inRing)-1]/alone[len(alone)-1])
			}
			mib := func(rates []float64) float64 {
				mid, _ := median(rates)
				return mid * float64(size) / (1 << 20)
			}
			r, spread := median(ratio)
			b.ReportMetric(mib(inRing), "built-MiB/s")
			b.ReportMetric(mib(copied), "appended-MiB/s")
			b.ReportMetric(mib(alone), "direct-MiB/s")
			b.ReportMetric(r, "ratio")
			b.ReportMetric(spread, "spread-%")
		})
	}
}

// TestBenchmarksRun keeps the benchmarks from rotting.
func TestBenchmarksRun(t *testing.T) {
	for name, run := range map[string]func(b *testing.B){
		"flock":    func(b *testing.B) { race(b, "locked", 2, 100, 63) },
		"appended": func(b *testing.B) { race(b, "appended", 2, 100, 63) },
		"built":    func(b *testing.B) { race(b, "built", 1, 10, 64<<10) },
		"direct":   func(b *testing.B) { race(b, "direct", 1, 10, 64<<10) },
	} {
		ran := false
		testing.Benchmark(func(b *testing.B) {
			if b.N == 1 {
				run(b)
				ran = true
			}
		})
		if !ran {
			t.Error(name, "failed")
		}
	}
}
