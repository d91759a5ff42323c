package bench

import (
	"testing"

	"io"
	"shmkit/logring"
)

// BenchmarkConfigLoad is what reading the live configuration costs a worker
// process while it does not change. The bar: under 10 ns.
func BenchmarkConfigLoad(b *testing.B) {
	const calls = 20_000_000
	var ns []float64
	for b.Loop() {
		for range rounds {
			figures, _ := runWorkers(b, funcConfig, 1, calls, logring.JSON(io.Discard))
			ns = append(ns, figures[0]/calls)
		}
	}
	figure(b, "ns/load", ns)
}
