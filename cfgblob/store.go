package cfgblob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"

	"shmkit/shm"
)

const (
	// DefaultSize is the size of document a Store begins with room for: 64 KiB.
	DefaultSize = 64 << 10
	// DefaultMaxSize is the size of document a Store grows to: 64 MiB.
	DefaultMaxSize = 64 << 20
	// LargestMaxSize bounds StoreOptions.MaxSize: 512 MiB.
	LargestMaxSize = 512 << 20
)

var (
	segmentKind   = shm.KindOf("CFGB")
	segmentSchema = uint64(blobMagic)<<32 | blobFormat // another blob format is refused at attach
)

// StoreOptions describe a configuration. The zero value is useful.
type StoreOptions struct {
	Name string // for errors and for the segment; "config" if empty

	// Sources are read in this order, over the document that NewStore is given;
	// later ones win. See [Store.Reload] and [Store.Follow] for how their changes
	// arrive.
	Sources []Source

	// Type, if set, is the type of the configuration, a struct: documents have to
	// pass [StrictType], Schema and Secrets are completed by what it says.
	Type reflect.Type

	// Secrets are patterns of paths whose values are not shown: in no print of a
	// Snapshot, no diff, explanation or error. A pattern is a path in whose
	// elements '*' stands for any characters, and whose element "**" stands for
	// any number of elements: "db.*.password", "**.token". Capitals do not count. A
	// secret is everything below its path, too.
	Secrets []string

	// Size is the room for a document, in bytes of canonical JSON, that a segment
	// begins with; DefaultSize if 0. Memory for four of them is reserved. A
	// document that does not fit moves to a segment twice as large or more, which
	// is handed to the workers while they run, up to MaxSize; DefaultMaxSize if 0.
	Size, MaxSize int

	// Validate refuses a document by an error, before it is published. It gets
	// canonical JSON, valid during the call. It is called with the store locked
	// for writing: it may read the store, but not change it. [Strict] makes one
	// from a configuration type.
	Validate func(doc []byte) error

	// BeforePublish, if set, is told of every general document that has been
	// accepted, in order, right before it becomes the version: whoever sees that
	// version finds done what BeforePublish does. It is called with the store
	// locked for writing, as Validate is.
	BeforePublish func(version uint64, doc []byte)

	// Reloaded, if set, is told how each change of a followed source came out: the
	// current version, and why the change was not taken. It is called from
	// goroutines of the store.
	Reloaded func(version uint64, err error)

	// Grants say which keys workers may change through their [Reader]; none by
	// default.
	Grants []Grant

	// History is how many versions are kept for [Store.Diff] and [Store.Rollback];
	// DefaultHistory if 0.
	History int

	// First is the number of the first version; 1 if 0. A successor of a dead
	// owner goes on with the last version seen plus 1.
	First uint64

	// StateFile, if set, is a file to which the version and all changes made while
	// the store ran are written before each publication, and from which a successor
	// goes on: at the next version, with those changes over its sources. It holds
	// secrets in the clear, and is readable to its owner only.
	StateFile string

	Author string // who publishes version 1, and whatever names no author; "owner" if empty
	Schema uint64 // stored with each version, for readers; [SchemaOf] makes one
}

// A Store is the owner's side of a configuration: the only one that can change
// it. Any number of goroutines may use it.
//
// Most workers read the general document. A worker for which there is a source
// of its own ([For]), an override ([Store.SetFor]) or a canary ([Store.Canary])
// reads another one, in a segment that nobody else is given. All documents of a
// store draw their versions from one counter: a document's version is that of its
// own last change, and grows from each to the next, though not always by 1.
type Store struct {
	*feed   // of the general document
	o       StoreOptions
	secrets secrets
	header  int // bytes before a document

	reading sync.Mutex     // held by whoever reads sources; mu is taken inside
	follow  sync.WaitGroup // goroutines of followed sources

	mu      sync.Mutex // held by whoever changes anything; feed.mu is taken inside
	closed  bool
	stack   stack // the owner's private truth, never handed out
	version uint64
	general *channel
	special map[string]*channel // by signature
	leases  map[*lease]struct{}
	history []revision // oldest first; the last one is current
	blob    []byte     // scratch

	following bool
}

// NewStore makes a segment, sealed against every writer but this Store, reads the
// sources over initial, a JSON object, and publishes the result as the first
// version. A nil initial stands for {}.
//
// Errors: what is wrong with the document, as from Publish, with a source, or
// with making the segment.
func NewStore(o StoreOptions, initial []byte) (*Store, error) {
	s, err := o.store()
	if err != nil {
		return nil, err
	}
	if initial == nil {
		initial = []byte("{}")
	}
	tree, err := Parse(initial)
	if err != nil {
		return nil, s.rejected(err, nil, stack{}, member{})
	}
	base := Layer{Name: initialName, Tree: tree}
	sources, err := s.readSources(context.Background())
	if err != nil {
		return nil, err
	}
	s.stack.sources = append([]Layer{base}, sources...)
	author := s.o.Author
	if s.o.StateFile != "" {
		if err := s.resume(); err != nil {
			return nil, err
		}
	}
	if err := s.begin(author); err != nil {
		return nil, err
	}
	return s, nil
}

// initialName is what the document given to NewStore is called where it matters
// where a value comes from.
const initialName = "defaults"

// store checks the options and returns a store without documents.
func (o StoreOptions) store() (*Store, error) {
	if o.Name == "" {
		o.Name = "config"
	}
	if o.Author == "" {
		o.Author = "owner"
	}
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.Size == 0 {
		o.Size = min(DefaultSize, o.MaxSize)
	}
	if o.History == 0 {
		o.History = DefaultHistory
	}
	if o.First == 0 {
		o.First = 1
	}
	if o.Type != nil {
		strict, validate := StrictType(o.Type), o.Validate
		o.Validate = func(doc []byte) error {
			err := strict(doc)
			if err == nil && validate != nil {
				err = validate(doc)
			}
			return err
		}
		if o.Schema == 0 {
			o.Schema = schemaOf(o.Type)
		}
		o.Secrets = append(slices.Clone(o.Secrets), SecretsOfType(o.Type)...)
	}
	hidden, err := newSecrets(o.Secrets)
	s := &Store{
		o: o, secrets: hidden, version: o.First - 1,
		special: map[string]*channel{}, leases: map[*lease]struct{}{},
	}
	s.header = headerSize + secretTableSize(s.secrets.text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cfgblob: %q: StoreOptions.Secrets: %s", o.Name, bare(err))
	case slices.ContainsFunc(o.Secrets, func(p string) bool { return slices.Contains([]byte(p), '\n') }):
		return nil, fmt.Errorf("cfgblob: %q: StoreOptions.Secrets: a pattern of two lines: write '*' for the character", o.Name)
	case s.header > maxHeader:
		return nil, fmt.Errorf("cfgblob: %q: StoreOptions.Secrets: %d bytes of patterns, at most %d: use '*' and \"**\"", o.Name, s.header-headerSize, maxHeader-headerSize)
	case o.MaxSize < len("{}") || o.MaxSize > LargestMaxSize:
		return nil, fmt.Errorf("cfgblob: %q: MaxSize of %d bytes: choose from 2 to %d", o.Name, o.MaxSize, LargestMaxSize)
	case o.Size < len("{}") || o.Size > o.MaxSize:
		return nil, fmt.Errorf("cfgblob: %q: Size of %d bytes: choose from 2 to MaxSize, %d", o.Name, o.Size, o.MaxSize)
	case o.History < 1:
		return nil, fmt.Errorf("cfgblob: %q: History of %d versions: keep at least 1", o.Name, o.History)
	}
	for _, g := range o.Grants {
		if _, err := parsePatterns(g.Keys, false); err != nil {
			return nil, fmt.Errorf("cfgblob: %q: StoreOptions.Grants: %s", o.Name, bare(err))
		}
	}
	return s, nil
}

// begin publishes the first version.
func (s *Store) begin(author string) error {
	tree := s.stack.document(member{})
	doc, err := s.check(tree, s.stack, member{})
	if err != nil {
		return err
	}
	for _, a := range s.stack.audiences() {
		if _, err := s.check(s.stack.document(a.sample()), s.stack, a.sample()); err != nil {
			return err
		}
	}
	if s.general, err = s.newChannel(nil, s.roomFor(len(doc))); err != nil {
		return fmt.Errorf("cfgblob: %q: %w", s.o.Name, err)
	}
	snap := s.snapshot(s.version+1, author, tree, doc)
	if err = s.save(snap, s.stack); err == nil {
		if s.o.BeforePublish != nil {
			s.o.BeforePublish(snap.Version, doc)
		}
		err = s.write(s.general, snap, tree)
	}
	if err == nil {
		s.feed, err = newFeed(s.o.Name, s.general.segment, &record{seen: s.general.seen, snap: snap})
	}
	if err != nil {
		s.general.segment.Close() // nobody has seen it
		return err
	}
	s.version = snap.Version
	s.remember(snap, "start")
	return nil
}

// Publish makes doc, a JSON object, the current version of the general document
// and returns its number. Readers see the old version until the whole new one is
// there. An empty author stands for StoreOptions.Author.
//
// What is published is the canonical form of doc: keys sorted, no blanks,
// numbers as they were spelled. A document that is the same as the current one
// in that form is not published again: the current version is returned and
// nobody is woken. What doc says otherwise than the sources is kept as a change
// over them: it stays when they are read again.
//
// A document that is not JSON or that Validate refuses is a [*RejectedError],
// one that does not fit a [*SizeError]; a closed store is [os.ErrClosed]. Then
// the version does not move. (An error that comes with a new version can only
// be that of waking those who wait: the document is published.)
func (s *Store) Publish(author string, doc []byte) (version uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree, err := Parse(doc)
	if err != nil {
		return s.general.snap.Version, s.rejected(err, nil, stack{}, member{})
	}
	return s.replace(author, "publish", Audience{}, tree)
}

// replace makes tree the document of an audience. The caller holds s.mu.
func (s *Store) replace(author, action string, a Audience, tree map[string]any) (uint64, error) {
	old := s.document(a.sample())
	if sameTree(old, tree) {
		if s.closed {
			return s.versionFor(a.sample()), s.closedError("publish")
		}
		return s.versionFor(a.sample()), nil
	}
	return s.commit(author, action, s.stack.changed(a, old, tree), a)
}

// Check says what is wrong with a document, as Publish would, and changes nothing.
func (s *Store) Check(doc []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree, err := Parse(doc)
	if err != nil {
		return s.rejected(err, nil, stack{}, member{})
	}
	_, err = s.check(tree, stack{}, member{})
	return err
}

// check validates the document of m and returns its canonical form.
func (s *Store) check(tree map[string]any, st stack, m member) ([]byte, error) {
	text, err := canonical(tree)
	if err != nil {
		return nil, s.rejected(err, tree, st, m)
	}
	if len(text) > s.o.MaxSize {
		return nil, &SizeError{s.o.Name, len(text), s.o.MaxSize}
	}
	if s.o.Validate != nil {
		if err := s.o.Validate(text); err != nil {
			return nil, s.rejected(err, tree, st, m)
		}
	}
	return text, nil
}

// rejected says that a document of m, made of a stack, is refused: which of its
// layers holds the value that the error is about, and no secret.
func (s *Store) rejected(err error, tree map[string]any, st stack, m member) error {
	var field *FieldError
	located := errors.As(err, &field)
	r := &RejectedError{Name: s.o.Name, Err: s.secrets.clean(err, tree)}
	if s.general != nil {
		r.Version = s.general.snap.Version
		r.Err = s.secrets.clean(r.Err, s.general.tree)
	}
	if located {
		if o, found := st.origin(m, field.Path); found && !slices.Contains([]string{initialName, runtimeName, canaryName}, o.Name) {
			r.Err = &OriginError{o.Name, o.at(field.Path), r.Err}
		}
	}
	if sig := st.signature(m); sig != "" {
		r.For = fmt.Sprintf("%s/%d", m.group, m.rank)
	}
	return r
}

// Close ends all watches and all changes, once; workers that are attached keep
// the last version. The memory is given back when the last [Live] bound to the
// store is garbage. Later calls return nil.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	if first {
		s.feed.close()
		for _, c := range s.special {
			c.segment.Close()
		}
	}
	s.mu.Unlock()
	s.follow.Wait()
	return nil
}

func (s *Store) closedError(op string) error {
	return fmt.Errorf("cfgblob: %q: %s: %w", s.o.Name, op, os.ErrClosed)
}
