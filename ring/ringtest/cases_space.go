package ringtest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"shmkit/ring"
)

var spaceCases = []Case{
	{"the whole capacity can be used", "A ring of C bytes holds records of C bytes in all, headers included, and then says ErrFull.", func(e *env) error {
		r := e.ring(1024, 1016, ring.ProducerOptions{})
		for _, n := range []int{0, 8, 56, 1016} {
			want := 1024 / (n + 8)
			got, err := r.fill(n)
			if err != nil || got != want {
				return fmt.Errorf("%d records of %d bytes fit, %v; should be %d", got, n, err, want)
			}
			for i := range got {
				rec, ok, err := r.c.Next()
				if !ok || rec.Tag != uint32(i) || len(rec.Payload) != n {
					return fmt.Errorf("record %d of %d is missing: %v", i, got, err)
				}
			}
			r.c.Release()
		}
		return nil
	}},
	{"unreleased records are not overwritten", "A payload stays as it is until Release, however much the producer wants the space.", func(e *env) error {
		r := e.ring(1024, 56, ring.ProducerOptions{})
		for turn := range 5 {
			n, err := r.fill(40)
			if err != nil {
				return err
			}
			var held []ring.Record
			for rec := range r.c.Batch(0) {
				held = append(held, rec)
				if extra, err := r.fill(40); extra > 0 || err != nil {
					return fmt.Errorf("turn %d: %d records found space that was not released, %v", turn, extra, err)
				}
			}
			if len(held) != n {
				return fmt.Errorf("turn %d: %d of %d records came", turn, len(held), n)
			}
			for i, rec := range held {
				for _, b := range rec.Payload {
					if b != byte(i) {
						return fmt.Errorf("turn %d: record %d of %d was overwritten while it was held", turn, i, n)
					}
				}
			}
			r.c.Release()
		}
		return nil
	}},
	{"release gives back what was read", "Release returns the space of the records returned so far, and of no others.", func(e *env) error {
		r := e.ring(1024, 56, ring.ProducerOptions{})
		if n, err := r.fill(56); err != nil || n != 16 {
			return fmt.Errorf("%d records, %v", n, err)
		}
		for _, k := range []int{1, 3, 12} {
			for range k {
				if _, ok, err := r.c.Next(); !ok {
					return fmt.Errorf("a record is missing: %v", err)
				}
			}
			r.c.Release()
			r.c.Release() // nothing more to give
			if n, err := r.fill(56); n != k || err != nil {
				return fmt.Errorf("after %d records were released, %d found space, %v", k, n, err)
			}
		}
		return nil
	}},
	{"a full ring drops the new record", "Under DropNew a record that finds no space is refused with ErrFull and counted; the ring goes on.", func(e *env) error {
		r := e.ring(256, 56, ring.ProducerOptions{Policy: ring.DropNew})
		refused := 0
		for i := range 10 {
			if err := r.p.Write(uint32(i), make([]byte, 56)); errors.Is(err, ring.ErrFull) {
				refused++
			} else if err != nil {
				return err
			}
		}
		if refused != 6 || r.p.Stats().Dropped[ring.DropFull] != 6 {
			return fmt.Errorf("%d refused and %d counted of 10 records, 4 fit", refused, r.p.Stats().Dropped[ring.DropFull])
		}
		for i := range 4 {
			if err := r.expect(uint32(i), string(make([]byte, 56))); err != nil {
				return fmt.Errorf("record %d of those that fit: %w", i, err)
			}
		}
		return r.send(99, "after", "record after the drops")
	}},
	{"a full ring blocks for MaxWait at most", "Under Block with MaxWait a record that finds no space in that time is refused with os.ErrDeadlineExceeded and counted.", func(e *env) error {
		r := e.ring(256, 56, ring.ProducerOptions{MaxWait: time.Millisecond})
		if _, err := r.fill(56); err != nil {
			return err
		}
		err := e.within("Reserve", func() error {
			if _, err := r.p.Reserve(56); !errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("returned %v", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if s := r.p.Stats(); s.Dropped[ring.DropTimeout] != 1 || s.Blocked != 1 {
			return fmt.Errorf("counted %d timeouts and %d blocked, there was one", s.Dropped[ring.DropTimeout], s.Blocked)
		}
		return nil
	}},
	{"try does not count", "TryReserve, ReserveContext and ReserveDeadline leave it to the caller whether a refused record is dropped; Drop counts it.", func(e *env) error {
		r := e.ring(256, 56, ring.ProducerOptions{Policy: ring.DropNew})
		if _, err := r.fill(56); err != nil {
			return err
		}
		if _, err := r.p.ReserveDeadline(56, time.Now().Add(time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("ReserveDeadline returned %v", err)
		}
		if d := r.p.Stats().Dropped.Total(); d != 0 {
			return fmt.Errorf("%d drops were counted before the caller dropped anything", d)
		}
		r.p.Drop(ring.DropCaller, 3)
		r.p.Drop(ring.DropCaller, -1)
		if s := r.p.Stats(); s.Dropped[ring.DropCaller] != 3 || s.Attempted != s.Committed+3 {
			return fmt.Errorf("after Drop(DropCaller, 3): %+v", s)
		}
		return nil
	}},
}

var countCases = []Case{
	{"the counts add up", "Attempted = Delivered + Lost + Pending + Dropped at every moment at which both sides rest, as each side sees it.", func(e *env) error {
		r := e.ring(512, 100, ring.ProducerOptions{Policy: ring.DropNew})
		s := Stream{Seed: 4, Max: 100}
		delivered, attempted := uint64(0), uint64(0)
		for i := range uint64(2000) {
			r.p.Write(s.Tag(i), make([]byte, s.Len(i)))
			attempted++
			if mix(i)%100 == 0 {
				r.p.Write(0, make([]byte, 200)) // too large
				attempted++
			}
			for mix(i+77)%2 == 0 {
				_, ok, err := r.c.Next()
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				delivered++
				if delivered%3 == 0 {
					r.c.Release()
				}
			}
			cs := r.c.Stats()
			if cs.Attempted != attempted || cs.Delivered != delivered || cs.Attempted != cs.Delivered+cs.Lost+cs.Pending+cs.Dropped.Total() {
				return fmt.Errorf("after %d attempts and %d deliveries the consumer counts %+v", attempted, delivered, cs)
			}
			ps := r.p.Stats()
			if ps.Attempted != attempted || ps.Committed != cs.Committed || ps.Attempted != ps.Delivered+ps.Lost+ps.Pending+ps.Dropped.Total() {
				return fmt.Errorf("after %d attempts the producer counts %+v", attempted, ps)
			}
			if p := r.c.Pending(); uint64(p) != cs.Pending {
				return fmt.Errorf("by Pending there are %d, by the counts %d", p, cs.Pending)
			}
		}
		return nil
	}},
}
