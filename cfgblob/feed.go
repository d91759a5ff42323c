package cfgblob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"shmkit/seqlock"
	"shmkit/shm"
)

// A feed follows the blob in one segment. It is what Store and Reader have in
// common: one verified copy of the current version in private memory, renewed
// by whoever first meets a newer one in shared memory.
type feed struct {
	name string
	cur  atomic.Pointer[record] // never nil
	mu   sync.Mutex             // held by whoever replaces cur
	done context.Context        // ends with close
	end  context.CancelFunc
	lost atomic.Pointer[error] // why a watch ended before its context did

	lives lives // bound to it
}

// A record is what became of one version of a latch; it never changes. The
// latch counts the publications in its segment. The version of the
// configuration is in the blob, so that it can go on where another segment takes
// over.
type record struct {
	from *mapping // where the version came from; nil once the feed is closed
	seen uint64   // the latch's version
	snap Snapshot // the last good version
	err  error    // why snap is older than seen
}

// A mapping is the anchor of a mapped segment: whoever touches the memory holds
// a *mapping, and the segment is unmapped only after the garbage collector has
// found that nobody does. So a Load in the middle of a Close cannot fault.
type mapping struct {
	segment *shm.Segment
	latch   *seqlock.Reader

	left  context.Context // ends when the feed has moved to another mapping
	leave context.CancelFunc
}

func newMapping(name string, segment *shm.Segment) (*mapping, error) {
	latch, err := seqlock.OpenReader(segment.Region())
	if err != nil {
		return nil, &CorruptError{name, err.Error()}
	}
	m := &mapping{segment: segment, latch: latch}
	m.left, m.leave = context.WithCancel(context.Background())
	return m, nil
}

// first reads the version that a mapping begins with, which must be good.
func (m *mapping) first(name string) (*record, error) {
	var rec *record
	for rec == nil {
		rec = m.read(name, &record{})
	}
	return rec, rec.err
}

// release unmaps m when nobody refers to it any more.
func (m *mapping) release() {
	m.leave()
	runtime.AddCleanup(m, func(s *shm.Segment) { s.Close() }, m.segment)
}

// newFeed makes a feed of a mapped segment. first is the version published
// there, if the caller knows it; else it is read, and must be good.
func newFeed(name string, segment *shm.Segment, first *record) (*feed, error) {
	m, err := newMapping(name, segment)
	if err != nil {
		return nil, err
	}
	if first == nil {
		if first, err = m.first(name); err != nil {
			return nil, err
		}
	}
	first.from = m
	f := &feed{name: name}
	f.cur.Store(first)
	f.done, f.end = context.WithCancel(context.Background())
	return f, nil
}

// unchanged tells whether rec is still what the latch holds. It is one load of
// the shared version word: stored by the publisher with release order once a
// version is whole, loaded with acquire order (amd64: MOV; arm64: STLR, LDAR).
func (rec *record) unchanged() bool {
	same := rec.from == nil || rec.from.latch.Version() == rec.seen
	runtime.KeepAlive(rec)
	return same
}

// current returns the verified current version, without a lock as long as
// nothing changes.
func (f *feed) current() *record {
	// Stored by whoever holds f.mu, loaded by anybody: the record behind the
	// pointer is complete.
	rec := f.cur.Load()
	if rec.unchanged() {
		return rec
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	rec = f.cur.Load()
	if rec.unchanged() { // somebody else has read it meanwhile
		return rec
	}
	if next := rec.from.read(f.name, rec); next != nil {
		f.cur.Store(next)
		return next
	}
	return rec
}

// read copies and verifies the version that is current in shared memory. It
// returns nil if the publisher was faster than the copy; then the next call
// tries again. A version that is not good is reported once, beside the last one
// that was.
func (m *mapping) read(name string, last *record) *record {
	blob, seen, err := m.latch.Read(nil)
	runtime.KeepAlive(m)
	if errors.Is(err, seqlock.ErrContended) {
		return nil
	}
	if err != nil {
		return &record{m, seen, last.snap, &CorruptError{name, err.Error()}}
	}
	snap, err := parseBlob(name, blob)
	if err == nil && snap.Version < last.snap.Version {
		err = &CorruptError{name, fmt.Sprintf("version went back from %d to %d", last.snap.Version, snap.Version)}
	}
	if err != nil {
		return &record{m, seen, last.snap, err}
	}
	return &record{from: m, seen: seen, snap: *snap}
}

// close ends all watches and lets go of the mapping. The last record stays.
func (f *feed) close() {
	f.end()
	f.mu.Lock()
	defer f.mu.Unlock()
	last := *f.cur.Load()
	if last.from == nil {
		return
	}
	last.from.release()
	last.from = nil
	f.cur.Store(&last)
}

// move goes on with another segment: the owner's next generation, or a document of
// this worker's own. first is the version there, if the caller knows it; else it is
// read. The old memory is given back when nobody reads it any more.
func (f *feed) move(m *mapping, first *record) error {
	last, err := f.exchange(m, first)
	if err != nil {
		return err
	}
	last.release()
	f.lives.doubt()
	return nil
}

// exchange puts m in the place of the mapping that it returns. The version is read
// with the lock held: the owner publishes it before any later one in the segment
// that is left, and nobody here gets to see that one meanwhile.
func (f *feed) exchange(m *mapping, first *record) (*mapping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.cur.Load()
	if last.from == nil {
		return nil, os.ErrClosed
	}
	if first == nil {
		var err error
		if first, err = m.first(f.name); err != nil {
			return nil, err
		}
	}
	if first.snap.Version < last.snap.Version {
		return nil, &CorruptError{f.name, fmt.Sprintf("the next segment begins with version %d, the last had %d", first.snap.Version, last.snap.Version)}
	}
	first.from = m
	f.cur.Store(first)
	return last.from, nil
}

// superseded tells whether the owner has gone on in another segment.
func (f *feed) superseded() bool {
	rec := f.cur.Load()
	if rec.from == nil {
		return false
	}
	state, err := rec.from.segment.State()
	runtime.KeepAlive(rec)
	return err == nil && state == shm.Superseded
}
