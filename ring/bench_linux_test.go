package ring_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"testing"

	"shmkit/internal/proctest"
	"shmkit/ring"
)

var _ = proctest.Helper("sink", func(args []string) {
	size, _ := strconv.Atoi(args[0])
	polite := args[1] == "polite"
	m, err := mapFile(os.NewFile(3, "view"), size)
	if err != nil {
		panic(err)
	}
	c, err := ring.NewConsumer(m, ring.ConsumerOptions{Name: "sink", Waiter: futex{}})
	if err != nil {
		panic(err)
	}
	var sum, n uint64
	for {
		if polite {
			if err := c.Wait(context.Background()); err != nil {
				panic(err)
			}
		}
		for r := range c.Batch(0) {
			sum += binary.LittleEndian.Uint64(r.Payload)
			if r.Tag == 1 {
				c.Release()
				os.Exit(0)
			}
			n++
		}
		if c.Err() != nil {
			panic(c.Err())
		}
		c.Release()
	}
})

func BenchmarkThroughput(b *testing.B) {
	for _, how := range []string{"polite", "impolite"} {
		for _, n := range []int{8, 64, 1024} {
			b.Run(fmt.Sprintf("%s/%dB", how, n), func(b *testing.B) {
				size, _ := ring.Size(1<<18, 65536)
				f := memfd(b, size)
				view := mapped(b, f, size)
				cmd := proctest.Command(b, "sink", fmt.Sprint(size), how)
				cmd.ExtraFiles = []*os.File{f}
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				p, err := ring.NewProducer(view, ring.ProducerOptions{Name: "bench", Waiter: futex{}})
				if err != nil {
					b.Fatal(err)
				}
				src := make([]byte, n)
				send := func(count int, tag uint32) {
					for i := range count {
						buf, err := p.Reserve(n)
						if err != nil {
							b.Fatal(err)
						}
						copy(buf, src)
						p.Commit(n, tag)
						if i%64 == 63 {
							p.Flush()
						}
					}
					p.Flush()
				}
				send(100000, 0)
				b.SetBytes(int64(n))
				b.ResetTimer()
				send(b.N, 0)
				b.StopTimer()
				st := p.Stats()
				b.ReportMetric(1e3/(float64(b.Elapsed().Nanoseconds())/float64(b.N)), "M/s")
				b.ReportMetric(float64(st.Blocked)/float64(b.N), "blocked/op")
				b.ReportMetric(float64(st.Wakes)/float64(b.N), "wakes/op")
				send(1, 1)
				cmd.Wait()
				p.Close()
			})
		}
	}
}
