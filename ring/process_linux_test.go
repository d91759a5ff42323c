package ring_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"shmkit/internal/proctest"
	"shmkit/ring"
	"shmkit/ring/ringtest"
)

// A shared ring for tests between processes: the view, and a page behind it on
// which the processes tell how far they have got.
type shared struct {
	view []byte
	*progress
}

// progress outlives a process that is killed: it is stored at once, not sent.
type progress struct {
	acked    uint64 // Commit has returned for the records before it
	read     uint64 // records before it were verified
	released uint64 // Release has returned for the records before it
}

func sharedSize(view int) int { return (view+4095)&^4095 + 4096 }

func openShared(f *os.File, view int) (shared, func(), error) {
	m, err := mapFile(f, sharedSize(view))
	if err != nil {
		return shared{}, nil, err
	}
	return shared{m[:view:view], (*progress)(unsafe.Pointer(&m[len(m)-4096]))}, func() { syscall.Munmap(m) }, nil
}

// job is what a helper process is told on its command line.
type job struct {
	view   int // bytes
	max    int // largest record
	seed   uint64
	to     uint64 // number of records
	spin   int
	policy ring.Policy
	bug    string // planted
}

func (j job) args() []string {
	return []string{fmt.Sprint(j.view), fmt.Sprint(j.max), fmt.Sprint(j.seed), fmt.Sprint(j.to), fmt.Sprint(j.spin), fmt.Sprint(int(j.policy)), j.bug}
}

func parseJob(a []string) (j job) {
	u := func(s string) uint64 { x, _ := strconv.ParseInt(s, 10, 64); return uint64(x) }
	return job{int(u(a[0])), int(u(a[1])), u(a[2]), u(a[3]), int(u(a[4])), ring.Policy(u(a[5])), a[6]}
}

func die(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(3)
}

// start runs a helper on the shared memory in f.
func start(t testing.TB, helper string, f *os.File, j job) *exec.Cmd {
	t.Helper()
	cmd := proctest.Command(t, helper, j.args()...)
	cmd.ExtraFiles = []*os.File{f}
	begin(t, cmd)
	return cmd
}

// begin starts a helper. An emulator that is not registered with the kernel runs
// this process and cannot run another one.
func begin(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); errors.Is(err, syscall.ENOEXEC) {
		t.Skipf("no second process under this emulator: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// The producer goes on where the ring says its predecessor was.
var _ = proctest.Helper("producer", func(args []string) {
	j := parseJob(args)
	sh, _, err := openShared(os.NewFile(3, "shared"), j.view)
	if err != nil {
		die("producer: %v", err)
	}
	p, err := ring.NewProducer(sh.view, ring.ProducerOptions{Name: "between processes", Waiter: futex{}, Spin: spin(j.spin), Policy: j.policy})
	if err != nil {
		die("producer: %v", err)
	}
	s := ringtest.Stream{Seed: j.seed, Max: j.max}
	from, acked := p.Stats().Committed, atomic.LoadUint64(&sh.acked)
	if from != acked && from != acked+1 {
		die("producer: the ring counts %d records, Commit had returned for %d", from, acked)
	}
	if j.bug == "early" {
		earlyProducer(sh, s, from, j.to)
	}
	if err := s.Produce(p, from, j.to, func(i uint64) { atomic.StoreUint64(&sh.acked, i+1) }); err != nil {
		die("producer: %v", err)
	}
	p.Close()
})

// The consumer goes on where the ring says its predecessor released.
var _ = proctest.Helper("consumer", func(args []string) {
	j := parseJob(args)
	sh, _, err := openShared(os.NewFile(3, "shared"), j.view)
	if err != nil {
		die("consumer: %v", err)
	}
	c, err := ring.NewConsumer(sh.view, ring.ConsumerOptions{Name: "between processes", Waiter: futex{}, Spin: spin(j.spin)})
	if err != nil {
		die("consumer: %v", err)
	}
	s := ringtest.Stream{Seed: j.seed, Max: j.max}
	from := c.Stats().Delivered
	if read, released := atomic.LoadUint64(&sh.read), atomic.LoadUint64(&sh.released); from < released || from > read {
		die("consumer: the ring counts %d records released, Release had returned for %d, %d had been read", from, released, read)
	}
	if j.bug == "hasty" {
		hastyConsumer(sh, c)
	}
	err = s.Consume(context.Background(), c, from, j.to, func(i uint64, released bool) {
		if released {
			atomic.StoreUint64(&sh.released, i)
		} else if i+1 > atomic.LoadUint64(&sh.read) {
			atomic.StoreUint64(&sh.read, i+1)
		}
	})
	if err != nil {
		die("consumer: %v", err)
	}
	c.Close()
})

// Two processes compute the same stream from one seed; the one writes it, the
// other verifies each record. Small rings, large records, waits that park.
func TestTwoProcessesOneStream(t *testing.T) {
	for i, c := range []struct {
		capacity, max, spin int
		n                   uint64
	}{
		{256, 248, 0, 20_000},
		{256, 60, -1, 5_000},
		{4096, 1000, 0, 50_000},
		{1 << 16, 60_000, 0, 5_000},
		{1 << 20, 200, 0, 300_000},
	} {
		t.Run(fmt.Sprintf("%d bytes, records to %d, spin %d", c.capacity, c.max, c.spin), func(t *testing.T) {
			view, err := ring.Size(c.capacity, c.max)
			if err != nil {
				t.Fatal(err)
			}
			f := memfd(t, sharedSize(view))
			j := job{view: view, max: c.max, seed: uint64(i), to: c.n, spin: c.spin}
			consumer := start(t, "consumer", f, j)
			producer := start(t, "producer", f, j)
			if err := producer.Wait(); err != nil {
				t.Error("producer:", err)
			}
			if err := consumer.Wait(); err != nil {
				t.Error("consumer:", err)
			}
		})
	}
}
