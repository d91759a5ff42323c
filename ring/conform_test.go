package ring_test

import (
	"testing"

	"shmkit/ring/ringtest"
)

func TestConformanceHeap(t *testing.T) {
	ringtest.Run(t, func(tb testing.TB, size int) ringtest.Ring {
		view := make([]byte, size)
		return ringtest.Ring{ProducerView: view, ConsumerView: view}
	})
}
