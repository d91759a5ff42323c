package logring

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
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
	l := slog.New(w.Handler(nil))
	b.Run("slog disabled", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			l.LogAttrs(context.Background(), slog.LevelDebug, "no", slog.Int("i", i))
		}
	})
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

// One ring with a lock against a lane for each P, and the shared lane for what the
// lanes cannot take, at 1, 4 and 64 goroutines.
func BenchmarkLanes(b *testing.B) {
	for _, goroutines := range []int{1, 4, 64} {
		for _, lanes := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/lanes=%v", goroutines, lanes), func(b *testing.B) {
				o := CollectorOptions{Sinks: []Sink{discardSink{}}}
				if !lanes {
					o.lanes = -runtime.NumCPU()
				}
				c := newCollector(b, o)
				w, _ := onHeap(b, c, "g", 0)
				b.SetParallelism(max(goroutines/runtime.GOMAXPROCS(0), 1))
				if goroutines == 1 {
					for i := 0; b.Loop(); i++ {
						evThree.Log(w, int64(i), benchNames[i&3], float64(i)*0.25)
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						evThree.Log(w, int64(i), benchNames[i&3], float64(i)*0.25)
					}
				})
			})
		}
	}
}
