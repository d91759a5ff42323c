package ring_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/ring"
	"shmkit/shm"
)

// BenchmarkBurst is 20 records of 48 bytes in a row into a ring that another process has
// read, as a log call meets it, with the memory asked for some lines ahead and without.
// The two take turns. They differ where the two processes run on cores with caches of
// their own; on two threads of one core there is nothing to gain.
func BenchmarkBurst(b *testing.B) {
	const burst, n, block, pause = 20, 48, 100, 20 * time.Microsecond
	size, err := ring.Size(1<<16, 1<<10)
	if err != nil {
		b.Fatal(err)
	}
	there, back := memfd(b, size), memfd(b, size)
	cmd := proctest.Command(b, "echo", fmt.Sprint(size), "poll")
	cmd.ExtraFiles = []*os.File{there, back}
	begin(b, cmd)
	p := mustProducer(mapped(b, there, size), ring.ProducerOptions{Waiter: shm.Futex{}})
	defer p.Close()
	c := mustConsumer(mapped(b, back, size), ring.ConsumerOptions{Waiter: shm.Futex{}, Spin: -1})
	defer c.Close()
	src := make([]byte, n)
	send := func(tag uint32) {
		buf, err := p.Reserve(n)
		if err != nil {
			b.Fatal(err)
		}
		copy(buf, src)
		p.Commit(n, tag)
	}
	receive := func(count int) {
		for count > 0 {
			if _, ok, err := c.Next(); ok {
				count--
			} else if err != nil {
				b.Fatal(err)
			}
		}
		c.Release()
	}
	var took [2][]time.Duration
	for i := range 1000 + 2*max(b.N, block) {
		p.AskAhead(i/block%2 == 0)
		start := time.Now()
		for range burst {
			send(0)
		}
		d := time.Since(start)
		receive(burst)
		if i >= 1000 {
			took[i/block%2] = append(took[i/block%2], d/burst)
		}
		for start := time.Now(); time.Since(start) < pause; { // the other side polls the tail
		}
	}
	send(stop)
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
	var p50 [2]float64
	for v, all := range took {
		slices.Sort(all)
		p50[v] = float64(all[len(all)/2].Nanoseconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p50[0], "ahead-p50-ns")
	b.ReportMetric(p50[1], "not-ahead-p50-ns")
	b.ReportMetric(p50[1]/p50[0], "gain")
}
