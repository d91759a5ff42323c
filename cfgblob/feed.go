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
	m    atomic.Pointer[mapping] // nil once closed
	cur  atomic.Pointer[record]  // never nil
	mu   sync.Mutex              // held while a new version is read, or published in the owner
	done context.Context         // ends with close
	end  context.CancelFunc
	lost atomic.Pointer[error] // why a watch ended before its context did
}

// A mapping is the anchor of a mapped segment: whoever touches the memory holds
// a *mapping, and the segment is unmapped only after the garbage collector has
// found that nobody does. So a Load in the middle of a Close cannot fault.
type mapping struct {
	segment *shm.Segment
	latch   *seqlock.Reader
}

// A record is what became of one version of the latch. The latch counts the
// publications in its segment; the version of the configuration is in the blob,
// so that it can go on when another segment takes over.
type record struct {
	seen uint64   // the latch's version it was made from
	snap Snapshot // the last good version
	err  error    // why snap is an older one than seen
}

// follow makes a feed of a mapped segment. first may be nil: then the version
// that is published there is read, and must be good.
func follow(name string, segment *shm.Segment, first *record) (*feed, error) {
	latch, err := seqlock.OpenReader(segment.Region())
	if err != nil {
		return nil, &CorruptError{name, bare(err)}
	}
	m := &mapping{segment, latch}
	for first == nil {
		first = m.read(name, &record{})
	}
	if first.err != nil {
		return nil, first.err
	}
	f := &feed{name: name}
	f.m.Store(m)
	f.cur.Store(first)
	f.done, f.end = context.WithCancel(context.Background())
	return f, nil
}

// current returns the verified current version. When nothing changed that is
// one load of the shared version word, lock-free.
func (f *feed) current() *record {
	rec, m := f.cur.Load(), f.m.Load()
	if m == nil || m.latch.Version() == rec.seen {
		runtime.KeepAlive(m)
		return rec
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	rec = f.cur.Load()
	if m.latch.Version() != rec.seen { // nobody else has read it meanwhile
		if next := m.read(f.name, rec); next != nil {
			f.cur.Store(next)
			rec = next
		}
	}
	runtime.KeepAlive(m)
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
		return &record{seen, last.snap, &CorruptError{name, err.Error()}}
	}
	snap, err := parseBlob(name, blob)
	if err == nil && snap.Version < last.snap.Version {
		err = &CorruptError{name, fmt.Sprintf("version went back from %d to %d", last.snap.Version, snap.Version)}
	}
	if err != nil {
		return &record{seen, last.snap, err}
	}
	return &record{seen: seen, snap: *snap}
}

// close ends all watches and lets go of the mapping. cur stays.
func (f *feed) close() {
	f.end()
	if m := f.m.Swap(nil); m != nil {
		runtime.AddCleanup(m, func(s *shm.Segment) { s.Close() }, m.segment)
	}
}
