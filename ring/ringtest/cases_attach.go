package ringtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"shmkit/ring"
)

var attachCases = []Case{
	{"a successor of the producer goes on", "A new producer continues behind the last committed record; a reservation of the dead one is as if it had never been.", func(e *env) error {
		r := e.ring(1024, 100, ring.ProducerOptions{})
		for i := range 50 {
			if err := r.p.Write(uint32(i), []byte("before")); err != nil {
				return err
			}
			b, err := r.p.Reserve(100)
			if err != nil {
				return err
			}
			copy(b, "never committed")
			if err := r.p.Close(); err != nil {
				return err
			}
			if r.p, err = r.producer(ring.ProducerOptions{}); err != nil {
				return err
			}
			if n := r.p.Stats().Committed; n != uint64(i+1) {
				return fmt.Errorf("the successor counts %d records committed, there are %d", n, i+1)
			}
			if err := r.expect(uint32(i), "before"); err != nil {
				return err
			}
		}
		return r.expectNone()
	}},
	{"the count survives a death before its note", "A producer that dies after the tail was stored and before the count was is repaired by its successor.", func(e *env) error {
		r := e.ring(1024, 100, ring.ProducerOptions{})
		for i := range 30 {
			for range 3 { // committed and not flushed: the note is behind
				if _, err := r.p.Reserve(i); err != nil {
					return err
				}
				r.p.Commit(i, 5)
			}
			r.p.Close()
			var err error
			if r.p, err = r.producer(ring.ProducerOptions{}); err != nil {
				return err
			}
			if n := r.p.Stats().Committed; n != uint64(3*i+3) {
				return fmt.Errorf("the successor counts %d records committed, there are %d", n, 3*i+3)
			}
			for range r.c.Batch(0) {
			}
			r.c.Release()
		}
		return nil
	}},
	{"a successor of the consumer starts at what was not released", "Records that were released do not come again; all others do, also those already read (at least once).", func(e *env) error {
		r := e.ring(4096, 100, ring.ProducerOptions{})
		for i := range 30 {
			if err := r.p.Write(uint32(i), []byte("x")); err != nil {
				return err
			}
		}
		released := uint32(0)
		for turn := range 5 {
			for k := range 4 {
				rec, ok, err := r.c.Next()
				if !ok || rec.Tag != released+uint32(k) {
					return fmt.Errorf("turn %d: %v %v after %d released", turn, rec, err, released)
				}
			}
			r.c.Release()
			released += 4
			r.c.Next() // read, not released
			r.c.Next()
			if err := r.c.Close(); err != nil {
				return err
			}
			var err error
			if r.c, err = r.consumer(ring.ConsumerOptions{}); err != nil {
				return err
			}
			if s := r.c.Stats(); s.Delivered != uint64(released) || s.Pending != 30-uint64(released) {
				return fmt.Errorf("turn %d: %+v after %d released", turn, s, released)
			}
		}
		return nil
	}},
	{"a release survives a death in its middle", "A consumer that dies between the two stores of a release has released: its successor completes it, and the counts are right.", func(e *env) error {
		r := e.ring(1024, 100, ring.ProducerOptions{})
		for i := range 6 {
			if err := r.p.Write(uint32(i), []byte("x")); err != nil {
				return err
			}
		}
		if err := r.expect(0, "x"); err != nil {
			return err
		}
		head := binary.LittleEndian.Uint64(r.ConsumerView)
		if err := r.expect(1, "x"); err != nil {
			return err
		}
		r.c.Close()
		binary.LittleEndian.PutUint64(r.ConsumerView, head) // as if the last store had not been
		var err error
		if r.c, err = r.consumer(ring.ConsumerOptions{}); err != nil {
			return err
		}
		if s := r.c.Stats(); s.Delivered != 2 || s.Pending != 4 {
			return fmt.Errorf("counts: %+v", s)
		}
		return r.expect(2, "x")
	}},
	{"a successor in an overwriting ring goes on", "The policy, the oldest record and all counts pass to the successors; another policy is refused with ErrPolicy.", func(e *env) error {
		o := ring.ProducerOptions{Policy: ring.OverwriteOldest}
		r := e.ring(1024, 100, o)
		next := uint64(0)
		for turn := range uint64(8) {
			for i := range uint64(30) {
				if err := r.p.Write(uint32(30*turn+i), make([]byte, 40)); err != nil {
					return err
				}
			}
			r.p.Close()
			if _, err := r.producer(ring.ProducerOptions{Policy: ring.DropNew}); !errors.Is(err, ring.ErrPolicy) {
				return fmt.Errorf("a successor with DropNew got: %v", err)
			}
			var err error
			if r.p, err = r.producer(o); err != nil {
				return err
			}
			if n := r.p.Stats().Committed; n != 30*turn+30 {
				return fmt.Errorf("the successor counts %d, committed were %d", n, 30*turn+30)
			}
			if turn%2 == 1 {
				r.c.Close()
				if r.c, err = r.consumer(ring.ConsumerOptions{}); err != nil {
					return err
				}
			}
			for range 10 { // fewer than there are
				rec, ok, err := r.c.Next()
				var gap *ring.GapError
				if errors.As(err, &gap) {
					if next += gap.Lost; next != gap.Next {
						return fmt.Errorf("turn %d: %v leads to %d", turn, err, next)
					}
				} else if !ok || rec.Tag != uint32(next) {
					return fmt.Errorf("turn %d: record %d came as %v, %v", turn, next, rec, err)
				} else {
					next++
				}
			}
			if s := r.c.Stats(); s.Committed != 30*turn+30 || s.Delivered+s.Lost+s.Pending != s.Committed {
				return fmt.Errorf("turn %d: %+v", turn, s)
			}
			r.c.Release()
		}
		return nil
	}},
	{"a successor wakes for its predecessor", "Records that a producer committed without Flush before it died wake a sleeping consumer when its successor attaches.", func(e *env) error {
		b := &bell{}
		r := e.ring(1024, 100, ring.ProducerOptions{Waiter: b})
		if !r.c.Sleep() {
			return errors.New("an empty ring refused Sleep")
		}
		r.p.Reserve(0)
		r.p.Commit(0, 1)
		r.p.Close()
		before := b.wakes.Load()
		if _, err := r.producer(ring.ProducerOptions{Waiter: b}); err != nil {
			return err
		}
		if b.wakes.Load() == before {
			return errors.New("no wake")
		}
		return nil
	}},
	{"one producer, one consumer", "A second live end on the same view is refused with ErrSecondProducer or ErrSecondConsumer; after Close it is welcome.", func(e *env) error {
		r := e.ring(1024, 100, ring.ProducerOptions{})
		if _, err := r.producer(ring.ProducerOptions{}); !errors.Is(err, ring.ErrSecondProducer) {
			return fmt.Errorf("a second producer got: %v", err)
		}
		if _, err := r.consumer(ring.ConsumerOptions{}); !errors.Is(err, ring.ErrSecondConsumer) {
			return fmt.Errorf("a second consumer got: %v", err)
		}
		if err := r.send(1, "x", "record of the first producer"); err != nil {
			return err
		}
		r.p.Close()
		r.c.Close()
		if _, err := r.producer(ring.ProducerOptions{}); err != nil {
			return err
		}
		_, err := r.consumer(ring.ConsumerOptions{})
		return err
	}},
}

var errorCases = []Case{
	{"a record too large is refused", "Lengths below zero or above the largest are refused with ErrTooLarge, at once and under every policy, and counted by Reserve; the ring goes on.", func(e *env) error {
		for _, policy := range []ring.Policy{ring.Block, ring.DropNew, ring.OverwriteOldest} {
			r := e.ring(1024, 96, ring.ProducerOptions{Policy: policy})
			bad := []int{-1, 97, 1024, 1 << 30, -1 << 31}
			for _, n := range bad {
				err := e.within("Reserve", func() error {
					if _, err := r.p.Reserve(n); !errors.Is(err, ring.ErrTooLarge) {
						return fmt.Errorf("of %d bytes returned %v", n, err)
					}
					if _, err := r.p.TryReserve(n); !errors.Is(err, ring.ErrTooLarge) {
						return fmt.Errorf("(Try) of %d bytes returned %v", n, err)
					}
					return nil
				})
				if err != nil {
					return err
				}
				r.p.Commit(n, 0) // refused as well
				r.p.Flush()
			}
			if n := r.p.Stats().Dropped[ring.DropTooLarge]; n != uint64(len(bad)) {
				return fmt.Errorf("%d counted, %d were refused by Reserve", n, len(bad))
			}
			if err := r.send(1, "x", "record after the refusals"); err != nil {
				return err
			}
		}
		return nil
	}},
	{"commit needs a reservation", "Commit without a reservation, twice, or of more than was reserved publishes nothing; the next call says ErrNoReservation, once.", func(e *env) error {
		r := e.ring(1024, 96, ring.ProducerOptions{})
		for i, misuse := range []func(){
			func() { r.p.Commit(0, 1) },
			func() { r.p.Reserve(8); r.p.Commit(9, 1) },
			func() { r.p.Reserve(8); r.p.Commit(-1, 1) },
			func() { r.p.Reserve(8); r.p.Abort(); r.p.Commit(8, 1) },
		} {
			misuse()
			if err := r.p.Flush(); !errors.Is(err, ring.ErrNoReservation) {
				return fmt.Errorf("misuse %d: Flush returned %v", i, err)
			}
			if err := r.expectNone(); err != nil {
				return fmt.Errorf("misuse %d: %w", i, err)
			}
			if err := r.send(1, "x", "record after the misuse"); err != nil {
				return err
			}
		}
		return nil
	}},
	{"closed ends say so", "After Close every call returns os.ErrClosed or does nothing; a second Close returns nil; the other end goes on.", func(e *env) error {
		r := e.ring(1024, 96, ring.ProducerOptions{})
		if err := r.p.Write(1, []byte("x")); err != nil {
			return err
		}
		if _, err := r.p.Reserve(8); err != nil {
			return err
		}
		for range 2 {
			if err := r.p.Close(); err != nil {
				return fmt.Errorf("at Close: %w", err)
			}
		}
		r.p.Commit(8, 1)
		r.p.Abort()
		r.p.Drop(ring.DropCaller, 1)
		_ = r.p.Stats()
		_, err1 := r.p.Reserve(8)
		_, err2 := r.p.TryReserve(8)
		_, err3 := r.p.ReserveContext(context.Background(), 8)
		_, err4 := r.p.ReserveDeadline(8, time.Time{})
		for i, err := range []error{err1, err2, err3, err4, r.p.Flush(), r.p.Write(1, nil)} {
			if !errors.Is(err, os.ErrClosed) {
				return fmt.Errorf("call %d on a closed producer: %v", i, err)
			}
		}
		if err := r.expect(1, "x"); err != nil {
			return err
		}
		if err := r.expectNone(); err != nil {
			return fmt.Errorf("after a Commit on a closed producer: %w", err)
		}
		for range 2 {
			if err := r.c.Close(); err != nil {
				return fmt.Errorf("at Close: %w", err)
			}
		}
		r.c.Release()
		r.c.Awake()
		_, _ = r.c.Pending(), r.c.Stats()
		if r.c.Sleep() {
			return errors.New("a closed consumer fell asleep")
		}
		for range r.c.Batch(0) {
			return errors.New("a closed consumer has records")
		}
		_, _, err5 := r.c.Next()
		for i, err := range []error{err5, r.c.Err(), r.c.Wait(context.Background()), r.c.WaitDeadline(time.Time{})} {
			if !errors.Is(err, os.ErrClosed) {
				return fmt.Errorf("call %d on a closed consumer: %v", i, err)
			}
		}
		return nil
	}},
	{"close ends waits", "Close, from another goroutine, ends a wait on either side with os.ErrClosed, and returns when the wait has ended.", func(e *env) error {
		r := e.ring(256, 56, ring.ProducerOptions{})
		waited := make(chan error, 2)
		go func() { waited <- r.c.Wait(context.Background()) }()
		if err := e.within("Close of the consumer", r.c.Close); err != nil {
			return err
		}
		if _, err := r.fill(56); err != nil {
			return err
		}
		go func() { _, err := r.p.Reserve(56); waited <- err }()
		// Blocked is stored before it waits; watch it from outside.
		err := e.within("Reserve to wait", func() error {
			for load64(r.ProducerView, 4096+512) == 0 {
				time.Sleep(50 * time.Microsecond)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := e.within("Close of the producer", r.p.Close); err != nil {
			return err
		}
		return e.within("the waits", func() error {
			for range 2 {
				if err := <-waited; !errors.Is(err, os.ErrClosed) {
					return fmt.Errorf("a wait returned %v", err)
				}
			}
			return nil
		})
	}},
}
