package cfgblob

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// DefaultHistory is how many versions a Store keeps.
const DefaultHistory = 64

// A Revision is one version of the store's past.
type Revision struct {
	Version uint64    `json:"version"`
	Time    time.Time `json:"time"`
	Author  string    `json:"author"`
	Action  string    `json:"action"` // "set level", "reload", "rollback to 3"… ; never a value
}

// A revision keeps what its documents were made of. Versions share what they have
// in common, so that it takes the memory of what was changed.
type revision struct {
	Revision
	stack stack
}

func (s *Store) remember(snap Snapshot, action string) {
	s.history = append(s.history, revision{Revision{snap.Version, snap.Time, snap.Author, action}, s.stack})
	if n := len(s.history) - s.o.History; n > 0 {
		clear(s.history[:n]) // what nobody else keeps can go; append moves the rest now and then
		s.history = s.history[n:]
	}
}

// History lists the versions that are kept, oldest first; the last one is current.
// A version in which only the documents of some workers changed is one as well.
func (s *Store) History() []Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Revision, len(s.history))
	for i, r := range s.history {
		list[i] = r.Revision
	}
	return list
}

// At returns the general document as it was at a version. One that is no longer
// kept, or not yet there, is a [*HistoryError] (ErrNoVersion).
func (s *Store) At(version uint64) (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.revision(version)
	if err != nil {
		return Snapshot{}, err
	}
	return s.stackSnapshot(r.stack, Snapshot{Version: r.Version, Time: r.Time, Author: r.Author}, member{}), nil
}

func (s *Store) revision(version uint64) (revision, error) {
	i, found := slices.BinarySearchFunc(s.history, version, func(r revision, v uint64) int { return cmp.Compare(r.Version, v) })
	if !found {
		return revision{}, &HistoryError{s.o.Name, version, s.history[0].Version, s.version}
	}
	return s.history[i], nil
}

// A Change is the difference of two documents at one path. What is secret is
// [Redacted] in it: that it changed can be seen, but not from what to what.
type Change struct {
	Path string          `json:"path"`
	Old  json.RawMessage `json:"old,omitempty"` // nil: it was not there
	New  json.RawMessage `json:"new,omitempty"` // nil: it is gone
}

// String writes the change on one line: "level: "info" → "debug"".
func (c Change) String() string {
	switch {
	case c.Old == nil:
		return fmt.Sprintf("%s: + %s", c.Path, c.New)
	case c.New == nil:
		return fmt.Sprintf("%s: - %s", c.Path, c.Old)
	}
	return fmt.Sprintf("%s: %s → %s", c.Path, c.Old, c.New)
}

// Diff lists what is different in the general documents of two versions, sorted by
// path. Objects are compared key by key, anything else as a whole.
func (s *Store) Diff(from, to uint64) ([]Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.revision(from)
	if err != nil {
		return nil, err
	}
	b, err := s.revision(to)
	if err != nil {
		return nil, err
	}
	return s.secrets.changes(a.stack.document(member{}), b.stack.document(member{})), nil
}

// changes lists the differences of two trees, without their secrets.
func (s secrets) changes(a, b map[string]any) []Change {
	var list []Change
	text := func(path []string, v any, there bool) json.RawMessage {
		if !there {
			return nil
		}
		b, _ := canonicalValue(s.shown(path, v))
		return b
	}
	compare(a, b, nil, s.cover, func(path []string, old, new any, had, has bool) {
		list = append(list, Change{joinPath(path), text(path, old, had), text(path, new, has)})
	})
	slices.SortFunc(list, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// compare calls f for each difference of two trees, key by key down to what is no
// object, or is to be taken as a whole.
func compare(a, b map[string]any, at []string, whole func(path []string) bool, f func(path []string, old, new any, had, has bool)) {
	for key, old := range a {
		path := append(at[:len(at):len(at)], key)
		now, has := b[key]
		x, isObject := old.(map[string]any)
		y, stays := now.(map[string]any)
		switch {
		case has && sameTree(old, now):
		case isObject && stays && !whole(path):
			compare(x, y, path, whole, f)
		default:
			f(path, old, now, true, has)
		}
	}
	for key, now := range b {
		if _, had := a[key]; !had {
			f(append(at[:len(at):len(at)], key), nil, now, false, true)
		}
	}
}

// Rollback makes a new version in which the general document, and the overrides of
// all workers, are as they were at an old one. Sources that have changed since are
// overruled where they say otherwise. See [Store.Update] for ifVersion and errors.
func (s *Store) Rollback(author string, version, ifVersion uint64) (now uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, err = s.expect(ifVersion, member{}); err != nil {
		return now, err
	}
	old, err := s.revision(version)
	if err != nil {
		return now, err
	}
	next := s.stack
	next.runtime, next.general = old.stack.runtime, nil
	doc, then := next.document(member{}), old.stack.document(member{})
	if !sameTree(doc, then) {
		next = next.changed(Audience{}, doc, then)
	}
	if sameTree(then, s.general.tree) && sameRuntime(next.runtime, s.stack.runtime) {
		return now, nil
	}
	return s.commit(author, fmt.Sprintf("rollback to %d", version), next, Audience{})
}

func sameRuntime(a, b []runtimeLayer) bool {
	return slices.EqualFunc(a, b, func(a, b runtimeLayer) bool {
		return a.audience.String() == b.audience.String() && sameTree(a.changes, b.changes)
	})
}
