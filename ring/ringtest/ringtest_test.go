package ringtest_test

import (
	"testing"

	"shmkit/internal/proctest"
	"shmkit/ring/ringtest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func TestRun(t *testing.T) {
	ringtest.Run(t, func(_ testing.TB, size int) ringtest.Ring {
		view := make([]byte, size)
		return ringtest.Ring{ProducerView: view, ConsumerView: view}
	})
}
