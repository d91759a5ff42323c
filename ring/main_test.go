package ring_test

import (
	"testing"

	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }
