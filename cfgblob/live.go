package cfgblob

import (
	"bytes"
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"shmkit/seqlock"
)

// A Live is a configuration decoded into a T, always current. Any number of
// goroutines may use it.
type Live[T any] struct {
	state atomic.Pointer[state[T]] // never nil
	mu    sync.Mutex               // held by the one goroutine that decodes
	from  *feed                    // nil: fixed
}

// A state is one decoded version. It never changes once others can see it.
type state[T any] struct {
	latch   *seqlock.Reader // where the fast path looks…
	seen    uint64          // …and what it must find there for value to be current
	value   *T
	version uint64  // of value
	err     error   // why value is not the newest
	rec     *record // what it was made from; keeps the latch mapped
}

// Bind decodes the current version of src into a T and returns the Live that
// keeps it current. There is no goroutine behind it.
//
// Decoding is that of encoding/json, but keys must match in case too: "Level"
// is not "level". Keys that T does not know are ignored, since a worker may use
// a part of the configuration ([Strict], in the owner, is what refuses them);
// numbers that land in an interface become [encoding/json.Number]. If *T has a
// method Validate() error, it is called on each new value.
//
// An error of the first decoding is returned; see [Live.Err] for later ones.
func Bind[T any](src View) (*Live[T], error) {
	l := &Live[T]{from: src.view()}
	rec := l.from.current()
	value, err := decode[T](rec.snap)
	if err != nil {
		return nil, &DecodeError{l.from.name, rec.snap.Version, 0, err}
	}
	l.state.Store(newState(rec, value, rec.snap.Version, rec.err))
	watchOver(&l.from.lives, l)
	l.doubt() // the feed may have moved before it knew of l
	return l, nil
}

// Fixed returns a Live that always holds v: for tests, and for code that takes a
// Live where nothing is shared.
func Fixed[T any](v T) *Live[T] {
	l := new(Live[T])
	l.state.Store(newState(&record{}, &v, 0, nil))
	return l
}

func newState[T any](rec *record, value *T, version uint64, err error) *state[T] {
	st := &state[T]{latch: still, value: value, version: version, err: err, rec: rec}
	if rec.from != nil {
		st.latch, st.seen = rec.from.latch, rec.seen
	}
	return st
}

// still is a latch in private memory that stays at version 0 for ever.
var still = func() *seqlock.Reader {
	size, err := seqlock.Size(8, 0)
	if err != nil {
		panic(err)
	}
	view := make([]byte, size)
	if err := seqlock.Format(view, 8, 0); err != nil {
		panic(err)
	}
	r, err := seqlock.OpenReader(view)
	if err != nil {
		panic(err)
	}
	return r
}()

// Load returns the current configuration. It is shared by all callers and must
// not be modified; it stays as it is for ever, so that a caller who keeps the
// pointer for a while sees one consistent version.
//
// While nothing changes a Load is one load of the version word in shared memory
// and one of a private pointer: it neither waits nor allocates. The first Load
// to find a new version decodes it; others that come meanwhile return the old
// value. A version that cannot be decoded leaves the old value in place.
func (l *Live[T]) Load() *T {
	// Stored by refresh with its fields filled in, under l.mu; loaded here with
	// acquire order (amd64: MOV; arm64: LDAR): the fields are visible.
	st := l.state.Load()
	// Stored by the publisher of the segment with release order after a version
	// is whole, loaded by Version with acquire order. Equal: value is current.
	if st.latch.Version() == st.seen {
		// st.value is loaded after the version (acquire), so that st, and with
		// it the mapping, was reachable while the version was loaded.
		return st.value
	}
	return l.renew()
}

// renew decodes the new version unless somebody is at it already.
func (l *Live[T]) renew() *T {
	if !l.mu.TryLock() {
		return l.state.Load().value
	}
	defer l.mu.Unlock()
	return l.refresh().value
}

// settle is renew for those who must see the version that is current now: they
// wait for whoever decodes it.
func (l *Live[T]) settle() *state[T] {
	st := l.state.Load()
	if st.latch.Version() == st.seen {
		runtime.KeepAlive(st)
		return st
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refresh()
}

// refresh takes over the current version. The caller holds l.mu.
func (l *Live[T]) refresh() *state[T] {
	old, rec := l.state.Load(), l.from.current()
	if rec == old.rec && old.seen != doubtful {
		return old
	}
	st := newState(rec, old.value, old.version, rec.err)
	switch {
	case rec.snap.Version == old.version && rec.from == old.rec.from:
	case old.err == nil && bytes.Equal(rec.snap.Doc, old.rec.snap.Doc):
		st.version = rec.snap.Version // the same document again
	default:
		value, err := decode[T](rec.snap)
		if err == nil {
			st.value, st.version = value, rec.snap.Version
		} else {
			st.err = &DecodeError{l.from.name, rec.snap.Version, old.version, err}
		}
	}
	l.state.Store(st)
	return st
}

// Version is the version of the configuration that Load returns; 0 if fixed.
func (l *Live[T]) Version() uint64 { return l.settle().version }

// Err tells why Load does not return the newest version: it cannot be decoded
// into a T, or it is corrupt. It is nil when Load is current.
func (l *Live[T]) Err() error { return l.settle().err }

// Watch yields the current configuration and then each newer one that could be
// decoded, like [View].Watch: versions may be skipped, the last one never is.
// Unlike Load in another goroutine, it never yields an old value after it has
// learned of a new one. With paths, a version in which the values at all of them
// are the same is skipped as well.
func (l *Live[T]) Watch(ctx context.Context, paths ...string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		st := l.settle()
		if !yield(st.value) {
			return
		}
		if l.from == nil { // fixed: nothing else will come
			<-ctx.Done()
			return
		}
		last := st // yielded, or the same to whom it is yielded
		for range l.from.records(ctx) {
			st := l.settle()
			if st.value == last.value {
				continue // nothing new, or not decoded
			}
			same := len(paths) > 0 && sameAt(&last.rec.snap, &st.rec.snap, paths)
			last = st
			if !same && !yield(st.value) {
				return
			}
		}
	}
}

// doubtful is no version of a latch: a state that has seen it is asked about at the
// feed, and is a quick one again after that.
const doubtful = ^uint64(0)

// doubt makes the next Load ask the feed: the segment it looks at is no longer the
// one that changes.
func (l *Live[T]) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := *l.state.Load()
	st.latch, st.seen = still, doubtful
	l.state.Store(&st)
}
