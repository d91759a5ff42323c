//go:build linux && (amd64 || arm64)

package seqlock_test

import (
	"sync/atomic"
	"unsafe"

	"shmkit/seqlock"
)

// A bytes-form writer made from the format's description alone, in three kinds:
// a correct one and two with the mistakes a latch invites.

type plantedKind int

const (
	honest            plantedKind = iota
	publishBeforeFill             // the version goes up, then the slot is filled
	fillPublishedSlot             // the slot readers are sent to is filled
)

// plantedStride is the distance of two slots: length word and payload, rounded up
// to two cache lines.
const plantedStride = (8 + stepMost + 127) &^ 127

type plantedPub struct {
	bytesPub
	kind plantedKind
}

func planted(kind plantedKind) func(view []byte) pub {
	return func(view []byte) pub { return &plantedPub{bytesPub{view: view}, kind} }
}

func (p *plantedPub) format() error {
	return seqlock.Format(p.view, stepMost, stepSlots)
}

func (p *plantedPub) ready(version uint64) func() error {
	payload := content(version, size(version, stepMost))
	into := version
	if p.kind == fillPublishedSlot {
		into = version - 1
	}
	slot := p.view[128+into%stepSlots*plantedStride:]
	length := (*uint64)(unsafe.Pointer(unsafe.SliceData(slot)))
	published := (*uint64)(unsafe.Pointer(unsafe.SliceData(p.view)))

	return func() error {
		if p.kind == publishBeforeFill {
			atomic.StoreUint64(published, version)
		}
		atomic.StoreUint64(length, uint64(len(payload)))
		copy(slot[8:], payload)
		if p.kind != publishBeforeFill {
			atomic.StoreUint64(published, version)
		}
		return nil
	}
}
