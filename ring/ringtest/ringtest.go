// Package ringtest is the conformance suite of [shmkit/ring]: what a ring
// guarantees, one case per guarantee, each with an explanation.
//
//	func TestRing(t *testing.T) {
//		ringtest.Run(t, func(tb testing.TB, size int) ringtest.Ring {
//			view := make([]byte, size) // or mapped memory
//			return ringtest.Ring{ProducerView: view, ConsumerView: view}
//		})
//	}
//
// The two views are the same memory, seen from the producer's and from the
// consumer's side: one slice, or two mappings. Run it under the race detector on
// heap memory, which is all that the detector watches, and on mapped memory for
// the real thing. [Produce] and [Consume] are the two halves of a stream that is
// verified by both sides from one seed, for tests between processes.
package ringtest

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"shmkit/ring"
)

// A Producer is what the suite asks of [ring.Producer]. That it is an interface
// lets a test show that the suite notices a broken one.
type Producer interface {
	Reserve(n int) ([]byte, error)
	TryReserve(n int) ([]byte, error)
	ReserveContext(ctx context.Context, n int) ([]byte, error)
	ReserveDeadline(n int, t time.Time) ([]byte, error)
	Commit(n int, tag uint32)
	Abort()
	Flush() error
	Write(tag uint32, payload []byte) error
	Drop(r ring.Reason, n int)
	Stats() ring.Stats
	Close() error
}

// A Consumer is what the suite asks of [ring.Consumer].
type Consumer interface {
	Next() (ring.Record, bool, error)
	Batch(max int) iter.Seq[ring.Record]
	Err() error
	Release()
	Wait(ctx context.Context) error
	WaitDeadline(t time.Time) error
	Sleep() bool
	Awake()
	Pending() int
	Stats() ring.Stats
	Close() error
}

var (
	_ Producer = (*ring.Producer)(nil)
	_ Consumer = (*ring.Consumer)(nil)
)

// A Ring is the memory of one ring, zeroed, and how to attach to it.
type Ring struct {
	ProducerView, ConsumerView []byte

	// Waiter parks and wakes both sides; nil lets them poll.
	Waiter ring.Waiter

	// NewProducer and NewConsumer stand in for the functions of package ring
	// where a test has other ends to offer. nil: those functions.
	NewProducer func(view []byte, o ring.ProducerOptions) (Producer, error)
	NewConsumer func(view []byte, o ring.ConsumerOptions) (Consumer, error)
}

// An Open makes the memory of a ring of the given view size, in bytes. It lives
// until the test ends.
type Open func(tb testing.TB, size int) Ring

// A Case is one guarantee.
type Case struct {
	Name string
	// Explanation says what is guaranteed, for whoever has to mend it.
	Explanation string

	check func(e *env) error
}

// Cases returns all cases.
func Cases() []Case { return cases }

// Run runs all cases as subtests of t.
func Run(t *testing.T, open Open) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(t, open, 30*time.Second); err != nil {
				t.Errorf("%v\nguaranteed is: %s", err, c.Explanation)
			}
		})
	}
}

// Check runs the case and returns how the guarantee was broken, or nil. patience
// bounds a wait that should end but does not.
func (c Case) Check(tb testing.TB, open Open, patience time.Duration) (err error) {
	e := &env{tb: tb, open: open, patience: patience}
	defer e.close()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return c.check(e)
}

// env is what a case works with.
type env struct {
	tb       testing.TB
	open     Open
	patience time.Duration
	closers  []func() error
}

func (e *env) close() {
	for _, c := range e.closers {
		c()
	}
}

// pair is an open ring with both ends attached.
type pair struct {
	Ring
	env      *env
	capacity int
	max      int
	p        Producer
	c        Consumer
}

// ring opens a ring with both ends. It panics, which Check reports, if it cannot:
// nearly all cases start with it.
func (e *env) ring(capacity, maxRecord int, o ring.ProducerOptions) *pair {
	r := e.memory(capacity, maxRecord)
	if o.Waiter == nil {
		o.Waiter = r.Waiter
	}
	p, err := r.producer(o)
	if err != nil {
		panic(err)
	}
	c, err := r.consumer(ring.ConsumerOptions{})
	if err != nil {
		panic(err)
	}
	r.p, r.c = p, c
	return r
}

func (e *env) memory(capacity, maxRecord int) *pair {
	size, err := ring.Size(capacity, maxRecord)
	if err != nil {
		panic(err)
	}
	return &pair{Ring: e.open(e.tb, size), env: e, capacity: capacity, max: maxRecord}
}

// producer attaches a producer, which is closed when the case ends.
func (r *pair) producer(o ring.ProducerOptions) (Producer, error) {
	if o.Name == "" {
		o.Name = "conformance"
	}
	if o.Waiter == nil {
		o.Waiter = r.Waiter
	}
	if r.NewProducer != nil {
		return closeAtEnd(r.env)(r.NewProducer(r.ProducerView, o))
	}
	p, err := ring.NewProducer(r.ProducerView, o)
	if err != nil {
		return nil, err
	}
	return closeAtEnd(r.env)(Producer(p), nil)
}

func closeAtEnd(e *env) func(p Producer, err error) (Producer, error) {
	return func(p Producer, err error) (Producer, error) {
		if err == nil {
			e.closers = append(e.closers, p.Close)
		}
		return p, err
	}
}

func (r *pair) consumer(o ring.ConsumerOptions) (Consumer, error) {
	if o.Name == "" {
		o.Name = "conformance"
	}
	if o.Waiter == nil {
		o.Waiter = r.Waiter
	}
	var c Consumer
	var err error
	if r.NewConsumer != nil {
		c, err = r.NewConsumer(r.ConsumerView, o)
	} else {
		c, err = ring.NewConsumer(r.ConsumerView, o)
	}
	if err != nil {
		return nil, err
	}
	r.env.closers = append(r.env.closers, c.Close)
	return c, nil
}

// within runs fn and returns its error, or that it did not return.
func (e *env) within(what string, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	timer := time.NewTimer(e.patience)
	defer timer.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: has not returned after %v", what, e.patience)
	}
}
