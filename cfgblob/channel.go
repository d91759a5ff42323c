package cfgblob

import (
	"fmt"
	"time"

	"shmkit/seqlock"
	"shmkit/shm"
)

// A channel is one segment and the latch in it, through which one document
// reaches the workers that were given it. Most stores have one channel; a group
// or a rank with values of its own has another.
type channel struct {
	segment *shm.Segment
	latch   *seqlock.Writer
	room    int // bytes of document

	// What was published last.
	snap Snapshot
	seen uint64 // as which version of the latch
	tree map[string]any

	// next is the segment that takes this one's place with the version about to be
	// published, if the document needs more room.
	next *channel
}

// newChannel makes a channel with room for a document of size bytes: from has
// become too small, or is nil.
func (s *Store) newChannel(from *channel, size int) (*channel, error) {
	payload := s.header + size
	slots := seqlock.SlotsFor(payload)
	bytes, err := seqlock.Size(payload, slots)
	for err == nil && from != nil && bytes <= from.segment.Info().Size {
		slots++ // larger documents need fewer slots, but segments only grow
		bytes, err = seqlock.Size(payload, slots)
	}
	if err != nil {
		return nil, err
	}
	c := &channel{room: size}
	if from != nil {
		c.segment, err = from.segment.Grow(bytes)
	} else {
		c.segment, err = shm.Create(shm.Options{
			Name: s.o.Name, Kind: segmentKind, Schema: segmentSchema,
			Size: bytes, HandOff: shm.ReadOnly,
		})
	}
	if err != nil {
		return nil, err
	}
	if err = seqlock.Format(c.segment.Region(), payload, slots); err == nil {
		c.latch, err = seqlock.OpenWriter(c.segment.Region())
	}
	if err == nil {
		err = c.latch.WakeWith(shm.Futex{})
	}
	if err != nil {
		c.segment.Close()
		return nil, err
	}
	return c, nil
}

// roomFor is the size of a segment for a document of n bytes: a power of two, so
// that a document that grows byte by byte moves seldom.
func (s *Store) roomFor(n int) int {
	room := s.o.Size
	for room < n {
		room *= 2
	}
	return min(room, s.o.MaxSize)
}

// prepare makes sure that c can take a document of n bytes. All memory that a
// change needs is reserved before any of it is published.
func (s *Store) prepare(c *channel, n int) error {
	if n <= c.room {
		return nil
	}
	next, err := s.newChannel(c, s.roomFor(n))
	if err != nil {
		return fmt.Errorf("cfgblob: %q: room for a document of %d bytes: %w", s.o.Name, n, err)
	}
	c.next = next
	return nil
}

// write puts a version into the latch and wakes those who wait for it. What is
// published beside an error is published, but sleepers may not know.
func (s *Store) write(c *channel, snap Snapshot, tree map[string]any) error {
	s.blob = appendBlob(s.blob[:0], &snap)
	before := c.latch.Version()
	seen, err := c.latch.Publish(s.blob)
	if seen != before {
		c.snap, c.seen, c.tree = snap, seen, tree
	}
	if cap(s.blob) > 4<<20 && len(s.blob) < cap(s.blob)/4 {
		s.blob = nil // scratch of a document that has become small again
	}
	if err != nil {
		return fmt.Errorf("cfgblob: %q: publish: %w", s.o.Name, err)
	}
	return nil
}

func (s *Store) snapshot(version uint64, author string, tree map[string]any, doc []byte) Snapshot {
	return Snapshot{
		Version: version,
		Time:    time.Now().Round(0), // what readers will see has no monotonic part either
		Author:  cleanAuthor(author),
		Doc:     doc[:len(doc):len(doc)],
		Schema:  s.o.Schema,
		tree:    parsedTree(tree),
		secrets: s.secrets,
	}
}
