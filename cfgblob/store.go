package cfgblob

import (
	"fmt"
	"os"
	"sync"
	"time"

	"shmkit/seqlock"
	"shmkit/shm"
)

const (
	// DefaultMaxSize is the size of document a Store has room for if its
	// options do not say: 64 KiB.
	DefaultMaxSize = 64 << 10
	// LargestMaxSize bounds StoreOptions.MaxSize: 512 MiB.
	LargestMaxSize = 512 << 20

	slots = seqlock.DefaultSlots
)

var (
	segmentKind   = shm.KindOf("CFGB")
	segmentSchema = uint64(blobMagic)<<32 | blobFormat // another blob format is refused at attach
)

// StoreOptions describe a configuration. The zero value is useful.
type StoreOptions struct {
	Name string // for errors and for the segment; "config" if empty

	// MaxSize is the room for a document in bytes of canonical JSON;
	// DefaultMaxSize if 0. Memory for four of them is reserved at once.
	MaxSize int

	// Validate refuses a document by an error, before it is published. It gets
	// canonical JSON, valid during the call. It is called with the store locked
	// for writing: it may read the store, but not change it. [Strict] makes one
	// from a configuration type.
	Validate func(doc []byte) error

	// BeforePublish, if set, is told of every document that has been accepted, in
	// order, right before it becomes the version: whoever sees that version finds
	// done what BeforePublish does. It is called with the store locked for writing,
	// as Validate is.
	BeforePublish func(version uint64, doc []byte)

	Author string // who publishes version 1, and whatever names no author; "owner" if empty
	Schema uint64 // stored with each version, for readers; [SchemaOf] makes one
}

// A Store is the owner's side of a configuration: the only one that can change
// it. Any number of goroutines may use it.
type Store struct {
	*feed
	o       StoreOptions
	latch   *seqlock.Writer
	segment *shm.Segment

	mu     sync.Mutex // held by whoever changes the document; feed.mu is taken inside
	closed bool
	tree   map[string]any // the current document: the owner's private truth, never handed out
	doc    string         // the same, canonical
	blob   []byte         // scratch
}

// NewStore makes a segment, sealed against every writer but this Store, and
// publishes initial, a JSON object, as version 1. A nil initial stands for {}.
//
// Errors: what is wrong with initial, as from Publish, or with making the
// segment.
func NewStore(o StoreOptions, initial []byte) (*Store, error) {
	if o.Name == "" {
		o.Name = "config"
	}
	if o.Author == "" {
		o.Author = "owner"
	}
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.MaxSize < len("{}") || o.MaxSize > LargestMaxSize {
		return nil, fmt.Errorf("cfgblob: %q: MaxSize of %d bytes: choose from 2 to %d", o.Name, o.MaxSize, LargestMaxSize)
	}
	if initial == nil {
		initial = []byte("{}")
	}
	s := &Store{o: o}
	tree, doc, err := s.accept(initial)
	if err != nil {
		return nil, err
	}
	if err := s.reserve(); err != nil {
		return nil, fmt.Errorf("cfgblob: %q: %w", o.Name, err)
	}
	first, err := s.write(1, o.Author, tree, doc)
	if err == nil {
		s.feed, err = newFeed(o.Name, s.segment, first)
	}
	if err != nil {
		s.segment.Close() // nobody has seen it
		return nil, err
	}
	s.tree, s.doc = tree, string(doc)
	return s, nil
}

// reserve makes the segment and an empty latch in it.
func (s *Store) reserve() error {
	payload := headerSize + s.o.MaxSize
	size, err := seqlock.Size(payload, slots)
	if err != nil {
		return err
	}
	s.segment, err = shm.Create(shm.Options{
		Name: s.o.Name, Kind: segmentKind, Schema: segmentSchema,
		Size: size, HandOff: shm.ReadOnly,
	})
	if err != nil {
		return err
	}
	if err = seqlock.Format(s.segment.Region(), payload, slots); err == nil {
		s.latch, err = seqlock.OpenWriter(s.segment.Region())
	}
	if err == nil {
		err = s.latch.WakeWith(shm.Futex{})
	}
	if err != nil {
		s.segment.Close()
	}
	return err
}

// Publish makes doc, a JSON object, the current version and returns its number.
// Readers see the old version until the whole new one is there. An empty author
// stands for StoreOptions.Author.
//
// What is published is the canonical form of doc: keys sorted, no blanks,
// numbers as they were spelled. A document that is the same as the current one
// in that form is not published again: the current version is returned and
// nobody is woken.
//
// A document that is not JSON or that Validate refuses is a [*RejectedError],
// one that does not fit a [*SizeError]; a closed store is [os.ErrClosed]. Then
// the version does not move. (An error that comes with a new version can only
// be that of waking those who wait: the document is published.)
func (s *Store) Publish(author string, doc []byte) (version uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree, text, err := s.accept(doc)
	if err != nil {
		return s.versionNow(), err
	}
	return s.publish(author, tree, text)
}

// accept checks doc and returns it parsed and in canonical form.
func (s *Store) accept(doc []byte) (map[string]any, []byte, error) {
	tree, err := Parse(doc)
	if err != nil {
		return nil, nil, s.rejected(err)
	}
	text, err := s.check(tree)
	return tree, text, err
}

// check validates a document and returns its canonical form.
func (s *Store) check(tree map[string]any) ([]byte, error) {
	text, err := canonical(tree)
	if err != nil {
		return nil, s.rejected(err)
	}
	if len(text) > s.o.MaxSize {
		return nil, &SizeError{s.o.Name, len(text), s.o.MaxSize}
	}
	if s.o.Validate != nil {
		if err := s.o.Validate(text); err != nil {
			return nil, s.rejected(err)
		}
	}
	return text, nil
}

func (s *Store) rejected(err error) error {
	return &RejectedError{s.o.Name, s.versionNow(), err}
}

// versionNow is the current version; 0 before the first.
func (s *Store) versionNow() uint64 {
	if s.feed == nil {
		return 0
	}
	return s.feed.cur.Load().snap.Version
}

// publish makes an accepted document current. The caller holds s.mu.
func (s *Store) publish(author string, tree map[string]any, doc []byte) (uint64, error) {
	version := s.versionNow()
	if s.closed {
		return version, fmt.Errorf("cfgblob: %q: publish: %w", s.o.Name, os.ErrClosed)
	}
	if string(doc) == s.doc {
		return version, nil
	}
	if author == "" {
		author = s.o.Author
	}
	rec, err := s.writeNext(version+1, author, tree, doc)
	if rec == nil {
		return version, err
	}
	s.tree, s.doc = tree, string(doc)
	return rec.snap.Version, err
}

// writeNext is write for a store that others in this process already read: nobody
// here is between the new version in shared memory and the new record, since
// whoever sees the first waits at the lock for the second.
func (s *Store) writeNext(version uint64, author string, tree map[string]any, doc []byte) (*record, error) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	rec, err := s.write(version, author, tree, doc)
	if rec != nil {
		rec.from = s.feed.cur.Load().from
		s.feed.cur.Store(rec)
	}
	return rec, err
}

// write puts a version into shared memory and wakes those who wait for it. A
// record beside an error was published, but sleepers may not know.
func (s *Store) write(version uint64, author string, tree map[string]any, doc []byte) (*record, error) {
	if s.o.BeforePublish != nil {
		s.o.BeforePublish(version, doc)
	}
	snap := Snapshot{
		Version: version,
		Time:    time.Now().Round(0), // what readers will see has no monotonic part either
		Author:  cleanAuthor(author),
		Doc:     doc[:len(doc):len(doc)],
		Schema:  s.o.Schema,
		tree:    parsedTree(tree),
	}
	s.blob = appendBlob(s.blob[:0], &snap)
	before := s.latch.Version()
	seen, err := s.latch.Publish(s.blob)
	if seen == before {
		return nil, fmt.Errorf("cfgblob: %q: publish: %w", s.o.Name, err)
	}
	if err != nil {
		err = fmt.Errorf("cfgblob: %q: publish: %w", s.o.Name, err)
	}
	return &record{seen: seen, snap: snap}, err
}

// Close ends all watches and all changes, once; workers that are attached keep
// the last version. The memory is given back when the last [Live] bound to the
// store is garbage. Later calls return nil.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.feed.close()
	}
	return nil
}
