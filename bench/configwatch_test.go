package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"shmkit"
	"shmkit/cfgblob"
	"shmkit/logring"
	"shmkit/shm"
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

// lastChange as the value of a change ends those who watch.
const lastChange = -1

// funcWatch sleeps until the configuration changes, notes when it has the new version
// in its hands, copied, verified, and given to the loop, and tells all the times in the
// end.
var funcWatch = shmkit.Func("bench-watch", func(ctx context.Context, w *shmkit.Worker) error {
	files, words, _ := w.Resource("watched")
	r, err := cfgblob.Attach(files, words)
	if err != nil {
		return err
	}
	defer r.Close()
	var seen []byte
	for snap := range r.Watch(ctx) {
		seen = noteSeen(seen, snap.Version)
		n, err := snap.Dict().Int("n")
		if err != nil {
			return err
		}
		if done, err := tellSeen(w, seen, n == lastChange); done {
			return err
		}
	}
	return ctx.Err()
})

// funcBare is what the kernel takes for the same: a thread asleep in a futex on a word
// in shared memory.
var funcBare = shmkit.Func("bench-bare", func(ctx context.Context, w *shmkit.Worker) error {
	files, _, _ := w.Resource("watched")
	seg, err := shm.Attach(files[0], shm.Expect{Name: "word", Kind: kindWord, Access: shm.ReadOnly})
	if err != nil {
		return err
	}
	defer seg.Close()
	runtime.LockOSThread()
	word := bareWord(seg)
	var seen []byte
	for {
		v := atomic.LoadUint32(word) // stored by the benchmark before its wake
		seen = noteSeen(seen, uint64(v))
		if done, err := tellSeen(w, seen, int32(v) == lastChange); done {
			return err
		}
		for atomic.LoadUint32(word) == v {
			unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0 /* FUTEX_WAIT */, uintptr(v), 0, 0, 0)
		}
	}
})

func noteSeen(seen []byte, version uint64) []byte {
	now := monotonic()
	seen = binary.LittleEndian.AppendUint64(seen, version)
	return binary.LittleEndian.AppendUint64(seen, uint64(now))
}

// tellSeen says at the beginning that the worker watches, and in the end what it saw.
func tellSeen(w *shmkit.Worker, seen []byte, last bool) (done bool, err error) {
	if len(seen) == 16 {
		err = w.Send("seen", []byte("ready"))
	} else if last {
		err = w.Send("seen", seen)
	}
	return last || err != nil, err
}

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

// A watched is what is changed: it returns the version that a value became, and when it
// was published.
type watched struct {
	fn     string
	res    spawn.Resource
	change func(value int) (version uint64, at int64, err error)
}

func watchedConfig(tb testing.TB) watched {
	var at int64
	store, err := cfgblob.NewStore(cfgblob.StoreOptions{
		Name: "watched", BeforePublish: func(uint64, []byte) { at = monotonic() },
	}, []byte(`{"level":"info","n":0}`))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { store.Close() })
	return watched{funcWatch, store, func(value int) (uint64, int64, error) {
		v, err := store.Set("bench", "n", value, 0)
		return v, at, err
	}}
}

var kindWord = shm.KindOf("WORD")

func bareWord(seg *shm.Segment) *uint32 { return (*uint32)(unsafe.Pointer(&seg.Region()[0])) }

type bareSegment struct{ *shm.Segment }

func (b bareSegment) Donate(string, int, int) ([]*os.File, []string, io.Closer, error) {
	f, err := b.Reopen()
	return []*os.File{f}, nil, nil, err
}

func watchedWord(tb testing.TB) watched {
	seg, err := shm.Create(shm.Options{Name: "word", Kind: kindWord, Size: 4096, HandOff: shm.ReadOnly, Prefault: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { seg.Close() })
	return watched{funcBare, bareSegment{seg}, func(value int) (uint64, int64, error) {
		word, at := bareWord(seg), monotonic()
		atomic.StoreUint32(word, uint32(value))
		_, err := shm.Wake(word, 1<<30)
		return uint64(uint32(value)), at, err
	}}
}

// BenchmarkConfigWatch is the time from a publication to the moment when the last of n
// sleeping worker processes has the new version in its hands, beside the bare wake of as
// many threads, in turns. Between two changes everybody sleeps but the publisher, which
// spins, so that its processor is awake; "cold" is after a while in which both
// processors slept.
//
// The bars: p50 of 10 µs for one worker, and 1 ms for the last of 64.
func BenchmarkConfigWatch(b *testing.B) {
	for _, workers := range []int{1, 4, 16, 64} {
		gap := func() { spin(time.Duration(workers) * 100 * time.Microsecond) }
		b.Run(fmt.Sprint(workers), func(b *testing.B) { configWatch(b, workers, gap) })
	}
	b.Run("cold", func(b *testing.B) { configWatch(b, 1, func() { time.Sleep(3 * time.Millisecond) }) })
}

func configWatch(b *testing.B, workers int, gap func()) {
	const turns, changes = 3, 100
	var p50, p99, bare []float64
	for b.Loop() {
		for range turns {
			us := watchLatencies(b, watchedConfig(b), workers, changes, gap)
			p50, p99 = append(p50, percentile(us, 50)), append(p99, percentile(us, 99))
			bare = append(bare, percentile(watchLatencies(b, watchedWord(b), workers, changes, gap), 50))
		}
	}
	figure(b, "p50-µs", p50)
	figure(b, "p99-µs", p99)
	figure(b, "bare-p50-µs", bare)
	figure(b, "x-bare", over(p50, bare))
}

func watchLatencies(b *testing.B, x watched, workers, changes int, gap func()) (us []float64) {
	b.Helper()
	s := &seen{last: map[uint64]int64{}, count: map[uint64]int{}}
	s.cond.L = &s.mu
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Dir: b.TempDir(), Config: benchConfig{Level: "info"}, Sinks: []logring.Sink{logring.JSON(io.Discard)},
		Resources: map[string]spawn.Resource{"seen": s, "watched": x.res},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: x.fn, Workers: workers})
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
		gap() // everybody is asleep again
		value := i + 1
		if i == changes-1 {
			value = lastChange
		}
		version, at, err := x.change(value)
		if err != nil {
			b.Fatal(err)
		}
		began[version] = at
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
