package cfgblob

import (
	"sync"
	"time"
)

// A Snapshot is one published version, whole. It stays valid for ever: its
// bytes are private to this process and do not change when the next version
// comes.
type Snapshot struct {
	Version uint64    // grows with every publication of the document
	Time    time.Time // when it was published, by the owner's wall clock
	Author  string    // who published it, as given to the Store (at most 64 bytes)
	Schema  uint64    // StoreOptions.Schema of the owner; 0 if it has none

	// Doc is the document: a JSON object with sorted keys and no blanks. It is
	// shared by all Snapshots of this version and must not be modified.
	Doc []byte

	tree    *lazyTree
	secrets secrets // what of Doc is not shown
}

// lazyTree parses a document when the first path is looked up in it.
type lazyTree struct {
	doc  []byte
	once sync.Once
	root map[string]any
	err  error
}

// parsedTree is a lazyTree that need not be parsed.
func parsedTree(root map[string]any) *lazyTree {
	t := &lazyTree{root: root}
	t.once.Do(func() {})
	return t
}

func (t *lazyTree) parsed() (map[string]any, error) {
	t.once.Do(func() { t.root, t.err = Parse(t.doc) })
	return t.root, t.err
}

// root returns the parsed document, which is shared: look, do not touch.
func (s *Snapshot) root() (map[string]any, error) {
	if s.tree == nil { // a Snapshot made by hand
		return Parse(s.Doc)
	}
	return s.tree.parsed()
}

// Get returns the value at path (see [Lookup]): nil, bool, string,
// [json.Number], []any or map[string]any. Slices and maps are copies, which the
// caller may modify. A missing key is a [*KeyError] (ErrNoKey).
//
// The document is parsed once per version and process; after that a lookup of
// a scalar allocates nothing.
func (s Snapshot) Get(path string) (any, error) { return s.get(path) }

func (s *Snapshot) get(path string) (any, error) {
	v, err := s.look(path)
	if err != nil {
		return nil, err
	}
	return copyTree(v), nil
}

// look is get without the copy.
func (s *Snapshot) look(path string) (any, error) {
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	return Lookup(root, path)
}
