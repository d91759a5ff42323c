package cfgblob

import (
	"fmt"
	"slices"
)

// A Grant lets workers change some keys.
type Grant struct {
	To   Audience // everybody, if zero: every worker
	Keys []string // patterns as in StoreOptions.Secrets, but in exactly their case
}

// granted tells whether a worker may change what is at a path, and all below it.
func (s *Store) granted(m member, elems []string) bool {
	return slices.ContainsFunc(s.o.Grants, func(g Grant) bool {
		if !g.To.has(m) {
			return false
		}
		keys, err := parsePatterns(g.Keys, false)
		return err == nil && keys.cover(elems)
	})
}

// A DeniedError says that a worker asked for a change that no Grant covers. It
// matches ErrDenied.
type DeniedError struct {
	Name   string // of the store
	Worker string // "train/3"
	Path   string
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("cfgblob: %q: worker %s may not change %q: ask the owner to do it, or to grant it (StoreOptions.Grants)", e.Name, e.Worker, e.Path)
}

// Is makes a DeniedError an ErrDenied.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }
