package seqlock_test

import (
	"fmt"
	"math"
	"slices"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/seqlock"
	"shmkit/seqlock/seqlocktest"
)

// saturate is a second process that publishes the same payload as fast as it can.
var saturate = proctest.Helper("saturate", func(args []string) {
	v, err := variantNamed(args[0])
	check(err)
	size, err := v.Size()
	check(err)
	view, _, err := mmap(args[1], size, syscall.PROT_READ|syscall.PROT_WRITE)
	check(err)
	w, err := v.Resume(view)
	check(err)
	exitWithParent()
	fmt.Println("ready")
	p := make([]byte, v.Max)
	for {
		if _, err := w.Publish(p); err != nil {
			check(err)
		}
	}
})

// BenchmarkSaturated reads while another process publishes without any pause: what a
// read costs then, and how many of them succeed at the first try. It needs two processors
// to itself: a reader or a writer that is moved away loses its tries to that.
func BenchmarkSaturated(b *testing.B) {
	for _, size := range []string{"line", "64", "4096", "65536"} { // line is Latch, the others are Reader
		for _, slots := range []int{4, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d slots", size, slots), func(b *testing.B) {
				s := newStage(b, fmt.Sprintf("saturated/%s/%d", size, slots))
				writer := s.start(saturate, s.name, s.path)
				defer s.kill(writer)
				if size == "line" {
					l, err := seqlock.OpenLatch[b64](s.view)
					if err != nil {
						b.Fatal(err)
					}
					v := new(b64)
					saturated(b, l, func() error { _, err := l.Load(v); return err })
					return
				}
				r := s.open().(*seqlock.Reader)
				buf := make([]byte, r.MaxPayload())
				saturated(b, r, func() error { _, _, err := r.Read(buf); return err })
			})
		}
	}
}

type counters interface {
	Version() uint64
	Lapped() uint64
}

func saturated(b *testing.B, l counters, read func() error) {
	reads, again, contended := 0, 0, 0
	lapped, from, start := l.Lapped(), l.Version(), time.Now()
	for b.Loop() {
		if read() != nil {
			contended++
		}
		if now := l.Lapped(); now != lapped {
			again, lapped = again+1, now
		}
		reads++
	}
	written, took := l.Version()-from, time.Since(start)
	b.ReportMetric(100*float64(reads-again)/float64(reads), "%first-try")
	b.ReportMetric(1e6*float64(again)/float64(reads), "misses/M")
	b.ReportMetric(float64(contended), "contended")
	b.ReportMetric(float64(took.Nanoseconds())/float64(max(written, 1)), "ns/publish")
}

// BenchmarkStopped reads 64 KiB from a latch whose writer does nothing, and from one whose
// writer was stopped in the middle of a publication: the median and the 99.9th percentile
// of single reads, clock included, are to be the same.
func BenchmarkStopped(b *testing.B) {
	var idle float64 // the 99.9th percentile beside an idle writer
	for _, stopped := range []bool{false, true} {
		b.Run(map[bool]string{false: "idle", true: "half-way"}[stopped], func(b *testing.B) {
			s := newStage(b, "fixed/65536/4")
			writer := s.play()
			for range 1000 {
				runFor(100 * time.Microsecond)
				s.stop(writer)
				if s.halfFilled() == stopped {
					break
				}
				if err := writer.Process.Signal(syscall.SIGCONT); err != nil {
					b.Fatal(err)
				}
			}
			if s.halfFilled() != stopped {
				b.Skip("did not stop it there")
			}
			src := s.open()
			buf := make([]byte, 64<<10)
			ns := make([]float64, 0, 1<<20)
			for b.Loop() {
				start := time.Now()
				if _, _, err := src.Read(buf); err != nil {
					b.Fatal(err)
				}
				if len(ns) < cap(ns) {
					ns = append(ns, float64(time.Since(start).Nanoseconds()))
				}
			}
			slices.Sort(ns)
			b.ReportMetric(ns[len(ns)/2], "p50-ns")
			p999 := ns[int(math.Ceil(float64(len(ns)-1)*0.999))]
			b.ReportMetric(p999, "p99.9-ns")
			if !stopped {
				idle = p999
			} else if idle > 0 {
				b.ReportMetric(p999/idle, "p99.9/idle")
			}
			b.ReportMetric(float64(src.(*seqlock.Reader).Lapped()), "retries")
			s.kill(writer)
		})
	}
}

// BenchmarkWake is what a publication costs that wakes: one system call, whether somebody
// waits or not.
func BenchmarkWake(b *testing.B) {
	for name, waiter := range map[string]seqlock.Waiter{"none": nil, "futex": futex{}} {
		b.Run(name, func(b *testing.B) {
			v := seqlocktest.Bytes(64, 4)
			size, err := v.Size()
			if err != nil {
				b.Fatal(err)
			}
			p, err := v.Make(heap(b, size))
			if err != nil {
				b.Fatal(err)
			}
			if err := p.WakeWith(waiter); err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, 64)
			for b.Loop() {
				if _, err := p.Publish(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
