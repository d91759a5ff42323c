package cfgblob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"shmkit/shm"
)

var (
	segmentKind   = shm.KindOf("CFGB")
	segmentSchema = uint64(blobMagic)<<32 | blobFormat // another blob format is refused at attach
)

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
