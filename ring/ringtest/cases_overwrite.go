package ringtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shmkit/ring"
)

var overwriteCases = []Case{
	{"overwriting keeps the newest", "Under OverwriteOldest a producer never waits, and the reader finds exactly the newest records that fit.", func(e *env) error {
		r := e.ring(1024, 56, ring.ProducerOptions{Policy: ring.OverwriteOldest})
		for i := range 1000 {
			if err := r.p.Write(uint32(i), make([]byte, 56)); err != nil {
				return err
			}
		}
		var gap *ring.GapError
		if _, ok, err := r.c.Next(); ok || !errors.As(err, &gap) || gap.Lost != 984 || gap.Next != 984 {
			return fmt.Errorf("the first Next returned %v, %v; 984 of 1000 records were overwritten", ok, err)
		}
		for i := 984; i < 1000; i++ {
			if err := r.expect(uint32(i), string(make([]byte, 56))); err != nil {
				return fmt.Errorf("record %d of those kept: %w", i, err)
			}
		}
		if s := r.c.Stats(); s.Delivered != 16 || s.Lost != 984 || s.Pending != 0 || s.Committed != 1000 {
			return fmt.Errorf("counts: %+v", s)
		}
		return r.expectNone()
	}},
	{"nothing is lost without need", "Under OverwriteOldest records that fit are not overwritten.", func(e *env) error {
		r := e.ring(1024, 56, ring.ProducerOptions{Policy: ring.OverwriteOldest})
		for turn := range 10 {
			for i := range 16 {
				if err := r.p.Write(uint32(16*turn+i), make([]byte, 56)); err != nil {
					return err
				}
			}
			for i := range 16 {
				if err := r.expect(uint32(16*turn+i), string(make([]byte, 56))); err != nil {
					return err
				}
			}
		}
		return nil
	}},
	{"a gap is told once and exactly", "Each gap is told once, with the number of records lost; gaps and records together are all that was committed, in order.", func(e *env) error {
		r := e.ring(2048, 200, ring.ProducerOptions{Policy: ring.OverwriteOldest})
		s := Stream{Seed: 8, Max: 200}
		next := uint64(0)
		for i := range uint64(5000) {
			if err := s.Produce(r.p, i, i+1, nil); err != nil {
				return err
			}
			if mix(i)%40 != 0 {
				continue
			}
			for range mix(i+1) % 60 {
				rec, ok, err := r.c.Next()
				var gap *ring.GapError
				if errors.As(err, &gap) {
					if next += gap.Lost; next != gap.Next {
						return fmt.Errorf("a gap of %d leads to record %d, said is %d", gap.Lost, next, gap.Next)
					}
					continue
				}
				if err != nil {
					return err
				}
				if !ok {
					if next != i+1 {
						return fmt.Errorf("nothing more at record %d of %d", next, i+1)
					}
					break
				}
				if err := s.Verify(rec, next); err != nil {
					return err
				}
				next++
				if mix(next)%5 == 0 {
					r.c.Release()
				}
			}
			if c := r.c.Stats(); c.Committed != i+1 || c.Delivered+c.Lost+c.Pending != i+1 {
				return fmt.Errorf("after %d records: %+v", i+1, c)
			}
		}
		return nil
	}},
	{"held records outlive overwriting", "Under OverwriteOldest a payload stays as it is until Release, too: the reader has its own copy.", func(e *env) error {
		r := e.ring(1024, 56, ring.ProducerOptions{Policy: ring.OverwriteOldest})
		for turn := range 20 {
			if err := r.p.Write(1, []byte(fmt.Sprintf("turn %d", turn))); err != nil {
				return err
			}
			var gap *ring.GapError
			rec, ok, err := r.c.Next()
			if errors.As(err, &gap) {
				rec, ok, err = r.c.Next()
			}
			if !ok {
				return err
			}
			for range 40 {
				if err := r.p.Write(2, make([]byte, 56)); err != nil {
					return err
				}
				r.c.Next()
			}
			if want := fmt.Sprintf("turn %d", turn); string(rec.Payload) != want {
				return fmt.Errorf("a payload %q changed to %q before Release", want, rec.Payload)
			}
			for r.c.Pending() > 0 {
				r.c.Next()
			}
			r.c.Release()
		}
		return nil
	}},
	{"a lapped reader gets whole records", "A reader that is overwritten while it reads gets no torn record: records and gaps are all that was committed, in order.", func(e *env) error {
		r := e.ring(1024, 200, ring.ProducerOptions{Policy: ring.OverwriteOldest})
		s := Stream{Seed: 9, Max: 200}
		const n = 30000
		done := make(chan error, 1)
		go func() { done <- s.Produce(r.p, 0, n, nil) }()
		err := e.within("the lapped reader", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), e.patience)
			defer cancel()
			for next := uint64(0); next < n; {
				if err := r.c.Wait(ctx); err != nil {
					return err
				}
				for rec := range r.c.Batch(0) {
					if err := s.Verify(rec, next); err != nil {
						return err
					}
					next++
				}
				var gap *ring.GapError
				if errors.As(r.c.Err(), &gap) {
					next += gap.Lost
				} else if r.c.Err() != nil {
					return r.c.Err()
				}
				r.c.Release()
			}
			return nil
		})
		if err := e.within("the producer", func() error { return <-done }); err != nil {
			return err
		}
		return err
	}},
	{"overwriting never waits", "Under OverwriteOldest Reserve, TryReserve and the forms with a deadline find space in a ring that nobody reads.", func(e *env) error {
		r := e.ring(256, 56, ring.ProducerOptions{Policy: ring.OverwriteOldest})
		return e.within("20 reservations", func() error {
			for i := range 20 {
				var err error
				switch i % 4 {
				case 0:
					_, err = r.p.Reserve(56)
				case 1:
					_, err = r.p.TryReserve(56)
				case 2:
					_, err = r.p.ReserveContext(context.Background(), 56)
				case 3:
					_, err = r.p.ReserveDeadline(56, time.Time{})
				}
				if err != nil {
					return err
				}
				r.p.Commit(56, 0)
			}
			return nil
		})
	}},
}
