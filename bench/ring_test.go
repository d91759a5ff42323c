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
	pinPair(b)
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
	figure(b, "shmkit-M/s", times(ours, 1e-6))
	for name, theirs := range map[string][]float64{"channel": channel, "boost": cpp, "rwqueue": threads} {
		if theirs != nil {
			figure(b, name+"-M/s", times(theirs, 1e-6))
			figure(b, "shmkit/"+name, over(ours, theirs))
		}
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
			pinPair(b)
			n := min(10_000_000, (4<<30)/bytes)
			var rates, pipes []float64
			for b.Loop() {
				for range 3 {
					rates = append(rates, ringThroughput(b, n, bytes))
					pipes = append(pipes, pipeThroughput(b, min(n/20, 200_000), bytes))
				}
			}
			figure(b, "M/s", times(rates, 1e-6))
			figure(b, "GB/s", times(rates, float64(bytes)/1e9))
			figure(b, "pipe-M/s", times(pipes, 1e-6))
			figure(b, "shmkit/pipe", over(rates, pipes))
		})
	}
}

// BenchmarkRingRoundTrip sends 8 bytes to a worker and waits for the answer, both
// sides polling, against Boost's queue and iceoryx between two C++ processes doing the
// same with a 64-byte record, and moodycamel's queue between two threads.
func BenchmarkRingRoundTrip(b *testing.B) {
	pinPair(b)
	const n = 200_000
	boost, rw, ice := boostSPSC(b), readerWriterQueue(b), iceoryxRTT(b)
	var ours, cpp, threads, broker []float64
	for b.Loop() {
		for range rounds {
			ours = append(ours, percentile(ringRoundTrips(b, n, 8, true), 50))
			if boost != "" {
				cpp = append(cpp, runPeer(b, boost, "roundtrip", n/2))
			}
			if rw != "" {
				threads = append(threads, runPeer(b, rw, "roundtrip", n/4))
			}
			if ice != "" {
				broker = append(broker, runPeer(b, ice, "roundtrip", n/4))
			}
		}
	}
	figure(b, "shmkit-p50-ns", ours)
	for name, theirs := range map[string][]float64{"boost": cpp, "rwqueue": threads, "iceoryx": broker} {
		if theirs != nil {
			figure(b, name+"-p50-ns", theirs)
			figure(b, "shmkit/"+name, over(ours, theirs))
		}
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
	pinPair(b)
	var ours50, ours99, sock50, sock99 []float64
	for b.Loop() {
		for range rounds {
			ns := parkedRing(b, n, rest)
			ours50, ours99 = append(ours50, percentile(ns, 50)), append(ours99, percentile(ns, 99))
			ns = parkedSocket(b, n, rest)
			sock50, sock99 = append(sock50, percentile(ns, 50)), append(sock99, percentile(ns, 99))
		}
	}
	figure(b, "shmkit-p50-ns", ours50)
	figure(b, "shmkit-p99-ns", ours99)
	figure(b, "socket-p50-ns", sock50)
	figure(b, "socket-p99-ns", sock99)
	figure(b, "p50-ratio", over(ours50, sock50))
	figure(b, "p99-ratio", over(ours99, sock99))
}

// BenchmarkLargeRecords sends large payloads to another process and back, against
// shmipc-go as it comes, and tuned to hold each payload in one piece. All copy the
// payload into shared memory once on each side. Our sides look for as long as a copy of
// 64 KiB and more takes before they park (ringJob.spin), which shmipc-go has no setting for.
//
// The bar: 3 times as fast as shmipc-go as it comes at 64 KiB and at 1 MiB.
func BenchmarkLargeRecords(b *testing.B) {
	for _, bytes := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(bytes), func(b *testing.B) {
			pinPair(b)
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
			figure(b, "shmkit-p50-µs", times(ours, 1e-3))
			figure(b, "shmipc-p50-µs", times(theirs, 1e-3))
			figure(b, "shmipc/shmkit", over(theirs, ours))
			figure(b, "tuned-p50-µs", times(tuned, 1e-3))
			figure(b, "tuned/shmkit", over(tuned, ours))
		})
	}
}

func percentile(ns []float64, p int) float64 {
	s := slices.Sorted(slices.Values(ns))
	return s[min(len(s)-1, len(s)*p/100)]
}
