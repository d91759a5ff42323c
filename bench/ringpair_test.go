package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"shmkit"
	"shmkit/logring"
	"shmkit/ring"
	"shmkit/shm"
	"shmkit/spawn"
)

// pair is a resource of two rings between this process and one worker: there and
// back. Both ends park by futex.
type pair struct {
	capacity, maxRecord int
	there, back         *shm.Segment
}

var (
	kindThere = shm.KindOf("THER")
	kindBack  = shm.KindOf("BACK")
)

func newPair(tb testing.TB, capacity, maxRecord int) *pair {
	tb.Helper()
	size, err := ring.Size(capacity, maxRecord)
	if err != nil {
		tb.Fatal(err)
	}
	make := func(name string, kind shm.Kind) *shm.Segment {
		s, err := shm.Create(shm.Options{Name: name, Kind: kind, Size: size, HandOff: shm.ReadWrite, Prefault: true})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { s.Close() })
		return s
	}
	return &pair{capacity: capacity, maxRecord: maxRecord, there: make("there", kindThere), back: make("back", kindBack)}
}

func (p *pair) Donate(string, int, int) ([]*os.File, []string, io.Closer, error) {
	there, err := p.there.Reopen()
	if err != nil {
		return nil, nil, nil, err
	}
	back, err := p.back.Reopen()
	return []*os.File{there, back}, nil, nil, err
}

// ends are one process's sides of a pair.
type ends struct {
	in   *ring.Consumer
	out  *ring.Producer
	segs []*shm.Segment
}

func (e *ends) Close() {
	e.in.Close()
	e.out.Close()
	for _, s := range e.segs {
		s.Close()
	}
}

// joinEnds attaches to both rings. spin is as in [ring.ConsumerOptions]: −1 parks at
// once.
func joinEnds(in, out *shm.Segment, spin time.Duration) (e *ends, err error) {
	e = &ends{}
	if e.in, err = ring.NewConsumer(in.Region(), ring.ConsumerOptions{Name: in.Name(), Waiter: shm.Futex{}, Spin: spin}); err != nil {
		return nil, err
	}
	if e.out, err = ring.NewProducer(out.Region(), ring.ProducerOptions{Name: out.Name(), Waiter: shm.Futex{}}); err != nil {
		return nil, err
	}
	return e, nil
}

// workerEnds attaches to the pair in a worker.
func workerEnds(w *shmkit.Worker, spin time.Duration) (*ends, error) {
	files, _, ok := w.Resource("pair")
	if !ok {
		return nil, fmt.Errorf("no pair")
	}
	there, err := shm.Attach(files[0], shm.Expect{Name: "there", Kind: kindThere, Access: shm.ReadWrite})
	if err != nil {
		return nil, err
	}
	back, err := shm.Attach(files[1], shm.Expect{Name: "back", Kind: kindBack, Access: shm.ReadWrite})
	if err != nil {
		return nil, err
	}
	e, err := joinEnds(there, back, spin)
	if err == nil {
		e.segs = []*shm.Segment{there, back}
	}
	return e, err
}

// ringJob is what a ring worker is told.
type ringJob struct {
	Level string `json:"level"`
	Mode  string `json:"mode"` // source, echo, echo-busy, echo-parked
	N     int    `json:"n"`
	Bytes int    `json:"bytes"`
}

// spin is how long both ends look before they park.
func (j ringJob) spin() time.Duration {
	if j.Mode == "echo-parked" {
		return -1
	}
	if j.Mode == "echo" && j.Bytes >= 64<<10 {
		return 200 * time.Microsecond // as long as the other side copies
	}
	return 0
}

var funcRing = shmkit.Func("bench-ring", func(ctx context.Context, w *shmkit.Worker) error {
	job := shmkit.Config[ringJob](w).Load()
	e, err := workerEnds(w, job.spin())
	if err != nil {
		return err
	}
	defer e.Close()
	if job.Mode == "source" {
		record := template(job.Bytes)
		for i := range job.N {
			b, err := e.out.Reserve(job.Bytes)
			if err != nil {
				return err
			}
			binary.LittleEndian.PutUint64(record, uint64(i))
			copy(b, record)
			e.out.Commit(job.Bytes, 0)
		}
		return e.out.Flush()
	}
	for range job.N {
		if err := echo(ctx, e, job.Mode == "echo-busy"); err != nil {
			return err
		}
	}
	return nil
})

// template is what records hold behind their number.
func template(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }

// look reads a record as a program does that cares for it: its number, and a byte
// of every further cache line, and tells whether one of those is wrong.
func look(b []byte) (number uint64, wrong bool) {
	for i := 64; i < len(b); i += 64 {
		wrong = wrong || b[i] != 'x'
	}
	return binary.LittleEndian.Uint64(b), wrong
}

// echo takes one record and sends it back.
func echo(ctx context.Context, e *ends, busy bool) error {
	rec, err := take(ctx, e.in, busy)
	if err != nil {
		return err
	}
	b, err := e.out.Reserve(len(rec.Payload))
	if err != nil {
		return err
	}
	copy(b, rec.Payload)
	e.in.Release()
	e.out.Commit(len(b), rec.Tag)
	return e.out.Flush()
}

func take(ctx context.Context, c *ring.Consumer, busy bool) (ring.Record, error) {
	for {
		rec, ok, err := c.Next()
		if ok || err != nil {
			return rec, err
		}
		if !busy {
			if err := c.Wait(ctx); err != nil {
				return rec, err
			}
		}
	}
}

// withRingWorker runs f with this process's ends while a worker does job.
func withRingWorker(tb testing.TB, job ringJob, capacity, maxRecord int, f func(e *ends)) {
	tb.Helper()
	p := newPair(tb, capacity, maxRecord)
	e, err := joinEnds(p.back, p.there, job.spin())
	if err != nil {
		tb.Fatal(err)
	}
	defer e.Close()
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Name: fmt.Sprintf("bench-%d", os.Getpid()), Dir: tb.TempDir(), Config: job,
		Sinks:     []logring.Sink{logring.JSON(io.Discard)},
		Resources: map[string]spawn.Resource{"pair": p},
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: funcRing, Workers: 1})
	if err != nil {
		tb.Fatal(err)
	}
	f(e)
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
}

// ringThroughput returns records per second from a worker to this process.
func ringThroughput(tb testing.TB, n, size int) (rate float64) {
	job := ringJob{Level: "info", Mode: "source", N: n, Bytes: size}
	capacity := max(1<<20, 4*nextPow2(size))
	withRingWorker(tb, job, capacity, size, func(e *ends) {
		ctx := context.Background()
		if err := e.in.Wait(ctx); err != nil { // the first record starts the clock
			tb.Fatal(err)
		}
		start := time.Now()
		var sum, got uint64
		for got < uint64(n) {
			if err := e.in.Wait(ctx); err != nil {
				tb.Fatal(err)
			}
			for rec := range e.in.Batch(0) {
				number, wrong := look(rec.Payload)
				if wrong {
					tb.Fatalf("record %d holds something else", number)
				}
				sum += number
				got++
			}
			if err := e.in.Err(); err != nil {
				tb.Fatal(err)
			}
			e.in.Release()
		}
		rate = float64(n) / time.Since(start).Seconds()
		if want := uint64(n) * uint64(n-1) / 2; sum != want {
			tb.Fatalf("the records add up to %d, want %d", sum, want)
		}
	})
	return rate
}

// ringRoundTrips returns the nanoseconds of n round trips to a worker.
func ringRoundTrips(tb testing.TB, n, size int, busy bool) []float64 {
	mode := "echo"
	if busy {
		mode = "echo-busy"
	}
	ns := make([]float64, n)
	capacity := max(64<<10, nextPow2(size+8))
	withRingWorker(tb, ringJob{Level: "info", Mode: mode, N: n, Bytes: size}, capacity, size, func(e *ends) {
		ctx := context.Background()
		payload := template(size)
		for i := range ns {
			start := time.Now()
			if err := e.out.Write(uint32(i), payload); err != nil {
				tb.Fatal(err)
			}
			rec, err := take(ctx, e.in, busy)
			if err != nil {
				tb.Fatal(err)
			}
			if rec.Tag != uint32(i) || len(rec.Payload) != size {
				tb.Fatalf("round %d: answer %d of %d bytes", i, rec.Tag, len(rec.Payload))
			}
			e.in.Release()
			ns[i] = float64(time.Since(start))
		}
	})
	return ns
}

func nextPow2(n int) int {
	p := 16
	for p < n {
		p *= 2
	}
	return p
}
