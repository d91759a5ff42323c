package cfgblob

import (
	"slices"
	"sync"
	"weak"
)

// lives knows the Lives bound to a feed, without keeping them alive. A Live looks
// at one version word; when the feed moves to another segment that word does not
// change any more, and the Live has to be told.
type lives struct {
	mu   sync.Mutex
	refs []liveRef
}

// A liveRef is a weak pointer to a Live of some type.
type liveRef interface {
	alive() bool
	doubt()
}

type liveOf[T any] struct{ weak.Pointer[Live[T]] }

func (r liveOf[T]) alive() bool { return r.Value() != nil }

func (r liveOf[T]) doubt() {
	if l := r.Value(); l != nil {
		l.doubt()
	}
}

func watchOver[T any](ls *lives, l *Live[T]) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if n := len(ls.refs); n >= 16 && n&(n-1) == 0 { // now and then, so as not to grow for ever
		ls.refs = slices.DeleteFunc(ls.refs, func(r liveRef) bool { return !r.alive() })
	}
	ls.refs = append(ls.refs, liveOf[T]{weak.Make(l)})
}

// doubt makes every Live look at the feed again.
func (ls *lives) doubt() {
	ls.mu.Lock()
	refs := slices.Clone(ls.refs)
	ls.mu.Unlock()
	for _, r := range refs { // without the lock: it may wait for a decoding
		r.doubt()
	}
}
