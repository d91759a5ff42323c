package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit"
	"shmkit/logring"
	"shmkit/spawn"
)

// monotonic is a clock that all processes of the machine share.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// funcWatch sleeps until the configuration changes, notes when it saw that, and
// tells all the times in the end.
var funcWatch = shmkit.Func("bench-watch", func(ctx context.Context, w *shmkit.Worker) error {
	var seen []byte
	for snap := range w.Snapshots().Watch(ctx) {
		now := monotonic()
		seen = binary.LittleEndian.AppendUint64(seen, snap.Version)
		seen = binary.LittleEndian.AppendUint64(seen, uint64(now))
		calls, err := snap.Dict().Int("calls")
		if err != nil {
			return err
		}
		if len(seen) == 16 {
			err = w.Send("seen", []byte("ready"))
		} else if calls < 0 {
			err = w.Send("seen", seen)
		}
		if err != nil || calls < 0 {
			return err
		}
	}
	return ctx.Err()
})

// seen collects when each worker saw each version.
type seen struct {
	mu    sync.Mutex
	cond  sync.Cond
	ready int
	last  map[uint64]int64 // by version: when the last worker saw it
	count map[uint64]int
}

func (s *seen) Donate(string, int, int) ([]*os.File, []string, io.Closer, error) {
	return nil, nil, seenLease{s}, nil
}

type seenLease struct{ s *seen }

func (l seenLease) Close() error { return nil }
func (l seenLease) Message(p []byte, _ []*os.File) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	defer l.s.cond.Broadcast()
	if len(p)%16 != 0 {
		l.s.ready++
		return
	}
	for ; len(p) > 0; p = p[16:] {
		version, at := binary.LittleEndian.Uint64(p), int64(binary.LittleEndian.Uint64(p[8:]))
		l.s.last[version] = max(l.s.last[version], at)
		l.s.count[version]++
	}
}

// BenchmarkConfigWatch is the time from the beginning of a Store.Set to the moment
// when the last of n sleeping worker processes has the new version in its hands:
// copied, verified, and given to the loop. Between two changes everybody sleeps.
// The bars: p50 of 10 µs for one worker, and 1 ms for the last of 64.
func BenchmarkConfigWatch(b *testing.B) {
	for _, workers := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			var us []float64
			for b.Loop() {
				us = append(us, watchLatencies(b, workers, 300)...)
			}
			slices.Sort(us)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(us[len(us)/2], "p50-µs")
			b.ReportMetric(us[len(us)*99/100], "p99-µs")
			b.ReportMetric(float64(len(us))/float64(b.N), "changes")
		})
	}
}

func watchLatencies(b *testing.B, workers, changes int) (us []float64) {
	b.Helper()
	s := &seen{last: map[uint64]int64{}, count: map[uint64]int{}}
	s.cond.L = &s.mu
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Dir: b.TempDir(), Config: benchConfig{Level: "info"}, Sinks: []logring.Sink{logring.JSON(io.Discard)},
		Resources: map[string]spawn.Resource{"seen": s},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: funcWatch, Workers: workers})
	if err != nil {
		b.Fatal(err)
	}
	s.mu.Lock()
	for s.ready < workers {
		s.cond.Wait()
	}
	s.mu.Unlock()
	began := map[uint64]int64{}
	for i := range changes {
		time.Sleep(3 * time.Millisecond) // everybody is asleep again
		value := i + 1
		if i == changes-1 {
			value = -1
		}
		start := monotonic()
		version, err := node.Config().Set("bench", "calls", value, 0)
		if err != nil {
			b.Fatal(err)
		}
		began[version] = start
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	for version, start := range began {
		if s.count[version] == workers { // one that a worker skipped tells nothing
			us = append(us, float64(s.last[version]-start)/1e3)
		}
	}
	if len(us) < changes/2 {
		b.Fatalf("only %d of %d changes were seen by everybody", len(us), changes)
	}
	return us
}

// funcIdle waits for changes that do not come, in eight places, and tells how much
// processor time it took for that.
var funcIdle = shmkit.Func("bench-idle", func(ctx context.Context, w *shmkit.Worker) error {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range w.Snapshots().Watch(stop, "level") {
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // until they sleep
	before := cpuTime()
	time.Sleep(2 * time.Second)
	used := cpuTime() - before
	cancel()
	all.Wait()
	return tell(w, used)
})

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkConfigIdle is the processor time that a worker with eight watches takes
// in a second in which nothing changes. The bar: none to speak of.
func BenchmarkConfigIdle(b *testing.B) {
	var us []float64
	for b.Loop() {
		figures, _ := runWorkers(b, funcIdle, 1, 1, logring.JSON(io.Discard))
		us = append(us, figures[0]/2/1e3)
	}
	mid, _ := median(us)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(mid, "cpu-µs/s")
}
