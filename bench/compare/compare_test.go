package main

import (
	"context"
	"math"
	"strings"
	"testing"
)

const base = `pkg: shmkit/ring
BenchmarkA-2 	100	 10.0 ns/op
BenchmarkA-2 	100	 12.0 ns/op
BenchmarkA-2 	100	 11.0 ns/op
BenchmarkB-2 	100	 100 ns/op
BenchmarkGone-2 	100	 100 ns/op
`

func TestGeomean(t *testing.T) {
	for _, c := range []struct {
		b    string
		want float64
		n    int
	}{
		{base, 0, 3},
		{"pkg: shmkit/ring\nBenchmarkA-2 	100	 22.0 ns/op\nBenchmarkB-2 	100	 200 ns/op\nBenchmarkNew-2 	1	 1 ns/op\n", 100, 2},
		{"pkg: shmkit/ring\nBenchmarkA-2 	100	 22.0 ns/op\nBenchmarkB-2 	100	 50 ns/op\n", 0, 2},
	} {
		got, n, err := geomean([]byte(base), []byte(c.b))
		if err != nil || n != c.n || math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%q: %v %% of %d, %v; want %v %% of %d", c.b, got, n, err, c.want, c.n)
		}
	}
	if _, _, err := geomean([]byte(base), []byte("pkg: shmkit/shm\nBenchmarkA-2 	100	 22.0 ns/op\n")); err == nil {
		t.Error("benchmarks of different packages were compared")
	}
}

func TestRefused(t *testing.T) {
	if err := run(context.Background(), "", ".", "1x", 1, 5); err == nil || !strings.Contains(err.Error(), "-base is missing") {
		t.Error(err)
	}
}

func TestIsMore(t *testing.T) {
	for _, c := range []struct {
		was, is float64
		want    bool
	}{{10, 12, false}, {10, 13, true}, {100, 105, false}, {100, 106, true}, {100, 90, false}} {
		if got := isMore(c.was, c.is, 5); got != c.want {
			t.Errorf("%v → %v instructions: %v", c.was, c.is, got)
		}
	}
}
