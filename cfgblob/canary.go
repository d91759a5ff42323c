package cfgblob

import (
	"errors"
	"fmt"
)

// ErrNoCanary: there is no canary to promote or abandon.
var ErrNoCanary = errors.New("no canary: begin one with Canary")

// ErrCanary: there is a canary already.
var ErrCanary = errors.New("a canary is out already: promote or abandon it first")

// Canary publishes a change to some workers only, for the time being: the
// documents of a become what edit makes of the general document, over everything
// else that is said of them. It lasts until [Store.Promote] makes the change
// everybody's, or [Store.Abandon] takes it back. Other changes may go on
// meanwhile. See [Store.Update] for edit and ifVersion, which is compared with the
// general version.
//
// There is one canary at a time ([ErrCanary]), and it does not outlive the owner.
func (s *Store) Canary(a Audience, author string, ifVersion uint64, edit func(doc map[string]any) error) (version uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.expect(ifVersion, member{})
	if err != nil {
		return now, err
	}
	switch {
	case s.stack.canary != nil:
		return now, fmt.Errorf("cfgblob: %q: canary: %w", s.o.Name, ErrCanary)
	case a.everybody():
		return now, fmt.Errorf("cfgblob: %q: canary: the audience is everybody: name a group or ranks", s.o.Name)
	}
	tree, err := s.edited(member{}, edit)
	if err != nil {
		return now, err
	}
	changes := diff(s.general.tree, tree)
	if len(changes) == 0 {
		return now, nil
	}
	// It has to be good for everybody, or else promoting it would fail.
	if _, err := s.check(tree, s.stack, member{}); err != nil {
		return now, err
	}
	next := s.stack
	next.canary = &canaryLayer{a.normal(), changes, author, s.version + 1}
	return s.commit(author, "canary "+a.String(), next, Audience{})
}

// Promote makes the canary's change everybody's.
func (s *Store) Promote(author string) (version uint64, err error) {
	return s.endCanary(author, "promote", func(c *canaryLayer, next stack) stack {
		old := next.document(member{})
		return next.changed(Audience{}, old, apply(old, c.changes))
	})
}

// Abandon takes the canary's change back.
func (s *Store) Abandon(author string) (version uint64, err error) {
	return s.endCanary(author, "abandon", func(_ *canaryLayer, next stack) stack { return next })
}

func (s *Store) endCanary(author, action string, end func(*canaryLayer, stack) stack) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, next := s.stack.canary, s.stack
	if c == nil {
		return s.general.snap.Version, fmt.Errorf("cfgblob: %q: %s: %w", s.o.Name, action, ErrNoCanary)
	}
	next.canary = nil
	return s.commit(author, action, end(c, next), Audience{})
}

// Canaries tells whom the canary is shown to, and since which version; 0 if there
// is none.
func (s *Store) Canaries() (a Audience, since uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.stack.canary; c != nil {
		return c.audience, c.version
	}
	return Audience{}, 0
}
