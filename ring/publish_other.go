//go:build !amd64 || race || ring_seqcst

package ring

import (
	"sync/atomic"
	"unsafe"
)

// publish stores v in *p with release order: whoever loads v from the other
// process also sees every store made before it. On arm64 it is an STLR. Under
// the race detector it has to be an atomic one, which is how the detector learns
// the order.
func publish(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

// publishAhead asks for no memory ahead here: what that gains was measured on amd64.
func publishAhead(p *uint64, v uint64, _ unsafe.Pointer, _ uint64) { publish(p, v) }

// publishEntry is publish for the three words of a note's slot. On arm64 they must
// not be seen before the version of the last note: an STLR each.
func publishEntry(p *entry, e entry) {
	publish(&p.pos, e.pos)
	publish(&p.records, e.records)
	publish(&p.lost, e.lost)
}

// storeLoad keeps loads that follow from being done before stores that precede.
// There is nothing to do where publish is a sequentially consistent store: on
// arm64 an LDAR is not done before an earlier STLR, on amd64 publish is an XCHG
// in this build.
func storeLoad(*uint32) {}
