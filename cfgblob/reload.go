package cfgblob

import (
	"context"
	"fmt"
	"slices"
)

// readSources reads all sources, in their order.
func (s *Store) readSources(ctx context.Context) ([]Layer, error) {
	layers := make([]Layer, len(s.o.Sources))
	for i := range s.o.Sources {
		l, err := s.readSource(ctx, i)
		if err != nil {
			return nil, err
		}
		layers[i] = l
	}
	return layers, nil
}

// readSource reads one source and brings what it holds into the form of documents.
func (s *Store) readSource(ctx context.Context, i int) (Layer, error) {
	src := s.o.Sources[i]
	l, err := src.Read(ctx)
	if err == nil {
		l.Tree, err = TreeOf(l.Tree)
	}
	if l.Name == "" {
		l.Name = src.Name()
	}
	if l.Tree == nil {
		l.Tree = map[string]any{}
	}
	l.For = l.For.normal()
	if err != nil {
		return l, &LayerError{l.Name, err}
	}
	return l, nil
}

// Reload reads all sources again and publishes what comes out, if that is anything
// new. If one of them cannot be read, or what comes out is refused, nothing
// changes: neither document nor version, and the error names the source, the
// place in it, and what was expected there.
func (s *Store) Reload(ctx context.Context) (version uint64, err error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	layers, err := s.readSources(ctx)
	if err != nil {
		return s.Version(), fmt.Errorf("cfgblob: %q: reload: version %d stays: %w", s.o.Name, s.Version(), bareError{err})
	}
	return s.adopt("reload", func(sources []Layer) []Layer { return append(sources[:1:1], layers...) })
}

// reloadOne is Reload of one source.
func (s *Store) reloadOne(ctx context.Context, i int) (uint64, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	l, err := s.readSource(ctx, i)
	if err != nil {
		return s.Version(), fmt.Errorf("cfgblob: %q: reload: version %d stays: %w", s.o.Name, s.Version(), bareError{err})
	}
	return s.adopt("reload "+l.Name, func(sources []Layer) []Layer {
		sources = slices.Clone(sources)
		sources[1+i] = l // after the document that NewStore was given
		return sources
	})
}

// adopt makes other layers the sources.
func (s *Store) adopt(action string, change func([]Layer) []Layer) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.stack
	next.sources, next.general = change(next.sources), nil
	same := slices.EqualFunc(next.sources, s.stack.sources, func(a, b Layer) bool {
		return a.For.String() == b.For.String() && sameTree(a.Tree, b.Tree)
	})
	if same {
		if !s.closed {
			s.stack = next // the places may have changed
		}
		return s.general.snap.Version, nil
	}
	return s.commit("", action, next, Audience{})
}

// Follow follows all sources that can tell when they change, until the store is
// closed, and returns at once. What comes of each change is told to
// StoreOptions.Reloaded, and so is the error of a source that can no longer be
// followed. A source that fails, or whose content is refused, leaves the last good
// version in use, and is read again at its next change.
func (s *Store) Follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.following {
		return
	}
	s.following = true
	for i, src := range s.o.Sources {
		f, ok := src.(Follower)
		if !ok {
			continue
		}
		s.follow.Go(func() {
			err := f.Follow(s.feed.done, func() {
				version, err := s.reloadOne(s.feed.done, i)
				if s.o.Reloaded != nil && s.feed.done.Err() == nil {
					s.o.Reloaded(version, err)
				}
			})
			if s.o.Reloaded != nil && s.feed.done.Err() == nil {
				s.o.Reloaded(s.Version(), fmt.Errorf("cfgblob: %q: %s is no longer followed: %w", s.o.Name, src.Name(), err))
			}
		})
	}
}

// A bareError is an error inside a message that has named the package already.
type bareError struct{ error }

func (e bareError) Error() string { return bare(e.error) }
func (e bareError) Unwrap() error { return e.error }
