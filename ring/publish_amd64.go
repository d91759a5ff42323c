//go:build amd64 && !race && !ring_seqcst

package ring

import (
	"sync/atomic"
	"unsafe"
)

// publish stores v in *p with release order: whoever loads v from the other
// process also sees every store made before it.
//
// A plain MOV is a release store on amd64, which keeps stores in order. Not
// being inlined, the call keeps the compiler from moving stores across it.
// atomic.StoreUint64 is an XCHG, which waits until the line is owned and all
// earlier stores have drained: see BenchmarkThroughput with -tags ring_seqcst.
//
//go:noinline
func publish(p *uint64, v uint64) { *p = v }

// publishAhead is publish, and asks for the lines of memory of the n bytes at ahead, 256 at
// least, to write them. Nothing is read or written there, and no address faults.
//
//go:noescape
func publishAhead(p *uint64, v uint64, ahead unsafe.Pointer, n uint64)

// publishEntry is publish for the three words of a note's slot, in one call.
//
//go:noinline
func publishEntry(p *entry, e entry) { *p = e }

// storeLoad keeps loads that follow from being done before stores that precede:
// the one reordering amd64 allows, by its store buffer. XCHG on a word of one's
// own drains the buffer.
func storeLoad(own *uint32) { atomic.SwapUint32(own, 0) }
