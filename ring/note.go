package ring

import "sync/atomic"

// A note is a position and counts that hold for exactly that position: 104 bytes
// in the page of the side that writes it. It is a small latch: four slots, and a
// version whose low bits name the slot that holds. A writer that is killed at any
// instruction leaves the last note whole, and its successor goes on from it.
//
//	+0   u64 version
//	+8   4 × (u64 position, u64 records, u64 lost); slot version%4 holds
type note struct {
	version uint64
	slot    [4]entry
}

type entry struct {
	pos     uint64 // byte position in the ring
	records uint64 // number of the record there: so many came before it
	lost    uint64 // so many of them were overwritten before they were read
}

// store publishes e. One writer.
//
// Stored here, loaded by the other side in load: the slot first, then the
// version. amd64 keeps stores in order; on arm64 each store is an STLR, and one STLR
// is not seen before an earlier one. So who sees the version sees the slot, and who
// sees the slot of a note sees the version of the last.
func (n *note) store(e entry) {
	v := atomic.LoadUint64(&n.version) + 1 // own word: only this side stores it
	publishEntry(&n.slot[v%4], e)
	publish(&n.version, v)
}

// load returns the last note, or false if a writer (a hostile one: a slot is
// reused only three stores later) changed it under the reader all the time.
//
// The loads are atomic, thus in program order on both architectures (arm64:
// LDAR). If the version has advanced by at most two since, the slot that was read
// was not the one being filled.
func (n *note) load() (entry, bool) {
	for range 64 {
		v := atomic.LoadUint64(&n.version)
		s := &n.slot[v%4]
		e := entry{atomic.LoadUint64(&s.pos), atomic.LoadUint64(&s.records), atomic.LoadUint64(&s.lost)}
		if atomic.LoadUint64(&n.version)-v <= 2 {
			return e, true
		}
	}
	return entry{}, false
}
