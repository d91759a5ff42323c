package seqlocktest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"shmkit/seqlock"
)

func empty(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	if got, v, err := s.Read(nil); !errors.Is(err, seqlock.ErrEmpty) || v != 0 || len(got) != 0 {
		return fmt.Errorf("read of nothing: %d bytes, version %d, error %v", len(got), v, err)
	}
	if s.Version() != 0 || p.Version() != 0 {
		return fmt.Errorf("versions %d and %d before the first", s.Version(), p.Version())
	}
	return nil
}

func sequence(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	for v := uint64(1); v <= 200; v++ {
		if err := Play(e.Variant, p, seed, 1, always); err != nil {
			return err
		}
		if p.Version() != v || s.Version() != v {
			return fmt.Errorf("writer says version %d, reader %d, want %d", p.Version(), s.Version(), v)
		}
		for range 2 { // the second read finds what the first one left
			if err := e.expect(s, seed, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func sizes(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	full := make([]byte, e.Max+1)
	for i := range full {
		full[i] = byte(i*7 + 1)
	}
	for _, n := range []int{e.Max, 0, 1, 7, 8, 9, 15, 63, 64, 65, e.Max - 1, e.Max, 0} {
		if n > e.Max || e.Fixed && n != e.Max {
			continue
		}
		if _, err := p.Publish(full[:n]); err != nil {
			return fmt.Errorf("publish %d bytes: %w", n, err)
		}
		if got, _, err := s.Read(nil); err != nil || !bytes.Equal(got, full[:n]) {
			return fmt.Errorf("%d bytes come back as %d bytes, error %v", n, len(got), err)
		}
	}
	before := s.Version()
	_, err = p.Publish(full)
	if tooLarge := (*seqlock.SizeError)(nil); !errors.Is(err, seqlock.ErrTooLarge) || !errors.As(err, &tooLarge) {
		return fmt.Errorf("publish %d bytes into %d: %v", len(full), e.Max, err)
	}
	if s.Version() != before {
		return fmt.Errorf("a refused publication moved the version from %d to %d", before, s.Version())
	}
	return nil
}

func buffer(e *Env) error {
	p, s, _, _, err := e.latch()
	if err != nil {
		return err
	}
	payload := make([]byte, e.Max)
	buf := make([]byte, e.Max)
	var failed error
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := p.Publish(payload); err != nil {
			failed = err
		}
		got, _, err := s.Read(buf[:1]) // capacity counts, not length
		if err != nil {
			failed = err
		} else if &got[0] != &buf[0] {
			failed = errors.New("a read left its buffer aside")
		}
	})
	if failed == nil && allocs != 0 {
		failed = fmt.Errorf("%v allocations in a publication and a read", allocs)
	}
	return failed
}
