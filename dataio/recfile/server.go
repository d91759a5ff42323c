package recfile

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
)

// A Server writes the files. It is the node's side: a resource that is donated to each
// worker.
type Server struct {
	writers []*writer // by name
	slots   []slot    // of a worker's segment, in the same order
	region  int       // its length

	closing sync.Once
	hurried sync.Once
	err     error
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,128}$`)

// NewServer opens the files by name. On an error nothing is left behind.
func NewServer(files map[string]Options) (*Server, error) { return newServer(files, system{}) }

func newServer(files map[string]Options, d disk) (_ *Server, err error) {
	s := &Server{}
	defer func() {
		if err != nil {
			for _, w := range s.writers {
				w.part.leave()
			}
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		o := files[name].withDefaults(name)
		if err := check(name, o); err != nil {
			return nil, err
		}
		p, err := openPart(name, o, d)
		if err != nil {
			return nil, err
		}
		s.writers = append(s.writers, newWriter(p))
		s.slots = append(s.slots, slot{name: name, format: o.Format, max: o.MaxRecord, size: o.RingSize})
	}
	if s.region, err = place(s.slots); err != nil {
		return nil, fmt.Errorf("recfile: serve: %w", err)
	}
	for _, w := range s.writers {
		if err := w.part.begin(); err != nil {
			return nil, err
		}
		w.stats.Cut = w.part.cut
	}
	for _, w := range s.writers {
		go w.run()
	}
	return s, nil
}

func check(name string, o Options) error {
	switch {
	case !nameRule.MatchString(name):
		return &Error{name, "serve", errors.New("bad name"), "use letters, digits, '.', '_', '/' and '-', and Options.Path for the rest"}
	case o.Format != Lines && o.Format != Frames:
		return &Error{name, "serve", fmt.Errorf("unknown format %d", o.Format), "use Lines or Frames"}
	case o.Format == Lines && slices.Contains(o.Header, '\n'):
		return &Error{name, "serve", fmt.Errorf("%w: in the header", ErrNewline), "give one line"}
	}
	return nil
}

// Stats counts the records of a file.
func (s *Server) Stats(name string) Stats {
	for i, slot := range s.slots {
		if slot.name == name {
			w := s.writers[i]
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.stats
		}
	}
	return Stats{}
}

// Close writes what is in the rings, completes the files and gives them their names.
// Close the workers' leases before; what a worker appends from now on is not written.
// Files that cannot be written, or completed, stay unfinished, and the error names
// them. Later calls return the first one's error.
func (s *Server) Close() error { return s.end(false) }

// Abandon is Close for a run that has failed: what is in the rings is written, and
// flushed to the disk, but the files stay unfinished, for Options.Resume. Nothing is
// tried again. A file to which no record ever came is removed.
func (s *Server) Abandon() error {
	s.Hurry()
	return s.end(true)
}

// Hurry makes that nothing is tried again from now on: what cannot be written at once
// is lost, and counted. It is for a Close, of the server or of leases, that takes too
// long, and does not wait itself.
func (s *Server) Hurry() {
	s.hurried.Do(func() {
		for _, w := range s.writers {
			close(w.hurry)
		}
	})
}

func (s *Server) end(leave bool) error {
	s.closing.Do(func() {
		for _, w := range s.writers {
			w.end(leave)
		}
		var errs []error
		for _, w := range s.writers {
			<-w.stopped
			errs = append(errs, w.err)
		}
		s.err = errors.Join(errs...)
	})
	return s.err
}
