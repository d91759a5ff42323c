package ringtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"shmkit/ring"
)

// bell counts wakes.
type bell struct {
	ring.Waiter
	wakes atomic.Int64
}

func (b *bell) Wake(word *uint32) error {
	b.wakes.Add(1)
	if b.Waiter == nil {
		return nil
	}
	return b.Waiter.Wake(word)
}

func (b *bell) Wait(ctx context.Context, word *uint32, old uint32) error {
	if b.Waiter != nil {
		return b.Waiter.Wait(ctx, word, old)
	}
	for atomic.LoadUint32(word) == old && ctx.Err() == nil {
		time.Sleep(50 * time.Microsecond)
	}
	return ctx.Err()
}

var waitCases = []Case{
	{"an awake consumer is not woken", "Flush makes no wake while the consumer is awake.", func(e *env) error {
		b := &bell{}
		r := e.ring(4096, 56, ring.ProducerOptions{Waiter: b})
		for i := range 1000 {
			if err := r.expectNone(); err != nil {
				return err
			}
			if err := r.send(uint32(i), "x", "record"); err != nil {
				return err
			}
		}
		if n := b.wakes.Load(); n != 0 || r.p.Stats().Wakes != 0 {
			return fmt.Errorf("%d wakes, %d counted", n, r.p.Stats().Wakes)
		}
		return nil
	}},
	{"one wake for each sleep", "The first Flush with a record after Sleep wakes, the later ones do not, until the consumer falls asleep again.", func(e *env) error {
		b := &bell{}
		r := e.ring(4096, 56, ring.ProducerOptions{Waiter: b})
		for sleep := 1; sleep <= 20; sleep++ {
			if !r.c.Sleep() {
				return errors.New("an empty ring refused Sleep")
			}
			if err := r.p.Flush(); err != nil {
				return err
			}
			if n := b.wakes.Load(); n != int64(sleep-1) {
				return fmt.Errorf("%d wakes before record %d", n, sleep)
			}
			for range 5 {
				if err := r.p.Write(1, nil); err != nil {
					return err
				}
			}
			if n := b.wakes.Load(); n != int64(sleep) {
				return fmt.Errorf("%d wakes for %d sleeps", n, sleep)
			}
			r.c.Awake()
			for range r.c.Batch(0) {
			}
			r.c.Release()
		}
		return nil
	}},
	{"falling asleep twice is two sleeps", "Sleep after Sleep is a sleep of its own: the next record wakes again.", func(e *env) error {
		b := &bell{}
		r := e.ring(4096, 56, ring.ProducerOptions{Waiter: b})
		for i := 1; i <= 3; i++ {
			r.c.Sleep()
			if err := r.p.Write(1, nil); err != nil {
				return err
			}
			if _, ok, err := r.c.Next(); !ok { // without Awake
				return fmt.Errorf("no record: %v", err)
			}
			if n := b.wakes.Load(); n != int64(i) {
				return fmt.Errorf("%d wakes for %d sleeps", n, i)
			}
		}
		return nil
	}},
	{"nobody sleeps over a record", "Sleep returns false when there is a record, and announces nothing.", func(e *env) error {
		b := &bell{}
		r := e.ring(4096, 56, ring.ProducerOptions{Waiter: b})
		if err := r.p.Write(1, nil); err != nil {
			return err
		}
		if r.c.Sleep() {
			return errors.New("with a record there, Sleep returned true")
		}
		if err := r.p.Write(1, nil); err != nil {
			return err
		}
		if n := b.wakes.Load(); n != 0 {
			return fmt.Errorf("%d wakes", n)
		}
		return nil
	}},
	{"wait finds what is there", "Wait and WaitDeadline return at once when there is a record, even with a context that has ended.", func(e *env) error {
		r := e.ring(4096, 56, ring.ProducerOptions{})
		if err := r.p.Write(1, []byte("x")); err != nil {
			return err
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := r.c.Wait(ended); err != nil {
			return err
		}
		if err := r.c.WaitDeadline(time.Unix(1, 0)); err != nil {
			return err
		}
		return r.expect(1, "x")
	}},
	{"wait ends with its context or deadline", "Wait returns the context's error, WaitDeadline os.ErrDeadlineExceeded, when no record comes.", func(e *env) error {
		r := e.ring(4096, 56, ring.ProducerOptions{})
		return e.within("Wait", func() error {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Millisecond, cancel)
			if err := r.c.Wait(ctx); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("cancelled, it returned %v", err)
			}
			if err := r.c.WaitDeadline(time.Now().Add(time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("with a deadline, it returned %v", err)
			}
			return r.send(1, "x", "record after the waits")
		})
	}},
	{"reserve ends with its context or deadline", "On a full ring ReserveContext returns the context's error, ReserveDeadline os.ErrDeadlineExceeded.", func(e *env) error {
		r := e.ring(256, 56, ring.ProducerOptions{})
		if _, err := r.fill(56); err != nil {
			return err
		}
		return e.within("Reserve", func() error {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Millisecond, cancel)
			if _, err := r.p.ReserveContext(ctx, 56); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("cancelled, it returned %v", err)
			}
			if _, err := r.p.ReserveDeadline(56, time.Now().Add(time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("with a deadline, it returned %v", err)
			}
			r.c.Next()
			r.c.Release()
			_, err := r.p.ReserveContext(context.Background(), 56)
			return err
		})
	}},
	{"a parked consumer wakes", "A consumer that waits gets each record, whenever it comes: no wake is lost.", func(e *env) error {
		r := e.memory(4096, 56)
		p, err := r.producer(ring.ProducerOptions{Spin: -1})
		if err != nil {
			return err
		}
		c, err := r.consumer(ring.ConsumerOptions{Spin: -1})
		if err != nil {
			return err
		}
		const n = 2000
		turn := make(chan bool)
		go func() {
			defer close(turn)
			for i := range uint64(n) {
				for range mix(i) % 2000 { // meet the consumer at different moments
					nothing()
				}
				if p.Write(uint32(i), nil) != nil {
					return
				}
			}
		}()
		err = e.within("the consumer", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), e.patience)
			defer cancel()
			for i := uint32(0); i < n; i++ {
				if err := c.Wait(ctx); err != nil {
					return fmt.Errorf("record %d: %w", i, err)
				}
				if rec, ok, err := c.Next(); !ok || rec.Tag != i {
					return fmt.Errorf("record %d: %v %v %v", i, rec, ok, err)
				}
				c.Release()
			}
			return nil
		})
		if err == nil {
			<-turn
		}
		return err
	}},
	{"a parked producer wakes", "A producer that waits for space gets it as soon as enough is released: no wake is lost.", func(e *env) error {
		r := e.memory(256, 200)
		p, err := r.producer(ring.ProducerOptions{Spin: -1})
		if err != nil {
			return err
		}
		c, err := r.consumer(ring.ConsumerOptions{Spin: -1})
		if err != nil {
			return err
		}
		s := Stream{Seed: 12, Max: 200}
		ctx, cancel := context.WithTimeout(context.Background(), e.patience)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			for i := range uint64(2000) {
				b, err := p.ReserveContext(ctx, s.Len(i))
				if err != nil {
					done <- fmt.Errorf("record %d: %w", i, err)
					return
				}
				s.Fill(b, i)
				p.Commit(len(b), s.Tag(i))
			}
			done <- p.Flush()
		}()
		err = e.within("the consumer", func() error { return s.Consume(ctx, c, 0, 2000, nil) })
		return errors.Join(err, e.within("the producer", func() error { return <-done }))
	}},
	{"a producer that waits has flushed", "What was committed without Flush is made known before the producer waits for space: both sides never wait for each other.", func(e *env) error {
		r := e.memory(256, 56)
		p, err := r.producer(ring.ProducerOptions{Spin: -1})
		if err != nil {
			return err
		}
		c, err := r.consumer(ring.ConsumerOptions{Spin: -1})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), e.patience)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			for range 100 {
				if err := c.Wait(ctx); err != nil {
					done <- err
					return
				}
				c.Next()
				c.Release()
			}
			done <- nil
		}()
		for i := range 100 {
			if _, err := p.ReserveContext(ctx, 56); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
			p.Commit(56, 0)
		}
		if err := p.Flush(); err != nil {
			return err
		}
		return e.within("the consumer", func() error { return <-done })
	}},
	{"a stream verified by both sides", "Two sides that run at the same time agree on every record of a stream.", func(e *env) error {
		r := e.ring(8192, 2000, ring.ProducerOptions{})
		s := Stream{Seed: 13, Max: 2000}
		done := make(chan error, 1)
		go func() { done <- s.Produce(r.p, 0, 20000, nil) }()
		ctx, cancel := context.WithTimeout(context.Background(), e.patience)
		defer cancel()
		err := e.within("the consumer", func() error { return s.Consume(ctx, r.c, 0, 20000, nil) })
		if err != nil {
			r.p.Close()
		}
		return errors.Join(err, e.within("the producer", func() error { return <-done }))
	}},
}

//go:noinline
func nothing() {}
