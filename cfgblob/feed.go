package cfgblob

import (
	"context"
	"errors"
	"fmt"
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
}

// newFeed makes a feed of a mapped segment. first is the version published
// there, if the caller knows it; else it is read, and must be good.
func newFeed(name string, segment *shm.Segment, first *record) (*feed, error) {
	latch, err := seqlock.OpenReader(segment.Region())
	if err != nil {
		return nil, &CorruptError{name, err.Error()}
	}
	m := &mapping{segment, latch}
	for first == nil {
		first = m.read(name, &record{})
	}
	if first.err != nil {
		return nil, first.err
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
	runtime.AddCleanup(last.from, func(s *shm.Segment) { s.Close() }, last.from.segment)
	last.from = nil
	f.cur.Store(&last)
}
