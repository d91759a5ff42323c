package ringtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"shmkit/ring"
)

// load64 and store64 reach a word of a view as the other process does.
func load64(view []byte, off int) uint64 { return atomic.LoadUint64(at(view, off)) }

func store64(view []byte, off int, x uint64) { atomic.StoreUint64(at(view, off), x) }

func at(view []byte, off int) *uint64 { return (*uint64)(unsafe.Pointer(&view[off : off+8][0])) }

const (
	headAt = 0
	tailAt = 4096
	dataAt = 8192
)

var hostileCases = []Case{
	{"a hostile tail is quarantined", "A tail that goes back, is not a multiple of 8, or is further away than the capacity is a CorruptError; no memory outside the ring is read; the error stays.", func(e *env) error {
		for _, tail := range []uint64{0, 8, 20, 1 << 20, 1<<64 - 8, 1 << 63, 128 + 1024 + 8} {
			r := e.ring(1024, 100, ring.ProducerOptions{})
			for range 8 {
				if err := r.p.Write(1, make([]byte, 8)); err != nil {
					return err
				}
				if _, ok, err := r.c.Next(); !ok {
					return err
				}
			}
			r.c.Release()
			store64(r.ProducerView, tailAt, tail)
			if err := r.quarantined("tail"); err != nil {
				return fmt.Errorf("tail %d after 128: %w", tail, err)
			}
			store64(r.ProducerView, tailAt, 128) // too late
			if err := r.quarantined("tail"); err != nil {
				return fmt.Errorf("tail %d after 128, then mended: %w", tail, err)
			}
		}
		return nil
	}},
	{"a hostile length is quarantined", "A record longer than the largest, or than what is committed, is a CorruptError.", func(e *env) error {
		for _, n := range []uint64{9, 17, 101, 1024, 1 << 31, 1<<32 - 1} {
			r := e.ring(1024, 100, ring.ProducerOptions{})
			if err := r.p.Write(1, make([]byte, 8)); err != nil {
				return err
			}
			store64(r.ProducerView, dataAt, n)
			if err := r.quarantined("length"); err != nil {
				return fmt.Errorf("length %d: %w", n, err)
			}
		}
		return nil
	}},
	{"a hostile head is quarantined", "A head that goes back, is not a multiple of 8, or is beyond the tail is a CorruptError for the producer: it never writes over records that may be unread.", func(e *env) error {
		for _, head := range []uint64{0, 8, 132, 1 << 20, 1<<64 - 8, 1 << 63} {
			r := e.ring(1024, 100, ring.ProducerOptions{})
			for range 8 {
				if err := r.send(1, "12345678", "record"); err != nil {
					return err
				}
			}
			// Let the producer see head 128.
			if _, err := r.fill(100); err != nil {
				return err
			}
			store64(r.ConsumerView, headAt, head)
			var first *ring.CorruptError
			if _, err := r.p.TryReserve(100); !errors.As(err, &first) || first.Word != "head" || first.Ring == "" {
				return fmt.Errorf("head %d after 128: TryReserve returned %v", head, err)
			}
			store64(r.ConsumerView, headAt, 128+1024-1024%108)
			_, err1 := r.p.Reserve(8)
			_, err2 := r.p.ReserveContext(context.Background(), 8)
			for i, err := range []error{err1, err2, r.p.Flush(), r.p.Write(1, nil)} {
				if again := (*ring.CorruptError)(nil); !errors.As(err, &again) || again != first {
					return fmt.Errorf("head %d after 128: call %d returned %v", head, i, err)
				}
			}
		}
		return nil
	}},
	{"a hostile image is refused at attach", "An end does not attach to words that cannot be: CorruptError.", func(e *env) error {
		for _, w := range []struct{ head, tail uint64 }{{8, 0}, {0, 2048}, {4, 64}, {0, 63}, {1 << 63, 0}, {64, 1<<64 - 8}} {
			r := e.memory(1024, 100)
			store64(r.ConsumerView, headAt, w.head)
			store64(r.ProducerView, tailAt, w.tail)
			var corrupt *ring.CorruptError
			if _, err := r.consumer(ring.ConsumerOptions{}); !errors.As(err, &corrupt) {
				return fmt.Errorf("head %d, tail %d: the consumer got %v", w.head, w.tail, err)
			}
			if _, err := r.producer(ring.ProducerOptions{}); !errors.As(err, &corrupt) {
				return fmt.Errorf("head %d, tail %d: the producer got %v", w.head, w.tail, err)
			}
		}
		return nil
	}},
	{"a hostile oldest is quarantined", "In an overwriting ring, an oldest record that cannot be is a CorruptError.", func(e *env) error {
		for _, pos := range []uint64{4, 1 << 40, 1<<64 - 8} {
			r := e.ring(1024, 100, ring.ProducerOptions{Policy: ring.OverwriteOldest})
			for range 8 {
				if err := r.p.Write(1, make([]byte, 8)); err != nil {
					return err
				}
			}
			for slot := range 4 {
				store64(r.ProducerView, 4096+384+8+24*slot, pos)
			}
			if err := r.quarantined("oldest"); err != nil {
				return fmt.Errorf("oldest %d: %w", pos, err)
			}
		}
		return nil
	}},
	{"quarantine is for one ring", "One ring's quarantine does not touch another.", func(e *env) error {
		bad, good := e.ring(1024, 100, ring.ProducerOptions{}), e.ring(1024, 100, ring.ProducerOptions{})
		store64(bad.ProducerView, tailAt, 3)
		if err := bad.quarantined("tail"); err != nil {
			return err
		}
		return good.send(1, "x", "record in the other ring")
	}},
}

// quarantined expects each call of the consumer to return one and the same error
// about word, at once.
func (r *pair) quarantined(word string) error {
	return r.env.within("the quarantined consumer", func() error {
		_, ok, err := r.c.Next()
		var first *ring.CorruptError
		if ok || !errors.As(err, &first) || first.Word != word || first.Peer == "" || first.Ring == "" {
			return fmt.Errorf("from Next came %v, %v", ok, err)
		}
		for range r.c.Batch(0) {
			return errors.New("a record came from Batch")
		}
		err1 := r.c.Err()
		_, _, err2 := r.c.Next()
		for i, err := range []error{err1, err2, r.c.Wait(context.Background()), r.c.WaitDeadline(time.Time{})} {
			if again := (*ring.CorruptError)(nil); !errors.As(err, &again) || again != first {
				return fmt.Errorf("call %d afterwards returned %v", i, err)
			}
		}
		if r.c.Sleep() {
			return errors.New("it fell asleep")
		}
		r.c.Release()
		return nil
	})
}
