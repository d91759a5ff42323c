//go:build linux && (amd64 || arm64)

package ring_test

import (
	"testing"

	"shmkit/ring/ringtest"
	"shmkit/shm"
)

// The suite on a sealed segment, as two processes map it: the consumer's side is
// the creator's mapping, the producer's that of one who attached; both wait on the
// one parked thread of the process.
func TestConformanceSegment(t *testing.T) {
	ringtest.Run(t, func(tb testing.TB, size int) ringtest.Ring {
		kind := shm.KindOf("RING")
		owner, err := shm.Create(shm.Options{Name: "conformance", Kind: kind, Size: size, HandOff: shm.ReadWrite})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { owner.Close() })
		f, err := owner.Reopen()
		if err != nil {
			tb.Fatal(err)
		}
		worker, err := shm.Attach(f, shm.Expect{Name: "conformance", Kind: kind, MinSize: size, Access: shm.ReadWrite})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { worker.Close() })
		return ringtest.Ring{ProducerView: worker.Region(), ConsumerView: owner.Region(), Waiter: shm.Futex{}}
	})
}
