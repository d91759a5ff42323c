//go:build amd64 || arm64

package shm

import (
	"fmt"
	"os"
)

// Grow makes a larger successor: a new segment of the same UUID, name, kind,
// schema and options, with a region of newSize zero bytes and a generation of
// one more. Nothing happens to s, and nobody learns of the successor yet.
//
// The owner fills the successor, hands it to its readers, and says so with
// [Segment.Supersede]. s stays valid, here and in every other process, until it
// is closed.
func (s *Segment) Grow(newSize int) (*Segment, error) {
	if err := s.mustOwn("grow"); err != nil {
		return nil, err
	}
	switch {
	case newSize <= s.info.Size:
		return nil, fail("grow", s.name, &sizeError{newSize}, fmt.Sprintf("ask for more than the %d that it has", s.info.Size))
	case s.info.Generation == maxGeneration:
		return nil, fail("grow", s.name, fmt.Errorf("%w: generation %d is the last", ErrExhausted, maxGeneration), "make a new segment")
	}
	o := s.opts
	o.Size = newSize
	l := lineage{s.info.UUID, s.info.Generation + 1}
	if s.claim != nil {
		return createSuccessor(s, o, l)
	}
	return create("grow", o, l)
}

// Supersede says that next, which [Segment.Grow] made of s, has taken the place
// of s: the state of s becomes [Superseded], and those in [Segment.WaitState]
// wake up. If s is named, the name leads to next from now on, without a moment
// in which it leads nowhere.
func (s *Segment) Supersede(next *Segment) error {
	if err := s.mustOwn("supersede"); err != nil {
		return err
	}
	if err := next.mustOwn("supersede by"); err != nil {
		return err
	}
	if next.info.UUID != s.info.UUID || next.info.Generation <= s.info.Generation {
		return fail("supersede", s.name, fmt.Errorf("%w: not a successor", os.ErrInvalid), "pass what its Grow returned")
	}
	if s.claim != nil {
		if err := next.claim.takeOver(s.claim); err != nil {
			return fail("supersede", s.name, err, advice(err))
		}
	}
	return s.use("supersede", func([]byte) error {
		s.announce(Superseded)
		return nil
	})
}

func (s *Segment) mustOwn(op string) error {
	if s == nil {
		return fail(op, "", os.ErrInvalid, "the segment is nil")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fail(op, s.name, os.ErrClosed, "")
	case s.file == nil:
		return fail(op, s.name, ErrNotOwner, "ask the process that made it")
	}
	return nil
}
