package bench

import (
	"testing"
	"time"

	gsync "gvisor.dev/gvisor/pkg/sync"

	"shmkit/seqlock"
)

// line is a value of one cache line.
type line struct{ words [8]uint64 }

// BenchmarkLatch compares reading and writing 64 bytes, with nobody at the other
// side, through the latch and through gVisor's seqcount with a plain copy inside,
// as its documentation shows. The latch also survives a dead writer; the seqcount
// does not set out to.
//
// The bars: a read at most 1.5 times the seqcount's, a write faster than it.
func BenchmarkLatch(b *testing.B) {
	const n = 20_000_000
	size, err := seqlock.LatchSize[line](seqlock.DefaultSlots)
	if err != nil {
		b.Fatal(err)
	}
	view := make([]byte, size)
	latch, err := seqlock.NewLatch[line](view, seqlock.DefaultSlots)
	if err != nil {
		b.Fatal(err)
	}
	var (
		seq    gsync.SeqCount
		shared line
		v      = line{[8]uint64{0: uint64(runtimeInt), 7: uint64(runtimeInt)}}
	)
	perCall := func(f func()) float64 {
		start := time.Now()
		f()
		return float64(time.Since(start)) / n
	}
	var reads, writes, theirReads, theirWrites []float64
	for b.Loop() {
		for range rounds {
			writes = append(writes, perCall(func() {
				for i := range n {
					v.words[3] = uint64(i)
					if _, err := latch.Store(&v); err != nil {
						b.Fatal(err)
					}
				}
			}))
			theirWrites = append(theirWrites, perCall(func() {
				for i := range n {
					v.words[3] = uint64(i)
					seq.BeginWrite()
					shared = v
					seq.EndWrite()
				}
			}))
			var got, sum line
			reads = append(reads, perCall(func() {
				for range n {
					if _, err := latch.Load(&got); err != nil {
						b.Fatal(err)
					}
					sum.words[0] += got.words[3]
				}
			}))
			theirReads = append(theirReads, perCall(func() {
				for range n {
					for {
						epoch := seq.BeginRead()
						got = shared
						if seq.ReadOk(epoch) {
							break
						}
					}
					sum.words[1] += got.words[3]
				}
			}))
			if sum.words[0] != sum.words[1] || sum.words[0] != n*(n-1) {
				b.Fatalf("the reads add up to %d and %d", sum.words[0], sum.words[1])
			}
		}
	}
	figure(b, "shmkit-read-ns", reads)
	figure(b, "gvisor-read-ns", theirReads)
	figure(b, "read-ratio", over(reads, theirReads))
	figure(b, "shmkit-write-ns", writes)
	figure(b, "gvisor-write-ns", theirWrites)
	figure(b, "write-ratio", over(writes, theirWrites))
}
