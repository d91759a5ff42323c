package ring_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/ring"
	"shmkit/ring/ringtest"
)

// kills is how many processes are killed: in n trials without a failure the rate
// is below 3/n at 95 %.
func kills(t *testing.T) int {
	switch {
	case os.Getenv("SHMKIT_STRESS") != "":
		return 10_000
	case testing.Short():
		return 30
	}
	return 400
}

func spin(n int) time.Duration { return time.Duration(n) * time.Microsecond }

// A killed side leaves nothing to repair by hand:
//
//  1. Every record whose Commit returned is there, exactly once, in order and
//     untorn; of the others at most one, which is whole, too.
//  2. Every record whose Release returned does not come again; all others do.
//  3. The counts of both sides go on from the right value.
//
// Both sides are processes and verify one stream; a random one is killed at a
// random moment, or stopped and continued, and its successor goes on. The helpers
// check 1 to 3 when they attach and with each record.
func TestKillEitherSide(t *testing.T) {
	for _, c := range []struct {
		name          string
		capacity, max int
	}{
		{"mostly full", 1024, 1000},
		{"mixed sizes", 1 << 16, 8000},
	} {
		t.Run(c.name, func(t *testing.T) {
			view, err := ring.Size(c.capacity, c.max)
			if err != nil {
				t.Fatal(err)
			}
			f := memfd(t, sharedSize(view))
			sh, unmap, err := openShared(f, view)
			if err != nil {
				t.Fatal(err)
			}
			defer unmap()
			j := job{view: view, max: c.max, seed: rand.Uint64() >> 1, to: 1 << 62}
			t.Logf("seed %d", j.seed)
			sides := []string{"producer", "consumer"}
			procs := []*exec.Cmd{start(t, sides[0], f, j), start(t, sides[1], f, j)}
			for i := range kills(t) / 2 {
				side := rand.IntN(2)
				moved(t, sh, side)
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // the random moment
				if i%10 == 0 {
					stopAndContinue(t, sh, procs[side])
				}
				kill(t, sides[side], procs[side])
				procs[side] = start(t, sides[side], f, j)
			}
			kill(t, sides[0], procs[0])
			kill(t, sides[1], procs[1])
			verifyRest(t, sh, j)
			t.Logf("%d records committed", sh.acked)
		})
	}
}

// moved waits until a side has done something since it was started.
func moved(t *testing.T, sh shared, side int) {
	t.Helper()
	word := []*uint64{&sh.acked, &sh.read}[side]
	was := atomic.LoadUint64(word)
	for deadline := time.Now().Add(20 * time.Second); atomic.LoadUint64(word) == was; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the %s does not get on: acked %d, read %d, released %d", []string{"producer", "consumer"}[side], sh.acked, sh.read, sh.released)
		}
	}
}

// atWork waits, for a while, until either side has done something: a process may take
// long to begin.
func atWork(ctx context.Context, sh shared) {
	acked, read := atomic.LoadUint64(&sh.acked), atomic.LoadUint64(&sh.read)
	for deadline := time.Now().Add(time.Second); ctx.Err() == nil && time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		if atomic.LoadUint64(&sh.acked) != acked || atomic.LoadUint64(&sh.read) != read {
			return
		}
	}
}

// kill kills a helper, which must not have ended by itself.
func kill(t *testing.T, side string, cmd *exec.Cmd) {
	t.Helper()
	cmd.Process.Kill()
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the %s ended by itself: %v", side, cmd.ProcessState)
	}
}

// stopAndContinue stops a side at a random instruction. The other one goes on as
// far as there are records or there is space, and never waits for a lock.
func stopAndContinue(t *testing.T, sh shared, cmd *exec.Cmd) {
	t.Helper()
	cmd.Process.Signal(syscall.SIGSTOP)
	defer cmd.Process.Signal(syscall.SIGCONT)
	load := func(off int) uint64 { return binary.LittleEndian.Uint64(sh.view[off:]) }
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		head, tail := load(0), load(4096)
		capacity, max, _ := ring.Geometry(len(sh.view))
		drained := head == tail || sh.view[128]%2 == 1              // or asleep: it waits for the Flush
		full := tail-head+uint64(max)+8 > uint64(capacity)          // or nearly so
		if drained || full || load(4096+128)%2 == 1 || unread(sh) { // the stopped one is what is waited for
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("with one side stopped the other does not get on: head %d, tail %d", head, tail)
		}
	}
}

// unread reports that the consumer has read all, and not yet released.
func unread(sh shared) bool { return atomic.LoadUint64(&sh.read) >= atomic.LoadUint64(&sh.acked) }

// verifyRest reads what is left when all are dead.
func verifyRest(t *testing.T, sh shared, j job) {
	t.Helper()
	p, err := ring.NewProducer(sh.view, ring.ProducerOptions{Name: "after the kills"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := ring.NewConsumer(sh.view, ring.ConsumerOptions{Name: "after the kills"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	committed, next := p.Stats().Committed, c.Stats().Delivered
	if committed != sh.acked && committed != sh.acked+1 {
		t.Errorf("the ring counts %d records, Commit had returned for %d", committed, sh.acked)
	}
	if next < sh.released || next > sh.read {
		t.Errorf("the ring counts %d records released, Release had returned for %d, %d had been read", next, sh.released, sh.read)
	}
	s := ringtest.Stream{Seed: j.seed, Max: j.max}
	for r := range c.Batch(0) {
		if err := s.Verify(r, next); err != nil {
			t.Fatal(err)
		}
		next++
	}
	if c.Err() != nil || next != committed {
		t.Errorf("%d records came, %d are committed; %v", next, committed, c.Err())
	}
}

// A killed producer of an overwriting ring leaves whole records and an exact
// account of what is gone.
func TestKillOverwritingProducer(t *testing.T) {
	view, err := ring.Size(4096, 1000)
	if err != nil {
		t.Fatal(err)
	}
	f := memfd(t, sharedSize(view))
	sh, unmap, err := openShared(f, view)
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	j := job{view: view, max: 1000, seed: rand.Uint64() >> 1, to: 1 << 62, policy: ring.OverwriteOldest}
	t.Logf("seed %d", j.seed)
	c, err := ring.NewConsumer(sh.view, ring.ConsumerOptions{Name: "overwritten", Waiter: futex{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := ringtest.Stream{Seed: j.seed, Max: j.max}
	next, gaps := uint64(0), 0
	for range kills(t) / 2 {
		cmd := start(t, "producer", f, j)
		moved(t, sh, 0)
		end := time.Now().Add(time.Duration(rand.IntN(2000)) * time.Microsecond)
		for time.Now().Before(end) {
			next, gaps = readOverwritten(t, c, s, next, gaps)
		}
		kill(t, "producer", cmd)
		for c.Pending() > 0 {
			next, gaps = readOverwritten(t, c, s, next, gaps)
		}
		if acked := atomic.LoadUint64(&sh.acked); next != acked && next != acked+1 {
			t.Fatalf("%d records came or were lost, Commit had returned for %d", next, acked)
		}
		if st := c.Stats(); st.Delivered+st.Lost != next {
			t.Fatalf("counts: %+v, came or lost: %d", st, next)
		}
	}
	t.Logf("%d records, of them %d lost, in %d gaps", next, c.Stats().Lost, gaps)
	if gaps == 0 {
		t.Error("the reader was never lapped: nothing was tried")
	}
}

func readOverwritten(t *testing.T, c *ring.Consumer, s ringtest.Stream, next uint64, gaps int) (uint64, int) {
	t.Helper()
	for r := range c.Batch(50) {
		if err := s.Verify(r, next); err != nil {
			t.Fatal(err)
		}
		next++
	}
	switch err := c.Err().(type) {
	case nil:
	case *ring.GapError:
		next += err.Lost
		gaps++
	default:
		t.Fatal(err)
	}
	c.Release()
	return next, gaps
}

// The harness is shown to notice: a producer that publishes before it has written
// the payload, a consumer that releases before it has read.
func TestKillNoticesPlantedBugs(t *testing.T) {
	proctest.SkipIfEmulated(t, "too slow for a random kill to meet the bug in time")
	view, err := ring.Size(1<<16, 8000)
	if err != nil {
		t.Fatal(err)
	}
	for _, bug := range []string{"early", "hasty"} {
		f := memfd(t, sharedSize(view))
		sh, unmap, err := openShared(f, view)
		if err != nil {
			t.Fatal(err)
		}
		defer unmap()
		good, bad := "consumer", "producer"
		if bug == "hasty" {
			good, bad = bad, good
		}
		j := job{view: view, max: 8000, seed: 1, to: 1 << 62}
		jb := j
		jb.bug = bug
		// The one that notices writes to its standard error, which is not a failure here.
		cmd := proctest.Command(t, good, j.args()...)
		cmd.ExtraFiles, cmd.Stderr = []*os.File{f}, nil
		begin(t, cmd)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		noticed, over := false, false
		for !noticed && ctx.Err() == nil {
			b := proctest.Command(t, bad, jb.args()...)
			b.ExtraFiles = []*os.File{f}
			b.Stderr = nil
			begin(t, b)
			atWork(ctx, sh)
			time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond) // the random moment
			b.Process.Kill()
			b.Wait()
			noticed = b.ProcessState.ExitCode() == 3 // the successor found it out
			select {
			case <-ended:
				noticed, over = cmd.ProcessState.ExitCode() == 3, true
			default:
			}
			if over {
				break
			}
		}
		cancel()
		if !noticed {
			t.Errorf("nothing noticed the %s %s; acked %d, read %d, released %d", bug, bad, sh.acked, sh.read, sh.released)
		}
		if !over {
			cmd.Process.Kill()
			<-ended
		}
	}
}

// earlyProducer stores the tail before the record.
func earlyProducer(sh shared, s ringtest.Stream, from, to uint64) {
	capacity, _, _ := ring.Geometry(len(sh.view))
	word := func(off int) *uint64 { return at(sh.view, off) }
	for i, tail := from, atomic.LoadUint64(word(4096)); i < to; i++ {
		n := uint64(s.Len(i))
		size := (n + 15) &^ 7
		for tail+size-atomic.LoadUint64(word(0)) > uint64(capacity) {
			time.Sleep(10 * time.Microsecond)
		}
		off := 8192 + tail&uint64(capacity-1)
		tail += size
		atomic.StoreUint64(word(4096), tail)
		binary.LittleEndian.PutUint64(sh.view[off:], n|uint64(s.Tag(i))<<32)
		s.Fill(sh.view[off+8:off+8+n], i)
		atomic.StoreUint64(&sh.acked, i+1)
		if sh.view[128]%2 == 1 {
			futex{}.Wake((*uint32)(ptr(sh.view, 4096)))
		}
	}
}

// hastyConsumer releases each record before it reads it.
func hastyConsumer(sh shared, c *ring.Consumer) {
	for {
		if err := c.Wait(context.Background()); err != nil {
			die("hasty consumer: %v", err)
		}
		n := uint64(0)
		for range c.Batch(0) {
			n++
		}
		c.Release()
		time.Sleep(time.Millisecond) // a killed one has released what it has not read
		atomic.AddUint64(&sh.read, n)
		atomic.StoreUint64(&sh.released, atomic.LoadUint64(&sh.read))
	}
}
