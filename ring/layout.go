package ring

import (
	"errors"
	"fmt"
	"math/bits"
	"structs"
)

const (
	pageSize = 4096
	dataAt   = 2 * pageSize // the data follows the two pages of words
	header   = 8            // u32 length, u32 tag before every payload
	align    = 8            // records start at multiples of it

	// minOverhang leaves room for one record of 8 bytes.
	minOverhang = 16
	// maxCapacity keeps two positions of one ring less than half the range of a
	// futex word apart: the low half of a position then tells them from one another.
	maxCapacity = 1 << 31
	minCapacity = 16
)

// OwnerOffset is where the bytes [OwnerOffset, OwnerOffset+OwnerSize) of the
// view begin. The ring never touches them; the consumer's side may keep words of
// its own there (a log collector keeps the level there).
const (
	OwnerOffset = 192
	OwnerSize   = 64
)

// A consumerPage is page 0 of the view. Only the consumer writes it.
//
//	+0    u64 head       where the consumer has given space back to
//	+128  u32 asleep     sleep epoch; odd: asleep, waiting for records
//	+136  u64 wakeAt     the tail that ends the wait
//	+144  u64 claim      generation<<32 | pid of the consumer
//	+192  64 bytes       free for the owner
//	+256  delivered      note: given back up to there
//	+384  u64 wakes      wakes of the producer
type consumerPage struct {
	_         structs.HostLayout
	head      uint64
	_         [120]byte
	asleep    uint32
	_         [4]byte
	wakeAt    uint64
	claim     uint64
	_         [40]byte
	_         [OwnerSize]byte
	delivered note
	_         [24]byte
	wakes     uint64
	_         [pageSize - 392]byte
}

// A producerPage is page 1 of the view. Only the producer writes it.
//
//	+0    u64 tail       records before it exist
//	+8    u32 mode       1: the oldest records are overwritten
//	+128  u32 asleep     sleep epoch; odd: asleep, waiting for space
//	+136  u64 wakeAt     the head that ends the wait
//	+144  u64 claim      generation<<32 | pid of the producer
//	+256  committed      note: committed up to there
//	+384  oldest         note: the oldest record that is kept (mode 1)
//	+512  u64 blocked    reservations that had to wait
//	+520  u64 wakes      wakes of the consumer
//	+528  u64 dropped[8] drops by Reason
type producerPage struct {
	_         structs.HostLayout
	tail      uint64
	mode      uint32
	_         [116]byte
	asleep    uint32
	_         [4]byte
	wakeAt    uint64
	claim     uint64
	_         [104]byte
	committed note
	_         [24]byte
	oldest    note
	_         [24]byte
	blocked   uint64
	wakes     uint64
	dropped   [8]uint64
	_         [pageSize - 592]byte
}

// geometry says where things are in a view. It is a function of the length of
// the view alone: nothing in the view is asked, so nothing in it can mislead.
type geometry struct {
	capacity  uint64 // bytes that can be held, a power of two
	overhang  uint64 // bytes behind them, for the record that crosses the end
	maxRecord int    // largest payload
}

// Size returns the length of a view that holds capacity bytes of records, each
// with a payload of at most maxRecord bytes. A record takes its payload and 8
// bytes, rounded up to a multiple of 8.
//
// The capacity is a power of two from 16 bytes to 2 GiB. maxRecord is at most
// capacity-8. The view is 8 KiB and maxRecord+8 bytes larger than the capacity.
func Size(capacity, maxRecord int) (int, error) {
	bad := func(format string, args ...any) (int, error) {
		return 0, &SizeError{Capacity: capacity, MaxRecord: maxRecord, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case capacity < minCapacity || uint64(capacity) > maxCapacity:
		return bad("capacity has to be %d to %d bytes: choose a power of two in that range", minCapacity, uint64(maxCapacity))
	case capacity&(capacity-1) != 0:
		return bad("capacity has to be a power of two: %d is the next one", uint64(1)<<bits.Len64(uint64(capacity)))
	case maxRecord < 0 || maxRecord > capacity-header:
		return bad("the largest record has to be 0 to %d bytes: split records, or ask for more capacity", capacity-header)
	}
	over := max(minOverhang, (uint64(maxRecord)+header+align-1)&^(align-1))
	size := dataAt + uint64(capacity) + over
	if uint64(int(size)) != size || int(size) < 0 {
		return bad("the view would exceed this machine's address range: ask for less capacity")
	}
	return int(size), nil
}

// Geometry returns the capacity and the largest payload, in bytes, of a view of
// the given length: what [Size] was asked for, rounded up to a multiple of 8.
func Geometry(length int) (capacity, maxRecord int, err error) {
	g, err := geometryOf(length)
	return int(g.capacity), g.maxRecord, err
}

var errTooShort = errors.New("too short for a ring: create it with the length that ring.Size returns")

func geometryOf(length int) (geometry, error) {
	if length < dataAt+minCapacity+minOverhang {
		return geometry{}, fmt.Errorf("%d bytes: %w", length, errTooShort)
	}
	data := uint64(length-dataAt) &^ (align - 1)
	capacity := uint64(1) << (bits.Len64(data-minOverhang) - 1)
	over := data - capacity
	if capacity > maxCapacity || over > capacity {
		return geometry{}, fmt.Errorf("%d bytes: no ring has this length: create it with the length that ring.Size returns", length)
	}
	return geometry{capacity: capacity, overhang: over, maxRecord: int(over) - header}, nil
}

// sizeOf returns the bytes that a record with a payload of n bytes takes.
func sizeOf(n uint64) uint64 { return (n + header + align - 1) &^ (align - 1) }
