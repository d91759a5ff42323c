package logring

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
)

var benchNames = []string{"a.go", "b.go", "c/d.go", "e.go"}

// A native event against slog with the same values, one goroutine, and what each
// costs when nobody wants it.
func BenchmarkEvent(b *testing.B) {
	c := newCollector(b, CollectorOptions{Sinks: []Sink{discardSink{}}})
	w, _ := onHeap(b, c, "g", 0)
	b.Run("native", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			evThree.Log(w, int64(i), benchNames[i&3], float64(i)*0.25)
		}
	})
	b.Run("native disabled", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			evUint.Log(w, uint64(i), i)
		}
	})
	// An attribute is made before anybody asks whether it is wanted: what that takes is
	// seen beside a handler that wants nothing.
	ctx := context.Background()
	for name, l := range map[string]*slog.Logger{"slog disabled": slog.New(w.Handler(nil)), "slog without a handler": slog.New(slog.DiscardHandler)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				l.LogAttrs(ctx, slog.LevelDebug, "no")
			}
		})
		b.Run(name+" with an attribute", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				l.LogAttrs(ctx, slog.LevelDebug, "no", slog.Int("i", i))
			}
		})
	}
}

// What the two clocks cost.
func BenchmarkClocks(b *testing.B) {
	b.Run("monotonic", func(b *testing.B) {
		for b.Loop() {
			monotonic()
		}
	})
	b.Run("ticks", func(b *testing.B) {
		if !ticksTrusted() {
			b.Skip("the kernel's clock source is not the time stamp counter")
		}
		for b.Loop() {
			rdtsc()
		}
	})
}

// One ring with a lock against a lane for each P, at 1, 4 and 64 goroutines: bursts
// that fit into the ring, so that only the calls are measured.
func BenchmarkLanes(b *testing.B) {
	for _, goroutines := range []int{1, 4, 64} {
		for _, lanes := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/lanes=%v", goroutines, lanes), func(b *testing.B) {
				var o CollectorOptions
				if !lanes {
					o.lanes = -runtime.NumCPU()
				}
				a := newAlone(b, o)
				const burst = 4096
				for i := 0; i < b.N; i += burst {
					b.StopTimer()
					a.empty()
					b.StartTimer()
					var all sync.WaitGroup
					for range goroutines {
						all.Go(func() {
							for j := range burst / goroutines {
								evThree.Log(a.Writer, int64(j), benchNames[j&3], float64(j)*0.25)
							}
						})
					}
					all.Wait()
				}
			})
		}
	}
}
