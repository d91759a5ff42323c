package seqlocktest

import (
	"errors"
	"fmt"

	"shmkit/seqlock"
)

func formatted(e *Env) error {
	p, s, write, _, err := e.latch()
	if err != nil {
		return err
	}
	if err := Play(e.Variant, p, seed, 3, always); err != nil {
		return err
	}
	_, err = e.Make(write)
	if layout := (*seqlock.LayoutError)(nil); !errors.Is(err, seqlock.ErrFormatted) || !errors.As(err, &layout) {
		return fmt.Errorf("formatting a latch in use: %v", err)
	}
	return e.expect(s, seed, 3)
}

func successor(e *Env) error {
	p, s, write, read, err := e.latch()
	if err != nil {
		return err
	}
	for last := uint64(0); last < 50; last += 5 {
		if last > 0 {
			if p, err = e.Resume(write); err != nil {
				return err
			}
			if err := e.expect(s, seed, last); err != nil {
				return fmt.Errorf("after a change of writers: %w", err)
			}
		}
		if p.Version() != last {
			return fmt.Errorf("successor begins at version %d, want %d", p.Version(), last)
		}
		if err := Play(e.Variant, p, seed, 5, always); err != nil {
			return err
		}
	}
	late, err := e.Open(read)
	if err != nil {
		return err
	}
	return e.expect(late, seed, 50)
}

func killed(e *Env) error {
	p, s, write, _, err := e.latch()
	if err != nil {
		return err
	}
	// One kill in the fill of each slot, and some more.
	for last := uint64(1); last < 20; last++ {
		if err := Play(e.Variant, p, seed, 1, always); err != nil {
			return err
		}
		for _, b := range []byte{0x00, 0xff, byte(last)} {
			e.Smear(write, last+1, b)
			if !e.Single {
				if err := e.expect(s, seed, last); err != nil {
					return fmt.Errorf("writer killed on its way to version %d: %w", last+1, err)
				}
			} else if _, _, err := s.Read(nil); !errors.Is(err, seqlock.ErrUnfinished) || !errors.Is(err, seqlock.ErrContended) {
				return fmt.Errorf("writer killed within its store, read: %v", err)
			}
		}
		if p, err = e.Resume(write); err != nil {
			return err
		}
		if p.Version() != last {
			return fmt.Errorf("successor begins at version %d, want %d", p.Version(), last)
		}
	}
	return nil
}

func second(e *Env) error {
	p, s, write, _, err := e.latch()
	if err != nil {
		return err
	}
	other, err := e.Resume(write)
	if err != nil {
		return err
	}
	if err := Play(e.Variant, other, seed, 1, always); err != nil {
		return err
	}
	if _, err := p.Publish(e.Payload(nil, seed+1, 1)); !errors.Is(err, seqlock.ErrSecondWriter) {
		return fmt.Errorf("publication beside a second writer: %v", err)
	}
	return e.expect(s, seed, 1)
}
