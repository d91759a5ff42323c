//go:build amd64 && !race

package seqlock

import "sync/atomic"

// storeVersion publishes: whatever was stored before is visible to who loads v.
//
// amd64 keeps stores in program order (TSO), so a plain MOV is a release store,
// at a fraction of the XCHG that atomic.StoreUint64 is: that one waits until the
// line is owned and the store buffer is empty. The call is what keeps the
// compiler from moving or merging it.
//
//go:noinline
func storeVersion(word *uint64, v uint64) { *word = v }

// storeVersionBulk is storeVersion where the next fill may be a large memmove.
// From 1 MiB on the runtime copies with non-temporal stores (VMOVNTDQ), which
// may pass *older* stores; XCHG has drained the version word before the next
// fill starts. (Their order against *later* stores is the SFENCE at memmove's
// end, and XCHG again.)
func storeVersionBulk(word *uint64, v uint64) { atomic.StoreUint64(word, v) }

// storeFence keeps the stores of a fill behind the version word published
// before it. TSO does that for nothing; see storeVersionBulk for the exception.
func storeFence() {}
