package seqlock

import (
	"sync/atomic"
	"unsafe"
)

// maxAttempts bounds a read. Each attempt starts from the version published at
// that moment, so failing all of them takes a writer that gets through N−1
// publications during every single copy.
const maxAttempts = 128

// bulk is the payload from which on a fill may use something else than ordinary
// stores, see storeVersionBulk. The runtime's memmove begins at 1 MiB; the
// margin costs a few nanoseconds on copies that take hundreds.
const bulk = 2048

// slots is the N-slot latch: the algorithm, over words of a view, for both forms.
//
//	write   fill slot (pub+1) mod N, then publish pub+1
//	read    p = pub; copy slot p mod N; accept if pub − p ≤ N−2
//
// Why an accepted copy is whole. Slot p mod N is written again only for version
// p+N, and that fill begins after p+N−1 was published. A copy that met any store
// of that fill therefore finds pub ≥ p+N−1, that is pub−p ≥ N−1, and is refused.
// It takes three orders:
//
//	(a) fill of p before pub=p         writer: storeVersion is a release store
//	(b) pub=p+N−1 before fill of p+N   writer: storeFence
//	(c) the copy before the second     reader: atomic loads, or on amd64
//	    load of pub                            ordinary ones, see copyOut
//
// (a) with the acquire load of pub makes all of version p visible to the copy;
// (b) with (c) is the message-passing shape once more, from the data words to
// pub: who has seen the later store sees the earlier one.
//
// On amd64 all three hold by TSO. On arm64 (a) is STLR, (b) DMB ISHST, (c) LDAR.
// A successor that takes over at version v has read pub with LDAR, and arm64 is
// multi-copy atomic: stores after that load are visible to nobody before the
// pub it has read.
//
// The idea of more than one slot is the Linux kernel's seqcount_latch (two
// copies, the reader goes to the one not being written); N slots and accepting
// by distance let a reader be late by N−2 versions without a retry.
type slots struct {
	published *uint64        // the version word, +0 of the view
	words     []uint64       // all slots
	first     unsafe.Pointer // the same
	stride    int            // words from slot to slot
	used      int            // words in use of each
	mask      uint64         // N−1 if N is a power of two, else 0
	n         uint64         // N
	span      uint64         // N−2: how far behind a copy may end
	payload   int            // bytes a slot holds
	bulk      bool           // fills may be large, see storeVersionBulk
	line      bool           // load's written-out path: 64 bytes, no bools, N a power of two
	bools     []uintptr      // offsets load has to normalise
	lapped    atomic.Uint64  // attempts thrown away; private to this process
}

func (s *slots) init(view []byte, g geometry, bools []uintptr) {
	s.published = &headerOf(view).published
	s.words = wordsAt(view, headerSize, g.slots*g.stride()/wordSize)
	s.first = unsafe.Pointer(&s.words[0])
	s.stride = g.stride() / wordSize
	s.used = g.words()
	s.n = uint64(g.slots)
	s.span = s.n - 2
	if s.n&(s.n-1) == 0 {
		s.mask = s.n - 1
	}
	s.payload = g.payload
	s.bulk = g.payload > bulk
	s.bools = bools
	s.line = g.form == formTyped && g.payload == 64 && s.mask != 0 && bools == nil
}

// slot returns the place of a version: within the view for every value of p,
// whoever wrote it.
func (s *slots) slot(p uint64) []uint64 {
	i := p & s.mask
	if s.mask == 0 {
		i = p % s.n
	}
	return s.words[int(i)*s.stride:][:s.used]
}

// version loads the published version.
//
// Stored by the writer with release order (storeVersion), loaded here with
// acquire order: the slot of the version returned is filled. amd64: MOV against
// MOV or XCHG under TSO. arm64: LDAR against STLR.
func (s *slots) version() uint64 { return atomic.LoadUint64(s.published) }

// accept decides about a copy of version p: whole if the writer has not begun
// to overwrite its slot. The copy's own loads come before this one, see copyOut.
func (s *slots) accept(p uint64) bool { return atomic.LoadUint64(s.published)-p <= s.span }

// writer is the writing side of the algorithm: the authoritative version is its
// own, the shared word is only ever stored.
type writer struct {
	slots
	_      [64]byte // last changes with every version; those who load share the rest
	last   uint64   // version published last
	waiter Waiter   // nil: nobody is woken
}

// resume goes on where the published word stands.
func (w *writer) resume(op string) error {
	// Stored by the predecessor; see slots about arm64.
	v := w.version()
	if v > maxVersion {
		return layoutErr(op, ErrGeometry, "version %d was never counted up to: replace the segment", v)
	}
	w.last = v
	return nil
}

// begin returns the slot of the next version, ready to be filled.
func (w *writer) begin() ([]uint64, error) {
	// Stored by this writer alone, so anything else is a second one. A hint: two
	// writers that never look at the same time are not caught.
	if atomic.LoadUint64(w.published) != w.last {
		return nil, ErrSecondWriter
	}
	storeFence()
	return w.slot(w.last + 1), nil
}

// commit publishes what was filled.
func (w *writer) commit() (uint64, error) {
	w.last++
	if w.bulk {
		storeVersionBulk(w.published, w.last)
	} else {
		storeVersion(w.published, w.last)
	}
	if w.waiter != nil {
		return w.last, w.wake()
	}
	return w.last, nil
}

func (w *writer) wake() error { return wake(w.waiter, w.published, w.last) }

func (w *writer) wakeWith(waiter Waiter) error {
	w.waiter = waiter
	if waiter == nil {
		return nil
	}
	return w.wake()
}
