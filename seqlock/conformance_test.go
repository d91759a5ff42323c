package seqlock_test

import (
	"testing"

	"shmkit/internal/proctest"
	"shmkit/seqlock/seqlocktest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// TestConformance runs the suite on heap memory, where the race detector sees it.
func TestConformance(t *testing.T) {
	for _, v := range seqlocktest.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			seqlocktest.Test(t, v, seqlocktest.Heap, new(seqlocktest.Parker))
		})
	}
}
