//go:build !amd64 && !arm64

package ring

import "sync/atomic"

// storeStore keeps stores that follow from being seen before stores that
// precede, loadLoad does so for loads: here by a sequentially consistent
// read-modify-write, a full barrier on every architecture Go has.
func storeStore() { var own uint32; atomic.AddUint32(&own, 1) }

func loadLoad() { var own uint32; atomic.AddUint32(&own, 1) }
