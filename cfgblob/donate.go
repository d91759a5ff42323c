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
// [Attach] wants with it. Group and rank say which document the worker reads. The
// caller takes ownership of the file and closes it when the worker has its copy.
// The lease is to be closed when the worker is dead.
//
// It makes a Store a resource for a worker server. The lease has the methods
// Started and Message, by which the server tells it how to reach the worker's
// [Reader.Message], and passes on what [Reader.Connect]'s function sends: through
// them the worker is given other segments while it runs, and may ask for changes.
func (s *Store) Donate(group string, rank, size int) (files []*os.File, words []string, _ io.Closer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, nil, s.closedError("donate")
	}
	l := &lease{store: s, who: member{group, rank, true}}
	sig := s.stack.signature(l.who)
	if l.channel, err = s.channelFor(sig, l.who); err != nil {
		return nil, nil, nil, err
	}
	f, err := l.channel.segment.Reopen()
	if err != nil {
		s.closeUnused()
		return nil, nil, nil, fmt.Errorf("cfgblob: %q: donate: %w", s.o.Name, err)
	}
	l.given = l.channel
	s.leases[l] = struct{}{}
	return []*os.File{f}, []string{wordFormat, "name=" + wordName(s.o.Name)}, l, nil
}

// channelFor is the channel of m's document, made if m is the first to read it.
// That is no change: the document has the version of the last one that was made.
func (s *Store) channelFor(sig string, m member) (*channel, error) {
	if sig == "" {
		return s.general, nil
	}
	if c := s.special[sig]; c != nil {
		return c, nil
	}
	tree := s.stack.document(m)
	text, err := s.check(tree, s.stack, m)
	if err != nil {
		return nil, err
	}
	c, err := s.newChannel(nil, s.roomFor(len(text)))
	if err != nil {
		return nil, fmt.Errorf("cfgblob: %q: donate: %w", s.o.Name, err)
	}
	of := s.snapFor(m)
	snap := s.snapshot(of.Version, of.Author, tree, text)
	snap.Time = of.Time
	if err := s.write(c, snap, tree); err != nil {
		c.segment.Close()
		return nil, err
	}
	s.special[sig] = c
	return c, nil
}

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
