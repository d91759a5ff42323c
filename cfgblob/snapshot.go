package cfgblob

import (
	"strconv"
	"sync"
	"sync/atomic"
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

	// paths is everything in root by its whole path, so that a lookup is one access to a
	// map and not one for each element; it is made for a version that is looked up in more
	// than a few times. Stored and loaded by lookups (heap memory of this process): who sees
	// the map sees it whole, and nobody changes it.
	paths atomic.Pointer[map[string]any]
	looks atomic.Uint32 // until there is one
}

const (
	indexAfter = 16      // lookups
	maxIndexed = 1 << 16 // values; a larger document is walked
)

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

// look returns what path names in the document.
func (t *lazyTree) look(path string) (any, error) {
	if paths := t.paths.Load(); paths != nil {
		if v, ok := (*paths)[path]; ok {
			return v, nil
		}
		return Lookup(t.root, path) // written otherwise, or not there: says why
	}
	root, err := t.parsed()
	if err != nil {
		return nil, err
	}
	if t.looks.Add(1) == indexAfter {
		paths := map[string]any{}
		if !indexPaths(paths, "", root) {
			clear(paths)
		}
		t.paths.Store(&paths)
	}
	return Lookup(root, path)
}

// indexPaths adds what is below path, and reports whether that was not too much.
func indexPaths(paths map[string]any, path string, node any) bool {
	add := func(elem string, v any) bool {
		at := elem
		if path != "" {
			at = path + "." + elem
		}
		paths[at] = v
		return len(paths) <= maxIndexed && indexPaths(paths, at, v)
	}
	switch n := node.(type) {
	case map[string]any:
		for key, v := range n {
			if key != "" && !add(escaper.Replace(key), v) { // no path leads to the empty one
				return false
			}
		}
	case []any:
		for i, v := range n {
			if !add(strconv.Itoa(i), v) {
				return false
			}
		}
	}
	return true
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
	if s.tree != nil {
		return s.tree.look(path)
	}
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	return Lookup(root, path)
}
