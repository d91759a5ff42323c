package ring_test

import (
	"flag"
	"os"
	"testing"

	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run()) // the fuzzing engine leaves goroutines and processes of its own
	}
	proctest.Main(m)
}
