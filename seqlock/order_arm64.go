//go:build arm64 && !race

package seqlock

import "sync/atomic"

// storeVersion publishes: whatever was stored before is visible to who loads v.
// On arm64 an atomic store is STLR: no earlier load or store moves below it.
func storeVersion(word *uint64, v uint64) { atomic.StoreUint64(word, v) }

func storeVersionBulk(word *uint64, v uint64) { atomic.StoreUint64(word, v) }

// storeFence keeps the stores of a fill behind the version word published
// before it. STLR does not: it holds back what comes before it, not what comes
// after, so without a barrier the data of version p+N could become visible
// while readers still see a version ≤ p+N−2 and accept a torn slot. DMB ISHST
// orders every store before it against every store after it.
//
//go:noescape
func storeFence()
