package ring_test

import (
	"testing"

	"shmkit/ring/ringtest"
)

func TestConformanceMapped(t *testing.T) {
	ringtest.Run(t, func(tb testing.TB, size int) ringtest.Ring {
		f := memfd(tb, size)
		return ringtest.Ring{ProducerView: mapped(tb, f, size), ConsumerView: mapped(tb, f, size), Waiter: futex{}}
	})
}
