package bench

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkRingThroughput moves 64-byte records flat out: ours from a worker
// process to this one; a buffered Go channel between two goroutines of this
// process; Boost.Lockfree's spsc_queue between two C++ processes. Each of them
// buffers 1 MiB. All are given a record of 64 bytes with a new number in it; the
// channel and the queues copy it in and out, ours copies it in and reads it there.
// moodycamel's ReaderWriterQueue, between two threads of one C++ process, is shown beside.
//
// The bars: 4 times the channel, twice Boost.
func BenchmarkRingThroughput(b *testing.B) {
	const n = 20_000_000
	boost, rw := boostSPSC(b), readerWriterQueue(b)
	var ours, channel, cpp, threads []float64
	for b.Loop() {
		for range rounds {
			ours = append(ours, ringThroughput(b, n, 64))
			channel = append(channel, channelThroughput(n/10))
			if boost != "" {
				cpp = append(cpp, runPeer(b, boost, "throughput", n/4))
			}
			if rw != "" {
				threads = append(threads, runPeer(b, rw, "throughput", n/4))
			}
		}
	}
	o, spread := median(ours)
	c, _ := median(channel)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(o/1e6, "shmkit-M/s")
	b.ReportMetric(spread, "spread-%")
	b.ReportMetric(c/1e6, "channel-M/s")
	b.ReportMetric(o/c, "shmkit/channel")
	if cpp != nil {
		p, _ := median(cpp)
		b.ReportMetric(p/1e6, "boost-M/s")
		b.ReportMetric(o/p, "shmkit/boost")
	}
	if threads != nil {
		p, _ := median(threads)
		b.ReportMetric(p/1e6, "rwqueue-M/s")
		b.ReportMetric(o/p, "shmkit/rwqueue")
	}
}

// channelThroughput returns records per second through a channel that buffers as
// much as the ring: 1 MiB.
func channelThroughput(n int) float64 {
	type record [64]byte
	ch := make(chan record, 16384)
	go func() {
		r := record(template(64))
		for i := range n {
			binary.LittleEndian.PutUint64(r[:], uint64(i))
			ch <- r
		}
		close(ch)
	}()
	start := time.Now()
	var sum uint64
	for r := range ch {
		number, _ := look(r[:])
		sum += number
	}
	if sum != uint64(n)*uint64(n-1)/2 {
		panic("records went missing")
	}
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkRingSizes is the curve of throughput by record size, beside a pipe between the
// same processes, which is written a record at a time and read in pieces of 64 KiB.
func BenchmarkRingSizes(b *testing.B) {
	for _, bytes := range []int{8, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		b.Run(fmt.Sprint(bytes), func(b *testing.B) {
			n := min(10_000_000, (4<<30)/bytes)
			var rates, pipes []float64
			for b.Loop() {
				for range 3 {
					rates = append(rates, ringThroughput(b, n, bytes))
					pipes = append(pipes, pipeThroughput(b, min(n/20, 200_000), bytes))
				}
			}
			mid, spread := median(rates)
			pipe, _ := median(pipes)
			b.ReportMetric(pipe/1e6, "pipe-M/s")
			b.ReportMetric(mid/pipe, "shmkit/pipe")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(mid/1e6, "M/s")
			b.ReportMetric(mid*float64(bytes)/1e9, "GB/s")
			b.ReportMetric(spread, "spread-%")
		})
	}
}

// BenchmarkRingRoundTrip sends 8 bytes to a worker and waits for the answer, both
// sides polling, against Boost's queue in two C++ processes doing the same with
// its 64-byte record.
func BenchmarkRingRoundTrip(b *testing.B) {
	const n = 200_000
	boost, rw := boostSPSC(b), readerWriterQueue(b)
	var ours, cpp, threads []float64
	for b.Loop() {
		for range rounds {
			ours = append(ours, percentile(ringRoundTrips(b, n, 8, true), 50))
			if boost != "" {
				cpp = append(cpp, runPeer(b, boost, "roundtrip", n/2))
			}
			if rw != "" {
				threads = append(threads, runPeer(b, rw, "roundtrip", n/4))
			}
		}
	}
	o, spread := median(ours)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(o, "shmkit-p50-ns")
	b.ReportMetric(spread, "spread-%")
	if cpp != nil {
		p, _ := median(cpp)
		b.ReportMetric(p, "boost-p50-ns")
		b.ReportMetric(o/p, "shmkit/boost")
	}
	if threads != nil {
		p, _ := median(threads)
		b.ReportMetric(p, "rwqueue-p50-ns")
	}
}

// BenchmarkRingParked is a round trip for which each side parks and is woken,
// against a Unix socket between the same two processes: hot, one after the other;
// and cold, with a rest of 100 µs before each, in which the CPUs go idle too.
//
// The bar: hot p50 and p99 below half of the socket's.
func BenchmarkRingParked(b *testing.B) {
	b.Run("hot", func(b *testing.B) { parked(b, 20_000, 0) })
	b.Run("cold", func(b *testing.B) { parked(b, 800, 100*time.Microsecond) })
}

func parked(b *testing.B, n int, rest time.Duration) {
	var ours50, ours99, sock50, sock99 []float64
	for b.Loop() {
		for range rounds {
			ns := parkedRing(b, n, rest)
			ours50, ours99 = append(ours50, percentile(ns, 50)), append(ours99, percentile(ns, 99))
			ns = parkedSocket(b, n, rest)
			sock50, sock99 = append(sock50, percentile(ns, 50)), append(sock99, percentile(ns, 99))
		}
	}
	o50, spread := median(ours50)
	o99, _ := median(ours99)
	s50, _ := median(sock50)
	s99, _ := median(sock99)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(o50, "shmkit-p50-ns")
	b.ReportMetric(o99, "shmkit-p99-ns")
	b.ReportMetric(spread, "spread-%")
	b.ReportMetric(s50, "socket-p50-ns")
	b.ReportMetric(s99, "socket-p99-ns")
	b.ReportMetric(o50/s50, "p50-ratio")
	b.ReportMetric(o99/s99, "p99-ratio")
}

// BenchmarkLargeRecords sends large payloads to another process and back, against
// shmipc-go as it comes, and tuned to hold each payload in one piece. All copy the
// payload into shared memory once on each side.
//
// The bar: 3 times as fast as shmipc-go as it comes at 64 KiB and at 1 MiB.
func BenchmarkLargeRecords(b *testing.B) {
	for _, bytes := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(bytes), func(b *testing.B) {
			n := max(200, (256<<20)/bytes/4)
			n = min(n, 5000)
			var ours, theirs, tuned []float64
			for b.Loop() {
				for range rounds {
					ours = append(ours, percentile(ringRoundTrips(b, n, bytes, false), 50))
					theirs = append(theirs, percentile(shmipcRoundTrips(b, n, bytes, false), 50))
					tuned = append(tuned, percentile(shmipcRoundTrips(b, n, bytes, true), 50))
				}
			}
			o, spread := median(ours)
			t, _ := median(theirs)
			u, _ := median(tuned)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(o/1e3, "shmkit-p50-µs")
			b.ReportMetric(spread, "spread-%")
			b.ReportMetric(t/1e3, "shmipc-p50-µs")
			b.ReportMetric(t/o, "shmipc/shmkit")
			b.ReportMetric(u/1e3, "tuned-p50-µs")
			b.ReportMetric(u/o, "tuned/shmkit")
		})
	}
}

func percentile(ns []float64, p int) float64 {
	s := slices.Sorted(slices.Values(ns))
	return s[min(len(s)-1, len(s)*p/100)]
}
