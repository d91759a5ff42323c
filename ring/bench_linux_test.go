package ring_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/ring"
	"shmkit/shm"
)

// The benchmarks run between two processes, not between two goroutines: the other
// side is a copy of this binary that maps the same memory. What makes them fair:
//
//   - Every record is written by the producer and its first word is read by the
//     consumer; records are not shared or reused.
//   - Waiting is the package's own; no side is pinned to a CPU.
//   - The variants that lose are here as well: a consumer that polls flat out
//     (Impolite), a flush for each record (FlushEach), a sequentially consistent
//     store (run with -tags ring_seqcst), and what a program would use instead (a
//     buffered channel, a unix socket).
//
// Compare runs that alternate, for instance of two binaries made with
// go test -c and go test -c -tags ring_seqcst.

const stop = 1 // tag that ends a helper

// attachTo maps the view on the given descriptor in a helper process.
func attachTo(fd uintptr, size string) []byte {
	n, _ := strconv.Atoi(size)
	m, err := mapFile(os.NewFile(fd, "view"), n)
	if err != nil {
		die("%v", err)
	}
	return m
}

func mustProducer(view []byte, o ring.ProducerOptions) *ring.Producer {
	o.Name = "bench"
	p, err := ring.NewProducer(view, o)
	if err != nil {
		die("%v", err)
	}
	return p
}

func mustConsumer(view []byte, o ring.ConsumerOptions) *ring.Consumer {
	o.Name = "bench"
	c, err := ring.NewConsumer(view, o)
	if err != nil {
		die("%v", err)
	}
	return c
}

var _ = proctest.Helper("sink", func(args []string) {
	c := mustConsumer(attachTo(3, args[0]), ring.ConsumerOptions{Waiter: shm.Futex{}})
	polite := args[1] == "polite"
	var sum uint64
	for {
		if polite {
			if err := c.Wait(context.Background()); err != nil {
				die("%v", err)
			}
		}
		for r := range c.Batch(0) {
			sum += binary.LittleEndian.Uint64(r.Payload)
			if r.Tag == stop {
				c.Release()
				fmt.Fprint(os.Stdout, sum)
				return
			}
		}
		if c.Err() != nil {
			die("%v", c.Err())
		}
		c.Release()
	}
})

// throughput sends b.N records of n bytes to another process.
func throughput(b *testing.B, n, flushEvery int, consumer string) {
	size, err := ring.Size(1<<19, 1<<16)
	if err != nil {
		b.Fatal(err)
	}
	f := memfd(b, size)
	cmd := proctest.Command(b, "sink", fmt.Sprint(size), consumer)
	cmd.ExtraFiles = []*os.File{f}
	begin(b, cmd)
	p := mustProducer(mapped(b, f, size), ring.ProducerOptions{Waiter: shm.Futex{}})
	defer p.Close()
	src := make([]byte, n)
	send := func(count int, tag uint32) {
		for i := range count {
			buf, err := p.Reserve(n)
			if err != nil {
				b.Fatal(err)
			}
			copy(buf, src)
			p.Commit(n, tag)
			if i%flushEvery == flushEvery-1 {
				p.Flush()
			}
		}
		p.Flush()
	}
	send(1000+(1<<22)/n, 0) // both sides are there and warm
	before := p.Stats()
	b.SetBytes(int64(n))
	b.ResetTimer()
	send(b.N, 0)
	b.StopTimer()
	after := p.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
	b.ReportMetric(float64(after.Wakes-before.Wakes)*1e6/float64(b.N), "wakes/M")
	send(1, stop)
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
}

func BenchmarkThroughput(b *testing.B) {
	for _, n := range []int{8, 16, 32, 64, 128, 256, 1024, 4096, 16384, 65536} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) { throughput(b, n, 64, "polite") })
	}
}

func BenchmarkImpolite(b *testing.B) {
	for _, n := range []int{8, 64} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) { throughput(b, n, 64, "impolite") })
	}
}

func BenchmarkFlushEach(b *testing.B) {
	for _, n := range []int{8, 64} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) { throughput(b, n, 1, "polite") })
	}
}

// BenchmarkChannel is what a program in one process would use.
func BenchmarkChannel(b *testing.B) {
	b.Run("64B", func(b *testing.B) {
		ch := make(chan [64]byte, 1<<13) // 512 KiB, as the rings above
		done := make(chan byte)
		go func() {
			var sum byte
			for x := range ch {
				sum += x[0]
			}
			done <- sum
		}()
		var x [64]byte
		b.SetBytes(64)
		b.ResetTimer()
		for i := range b.N {
			x[0] = byte(i)
			ch <- x
		}
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
		close(ch)
		<-done
	})
}

// The other side of a ping-pong: it sends back what comes.
var _ = proctest.Helper("echo", func(args []string) {
	o := ring.ConsumerOptions{Waiter: shm.Futex{}, Spin: -1}
	c := mustConsumer(attachTo(3, args[0]), o)
	p := mustProducer(attachTo(4, args[0]), ring.ProducerOptions{Waiter: shm.Futex{}})
	poll := args[1] == "poll"
	for {
		if !poll {
			if err := c.Wait(context.Background()); err != nil {
				die("%v", err)
			}
		}
		r, ok, err := c.Next()
		if err != nil {
			die("%v", err)
		}
		if !ok {
			continue
		}
		b, err := p.Reserve(len(r.Payload))
		if err != nil {
			die("%v", err)
		}
		copy(b, r.Payload)
		p.Commit(len(b), r.Tag)
		if !poll {
			p.Flush()
		}
		tag := r.Tag
		c.Release()
		if tag == stop {
			p.Flush()
			return
		}
	}
})

// pingPong sends a record of 64 bytes there and back, b.N times.
func pingPong(b *testing.B, how string) {
	size, err := ring.Size(1<<16, 1<<10)
	if err != nil {
		b.Fatal(err)
	}
	there, back := memfd(b, size), memfd(b, size)
	cmd := proctest.Command(b, "echo", fmt.Sprint(size), how)
	cmd.ExtraFiles = []*os.File{there, back}
	begin(b, cmd)
	p := mustProducer(mapped(b, there, size), ring.ProducerOptions{Waiter: shm.Futex{}})
	defer p.Close()
	c := mustConsumer(mapped(b, back, size), ring.ConsumerOptions{Waiter: shm.Futex{}, Spin: -1})
	defer c.Close()
	src := make([]byte, 64)
	turn := func(tag uint32) {
		buf, err := p.Reserve(64)
		if err != nil {
			b.Fatal(err)
		}
		copy(buf, src)
		p.Commit(64, tag)
		if how != "poll" {
			p.Flush()
		}
		for {
			if how != "poll" {
				if err := c.Wait(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			if _, ok, err := c.Next(); ok {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		c.Release()
	}
	roundTrips(b, how == "poll", func() { turn(0) })
	turn(stop)
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
}

// roundTrips reports percentiles. Where the clock would be a good part of what it
// measures, each sample is the mean of ten.
func roundTrips(b *testing.B, grouped bool, turn func()) {
	group := 1
	if grouped {
		group = 10
	}
	for range 1000 {
		turn()
	}
	samples := make([]time.Duration, 0, b.N/group+1)
	b.ResetTimer()
	for i := 0; i < b.N; i += group {
		start := time.Now()
		for range group {
			turn()
		}
		samples = append(samples, time.Since(start)/time.Duration(group))
	}
	b.StopTimer()
	slices.Sort(samples)
	for _, q := range []int{50, 99} {
		b.ReportMetric(float64(samples[len(samples)*q/100].Nanoseconds()), fmt.Sprintf("p%d-ns", q))
	}
}

// BenchmarkRoundTrip polls on both sides.
func BenchmarkRoundTrip(b *testing.B) { pingPong(b, "poll") }

// BenchmarkParked parks on both sides for each record.
func BenchmarkParked(b *testing.B) { pingPong(b, "park") }

var _ = proctest.Helper("socket-echo", func([]string) {
	conn := connOf(3)
	buf := make([]byte, 64)
	for {
		n, err := conn.Read(buf)
		if n == 0 || err != nil {
			return
		}
		conn.Write(buf[:n])
	}
})

func connOf(fd uintptr) net.Conn {
	f := os.NewFile(fd, "socket")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		die("%v", err)
	}
	return conn
}

// BenchmarkUnixSocket is the same ping-pong over a pair of unix sockets.
func BenchmarkUnixSocket(b *testing.B) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	cmd := proctest.Command(b, "socket-echo")
	cmd.ExtraFiles = []*os.File{theirs}
	begin(b, cmd)
	theirs.Close()
	conn := connOf(uintptr(fds[0]))
	buf := make([]byte, 64)
	roundTrips(b, false, func() {
		if _, err := conn.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	})
	conn.Close()
	cmd.Wait()
}

// BenchmarkAlone is what both sides cost without any cache line moving between
// CPUs: one goroutine writes 64 records of 64 bytes and reads them.
func BenchmarkAlone(b *testing.B) {
	size, err := ring.Size(1<<16, 1<<10)
	if err != nil {
		b.Fatal(err)
	}
	for _, each := range []string{"batch", "flush each", "release each"} {
		b.Run(each, func(b *testing.B) {
			view := make([]byte, size)
			p := mustProducer(view, ring.ProducerOptions{})
			defer p.Close()
			c := mustConsumer(view, ring.ConsumerOptions{})
			defer c.Close()
			src := make([]byte, 64)
			b.ReportAllocs()
			for i := 0; i < b.N; i += 64 {
				for range 64 {
					buf, _ := p.Reserve(64)
					copy(buf, src)
					p.Commit(64, 0)
					if each == "flush each" {
						p.Flush()
					}
				}
				p.Flush()
				for r := range c.Batch(0) {
					src[0] = r.Payload[0]
					if each == "release each" {
						c.Release()
					}
				}
				c.Release()
			}
		})
	}
	b.Run("overwrite", func(b *testing.B) {
		p := mustProducer(make([]byte, size), ring.ProducerOptions{Policy: ring.OverwriteOldest})
		defer p.Close()
		src := make([]byte, 64)
		for range b.N {
			buf, _ := p.Reserve(64)
			copy(buf, src)
			p.Commit(64, 0)
		}
	})
}

var _ = proctest.Helper("nothing", func([]string) {})

// TestBenchmarksRun keeps the benchmarks from rotting: a few rounds of each.
func TestBenchmarksRun(t *testing.T) {
	probe := proctest.Command(t, "nothing")
	begin(t, probe) // or skip: a benchmark that skips looks like one that failed
	if err := probe.Wait(); err != nil {
		t.Fatal(err)
	}
	was := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", was)
	flag.Set("test.benchtime", "200x")
	for name, f := range map[string]func(*testing.B){
		"throughput": func(b *testing.B) { throughput(b, 64, 64, "polite") },
		"impolite":   func(b *testing.B) { throughput(b, 64, 1, "impolite") },
		"round trip": BenchmarkRoundTrip, "parked": BenchmarkParked,
		"socket": BenchmarkUnixSocket, "channel": BenchmarkChannel, "alone": BenchmarkAlone,
	} {
		if r := testing.Benchmark(f); r.N == 0 {
			t.Errorf("%s failed", name)
		}
	}
}
