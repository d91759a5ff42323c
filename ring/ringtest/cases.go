package ringtest

import (
	"bytes"
	"errors"
	"fmt"

	"shmkit/ring"
)

// The cases, in the order in which they run: simple before subtle.
var cases = join(recordCases, spaceCases, countCases, overwriteCases, waitCases, attachCases, errorCases, hostileCases)

func join(lists ...[]Case) (all []Case) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

var recordCases = []Case{
	{"zeros are an empty ring", "A view of zeros needs no formatting: it is a ring without records.", func(e *env) error {
		r := e.ring(256, 64, ring.ProducerOptions{})
		if err := r.expectNone(); err != nil {
			return err
		}
		if n := r.c.Pending(); n != 0 {
			return fmt.Errorf("%d records pending", n)
		}
		return r.send(7, "x", "first")
	}},
	{"a record comes out as it went in", "Tag and payload of a record are delivered unchanged, empty payloads too.", func(e *env) error {
		r := e.ring(256, 64, ring.ProducerOptions{})
		for i, s := range []string{"hello", "", "a payload of more than eight bytes", "\x00\xff\x00"} {
			if err := r.send(uint32(i)<<28|uint32(i), s, fmt.Sprintf("record %d", i)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"commit is visible at once", "A record exists from the return of Commit on, without Flush: an awake consumer sees it.", func(e *env) error {
		r := e.ring(256, 64, ring.ProducerOptions{})
		for i := range 20 {
			b, err := r.p.Reserve(4)
			if err != nil {
				return err
			}
			copy(b, "abcd")
			r.p.Commit(4, 1)
			if err := r.expect(1, "abcd"); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
		return nil
	}},
	{"reserved is not visible", "A reservation is invisible until Commit, and for ever after Abort.", func(e *env) error {
		r := e.ring(256, 64, ring.ProducerOptions{})
		b, err := r.p.Reserve(8)
		if err != nil {
			return err
		}
		copy(b, "unstable")
		if err := r.expectNone(); err != nil {
			return fmt.Errorf("after Reserve: %w", err)
		}
		r.p.Abort()
		if err := r.p.Flush(); err != nil {
			return err
		}
		if err := r.expectNone(); err != nil {
			return fmt.Errorf("after Abort: %w", err)
		}
		return r.send(3, "next", "record after the aborted one")
	}},
	{"commit may be shorter than the reservation", "Commit(n) publishes the first n bytes; the next record follows them.", func(e *env) error {
		r := e.ring(256, 64, ring.ProducerOptions{})
		for n := range 41 {
			b, err := r.p.Reserve(40)
			if err != nil {
				return err
			}
			if len(b) != 40 || cap(b) != 40 {
				return fmt.Errorf("Reserve(40) gave %d bytes with capacity %d", len(b), cap(b))
			}
			for i := range b {
				b[i] = byte(n)
			}
			r.p.Commit(n, 9)
			if err := r.expect(9, string(bytes.Repeat([]byte{byte(n)}, n))); err != nil {
				return fmt.Errorf("%d of 40 bytes: %w", n, err)
			}
		}
		return nil
	}},
	{"a second reservation replaces the first", "Reserve after Reserve starts anew: one record comes of it.", func(e *env) error {
		r := e.ring(256, 64, ring.ProducerOptions{})
		for _, s := range []string{"forgotten", "kept"} {
			b, err := r.p.Reserve(len(s))
			if err != nil {
				return err
			}
			copy(b, s)
		}
		r.p.Commit(4, 1)
		return r.expect(1, "kept")
	}},
	{"every length at every offset", "Records of each length are contiguous and whole wherever in the ring they start, across its end too.", func(e *env) error {
		r := e.ring(256, 248, ring.ProducerOptions{})
		for n := 0; n <= 248; n++ {
			for off := range 256 / 8 {
				// A small record moves the start by 8 bytes a turn.
				if err := r.send(1, "", "step"); err != nil {
					return err
				}
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(n + off + i)
				}
				if err := r.send(uint32(n), string(b), fmt.Sprintf("%d bytes in step %d", n, off)); err != nil {
					return err
				}
			}
		}
		return nil
	}},
	{"a long stream keeps order", "Records come out exactly once and in order, over many turns of the ring.", func(e *env) error {
		r := e.ring(4096, 1000, ring.ProducerOptions{})
		s := Stream{Seed: 1, Max: 1000}
		next := uint64(0)
		for i := range uint64(5000) {
			if err := s.Produce(r.p, i, i+1, nil); err != nil {
				return err
			}
			for mix(i)%3 == 0 && next <= i {
				rec, ok, err := r.c.Next()
				if !ok {
					return fmt.Errorf("record %d is missing: %v", next, err)
				}
				if err := s.Verify(rec, next); err != nil {
					return err
				}
				next++
				r.c.Release()
			}
			if next+2 <= i { // 4096 bytes hold three of the largest
				rec, _, _ := r.c.Next()
				if err := s.Verify(rec, next); err != nil {
					return err
				}
				next++
				r.c.Release()
			}
		}
		return nil
	}},
	{"batch returns at most max", "Batch(max) yields at most max records, and without a limit all that are there.", func(e *env) error {
		r := e.ring(1024, 64, ring.ProducerOptions{})
		for i := range 10 {
			if err := r.p.Write(uint32(i), []byte("record")); err != nil {
				return err
			}
		}
		next := uint32(0)
		for _, step := range []struct{ max, want int }{{3, 3}, {1, 1}, {0, 6}, {5, 0}} {
			got := 0
			for rec := range r.c.Batch(step.max) {
				if rec.Tag != next || string(rec.Payload) != "record" {
					return fmt.Errorf("record %d came as %d %q", next, rec.Tag, rec.Payload)
				}
				next++
				got++
			}
			if got != step.want || r.c.Err() != nil {
				return fmt.Errorf("Batch(%d) yielded %d records and error %v, there were %d", step.max, got, r.c.Err(), step.want)
			}
		}
		return nil
	}},
	{"leaving a batch leaves the rest", "A loop over Batch that is left early has read what its body got, and no more.", func(e *env) error {
		r := e.ring(1024, 64, ring.ProducerOptions{})
		for i := range 5 {
			if err := r.p.Write(uint32(i), nil); err != nil {
				return err
			}
		}
		for rec := range r.c.Batch(0) {
			if rec.Tag == 1 {
				break
			}
		}
		return r.expect(2, "")
	}},
}

// send writes a record and expects it to come out.
func (r *pair) send(tag uint32, s, what string) error {
	if err := r.p.Write(tag, []byte(s)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := r.expect(tag, s); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// expect reads and releases one record.
func (r *pair) expect(tag uint32, s string) error {
	rec, ok, err := r.c.Next()
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("no record came")
	case rec.Tag != tag || string(rec.Payload) != s:
		return fmt.Errorf("came: tag %#x, %q; committed was: tag %#x, %q", rec.Tag, rec.Payload, tag, s)
	}
	r.c.Release()
	return nil
}

func (r *pair) expectNone() error {
	if rec, ok, err := r.c.Next(); ok || err != nil {
		return fmt.Errorf("a record came that does not exist: %v %v", rec, err)
	}
	return nil
}

// fill writes empty-handed records of n bytes until the ring is full, tagged
// from 0 on, and returns how many.
func (r *pair) fill(n int) (count int, err error) {
	for {
		b, err := r.p.TryReserve(n)
		if errors.Is(err, ring.ErrFull) {
			return count, nil
		}
		if err != nil {
			return count, err
		}
		for i := range b {
			b[i] = byte(count)
		}
		r.p.Commit(n, uint32(count))
		count++
	}
}
