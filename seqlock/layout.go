package seqlock

import (
	"math"
	"structs"
	"unsafe"
)

// Limits of a latch. They keep every size computation far from overflow.
const (
	// MinSlots is the smallest latch: one slot published, one being written,
	// one in between for readers that are late by a version.
	MinSlots = 3
	// DefaultSlots leaves the number to [SlotsFor].
	DefaultSlots = 0
	// MaxSlots bounds the number of slots.
	MaxSlots = 1 << 16
	// MaxPayload bounds the payload, in bytes.
	MaxPayload = 1 << 30
)

const (
	headerSize = 128 // bytes before slot 0: the hot word shares no line with data
	slotAlign  = 128 // two cache lines: the adjacent-line prefetcher pairs them
	wordSize   = 8

	// maxVersion is far beyond any publisher (one per nanosecond for 73 years);
	// a larger one was not counted up but written there.
	maxVersion = 1 << 61
)

// A form is a four-character code that says what the slots hold.
type form uint32

const (
	formBytes   = form('S') | 'L'<<8 | 'B'<<16 | '1'<<24 // length word and payload
	formTyped   = form('S') | 'L'<<8 | 'T'<<16 | '1'<<24 // one fixed-size value
	formOddEven = form('S') | 'L'<<8 | 'O'<<16 | '1'<<24 // one value, classic form
)

func (f form) String() string {
	switch f {
	case formBytes:
		return "bytes latch"
	case formTyped:
		return "typed latch"
	case formOddEven:
		return "odd/even latch"
	}
	return "unknown form"
}

// header is the start of every view. All fields but published are written once,
// by format; form is written last, so a header without it is not there yet.
type header struct {
	_         structs.HostLayout
	published uint64 // +0  version readers may copy; 0 = nothing yet. Written by the writer only
	payload   uint32 // +8  bytes a slot holds
	slots     uint32 // +12 N
	form      uint32 // +16 what the slots hold
	_         uint32 // +20
	schema    uint64 // +24 layout of T, see Schema; 0 in the bytes form
}

// The layout is a format between processes: it compiles at exactly these offsets.
var (
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.published)-0]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.payload)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.slots)-12]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.form)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.schema)-24]
	_ = [1]struct{}{}[unsafe.Sizeof(header{})-32]
)

// geometry is the shape of a latch: private once checked, so that no later
// change of the shared header moves a read.
type geometry struct {
	form    form
	payload int // bytes
	slots   int
	schema  uint64
}

// words is the size of a slot's used part in 8-byte words.
func (g geometry) words() int {
	w := (g.payload + wordSize - 1) / wordSize
	if g.form == formBytes {
		w++ // the length word
	}
	return w
}

// stride is the distance of two slots in bytes.
func (g geometry) stride() int {
	return (g.words()*wordSize + slotAlign - 1) &^ (slotAlign - 1)
}

// size is the number of bytes a view needs.
func (g geometry) size() int {
	if g.form == formOddEven {
		return int(unsafe.Sizeof(header{})) + g.words()*wordSize
	}
	return headerSize + g.slots*g.stride()
}

// check bounds the geometry, wherever it came from.
func (g geometry) check(op string) error {
	switch {
	case g.payload < 1 || g.payload > MaxPayload:
		return layoutErr(op, ErrGeometry, "payload of %d bytes, want 1 to %d", g.payload, MaxPayload)
	case g.form == formOddEven && g.slots != 1:
		return layoutErr(op, ErrGeometry, "odd/even latch with %d slots, want 1", g.slots)
	case g.form == formOddEven:
		return nil
	case g.slots < MinSlots || g.slots > MaxSlots:
		return layoutErr(op, ErrGeometry, "%d slots, want %d to %d", g.slots, MinSlots, MaxSlots)
	}
	if total := uint64(g.slots) * uint64(g.stride()); total > math.MaxInt-headerSize {
		return layoutErr(op, ErrGeometry, "%d slots of %d bytes do not fit into the address space", g.slots, g.payload)
	}
	return nil
}

// Size returns the bytes a view needs for a latch of the bytes form whose slots
// hold payload bytes each. Zero slots stands for [SlotsFor](payload).
func Size(payload, slots int) (int, error) {
	g := geometry{form: formBytes, payload: payload, slots: slotsOr(slots, payload)}
	if err := g.check("size"); err != nil {
		return 0, err
	}
	return g.size(), nil
}

// SlotsFor is the number of slots that [DefaultSlots] stands for: 64 as long as their
// payloads take no more than 256 KiB together, fewer beyond that, and at least 4.
//
// A reader is overtaken if the writer publishes N−1 times during its copy, and then tries
// again. If a writer on another core does nothing but publish one cache line, 4 slots let
// that happen to up to some percent of the reads, 16 to some in 10,000, 32 and more to
// less than one in 10,000 (BenchmarkSaturated). A writer that publishes now and then
// needs no more than 4.
func SlotsFor(payload int) int {
	const most, least, budget = 64, 4, 256 << 10
	n := most
	for n > least && payload > budget/n {
		n /= 2
	}
	return n
}

func slotsOr(n, payload int) int {
	if n == DefaultSlots {
		return SlotsFor(payload)
	}
	return n
}

// Format makes a latch of the bytes form in view: slots of payload bytes each,
// nothing published. Zero slots stands for [SlotsFor](payload). The owner calls it
// once, before it hands the memory to anybody.
//
// The view must be 8-byte aligned ([Size] tells its length; a longer one is
// fine) and stay mapped as long as anything opened on it is in use. Errors are
// *[LayoutError]; a view that holds a latch is refused with [ErrFormatted],
// because a version that readers saw must never come back.
func Format(view []byte, payload, slots int) error {
	return format("format", view, geometry{form: formBytes, payload: payload, slots: slotsOr(slots, payload)})
}
