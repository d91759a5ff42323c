//go:build linux

package spawn

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// BenchmarkSuccessor is how long it takes from the SIGKILL of a server until another
// process is the server of the same run. What the first one left is removed by then.
func BenchmarkSuccessor(b *testing.B) {
	var ms []float64
	for b.Loop() {
		dir := b.TempDir()
		first := hold(b, dir, "test")
		begin := time.Now()
		first.Process.Kill()
		for {
			s, err := NewServer(Options{Run: "test", Dir: dir})
			if err == nil {
				ms = append(ms, time.Since(begin).Seconds()*1e3)
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				break
			}
			if !errors.Is(err, ErrRunning) {
				b.Fatal(err)
			}
		}
		first.Wait()
	}
	slices.Sort(ms)
	b.ReportMetric(ms[len(ms)/2], "p50-ms")
	b.ReportMetric(ms[len(ms)*99/100], "p99-ms")
}
