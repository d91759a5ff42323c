package cfgblob

import (
	"fmt"
	"reflect"
	"slices"
)

const (
	// DefaultSize is the size of document a Store begins with room for: 64 KiB.
	DefaultSize = 64 << 10
	// DefaultMaxSize is the size of document a Store grows to: 64 MiB.
	DefaultMaxSize = 64 << 20
	// LargestMaxSize bounds StoreOptions.MaxSize: 512 MiB.
	LargestMaxSize = 512 << 20
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
	// goroutines of the store, and must not close it.
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
