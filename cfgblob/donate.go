package cfgblob

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const wordFormat = "cfgblob=1"

// Donate hands the configuration to one worker about to be started: a file of
// its own, through which the segment can only be read, and the words that
// [Attach] wants with it. The caller takes ownership of the file and closes it
// when the worker has its copy. The lease is to be closed when the worker is
// dead.
//
// It makes a Store a resource for a worker server; group, rank and size tell
// whom it is for.
func (s *Store) Donate(group string, rank, size int) (files []*os.File, words []string, lease io.Closer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, nil, fmt.Errorf("cfgblob: %q: donate: %w", s.o.Name, os.ErrClosed)
	}
	f, err := s.segment.Reopen()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("cfgblob: %q: donate: %w", s.o.Name, err)
	}
	return []*os.File{f}, []string{wordFormat, "name=" + wordName(s.o.Name)}, noLease{}, nil
}

// noLease ends nothing: a worker's mapping goes with the worker.
type noLease struct{}

func (noLease) Close() error { return nil }

// wordName keeps the characters of a name that may stand in an environment word.
func wordName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._/-", r):
			return r
		}
		return '-'
	}, name)
}
