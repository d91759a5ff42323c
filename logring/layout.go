package logring

import (
	"fmt"
	"math/bits"
	"structs"

	"shmkit/ring"
	"shmkit/seqlock"
	"shmkit/shm"
)

// What a worker and the node share: one segment, the lease.
//
//	┌───────────┬─────────────┬───────────────────┬──────────────┬────────┬─────┬────────┐
//	│ node page │ worker page │ dictionary, rules │ shared lane  │ lane 0 │  …  │ lane n │
//	└───────────┴─────────────┴───────────────────┴──────────────┴────────┴─────┴────────┘
//	 node writes  worker writes worker appends,     rings: a page for either side,
//	                            node writes         then data
//
// The node writes the layout into its page before it hands the segment out, and
// keeps what it wrote in private memory: it never asks the segment where things
// are. The worker, and whoever reads a segment that was left behind, check it.

// Classes of rings.
const (
	classLane      = 0 // blocks or drops new; the first one is shared by all goroutines
	classOverwrite = 1 // overwrites its oldest records
	classBacktrace = 2 // likewise, and is read only when something went wrong
	classMax       = 2
)

// A nodePage is page 0 of the lease. Only the node writes it.
//
//	+0    u32 format
//	+4    u32 rings, entries in the table
//	+8    u64 dictionary, offset in the region
//	+16   u64 bytes of the dictionary
//	+24   u64 rules, offset in the region: a latch (package seqlock), see rules.go
//	+32   u64 bytes of the rules
//	+64   u32 level    an i32: records at or above it are wanted
//	+68   u32 asleep   sleep epoch of the collector; odd: ring the bell
//	+72   u32 stream   an i32: of those wanted, the ones below it are kept as backtrace
//	+128  clock note   how ticks become nanoseconds
//	+512  ring table   80 × 32 bytes
//	+3072 u64 answer   to the worker's ask: its number<<1, and 1 if a sink has failed
//	+3080 u32 pid      of the worker, once it runs: for who salvages the segment
//
// level and asleep share a line of their own: the one line of this page that a log
// call touches, and the node writes it only when it falls asleep, wakes, or is
// told another level.
type nodePage struct {
	_        structs.HostLayout
	format   uint32
	rings    uint32
	dict     uint64
	dictSize uint64
	rules    uint64
	ruleSize uint64
	_        [24]byte
	level    uint32
	asleep   uint32
	stream   uint32
	_        [52]byte
	clock    clockNote
	_        [248]byte
	table    [maxRings]ringEntry
	answer   uint64
	pid      uint32
	_        [1012]byte
}

// A ringEntry says where a ring is.
//
//	+0  u64 offset in the region
//	+8  u64 bytes: the view of package ring
//	+16 u32 class
type ringEntry struct {
	off   uint64
	size  uint64
	class uint32
	_     [12]byte
}

// A workerPage is page 1 of the lease. Only the worker writes it.
//
//	+0   u64 bytes of the dictionary that are published
//	+8   u64 ask       the last flush: its number<<2, and the level
//	+16  u32 closed    1: the worker has closed its log, and did not just die
//	+64  u64 told[8]   drops by ring.Reason that the stream tells of
type workerPage struct {
	_      structs.HostLayout
	words  uint64
	ask    uint64
	closed uint32
	_      [44]byte
	told   [8]uint64
	_      [shm.PageSize - 128]byte
}

const (
	maxRings = 80
	maxLanes = 64
	minLane  = 16 << 10
	// laneRecord is the largest record of a lane. A larger one takes the shared
	// lane, so that n lanes need not have n times the room for it.
	laneRecord = 4 << 10

	dictAt = 2 * shm.PageSize
)

// A leaseLayout says where things are in a lease. It is private memory.
type leaseLayout struct {
	dictOff, dictSize int
	ruleOff, ruleSize int
	rings             []ringSpot // the shared lane, the lanes, then other classes
	size              int
}

type ringSpot struct {
	off, size int
	class     uint32
}

// planLease lays a lease out for records of at most maxRecord bytes: ringSize bytes
// for what has not been collected, half of it in the shared lane, the other half
// in one lane for each of so many CPUs. Where a lane would be too small, or the
// largest record too large for half, the shared lane has it all.
func planLease(ringSize, maxRecord, cpus int) (leaseLayout, error) {
	l := leaseLayout{dictOff: dictAt, dictSize: max(min(ringSize/16, 64<<10), shm.PageSize)}
	l.ruleOff, l.ruleSize = l.dictOff+l.dictSize, (rulesLength+shm.PageSize-1)&^(shm.PageSize-1)
	l.size = l.ruleOff + l.ruleSize
	shared, lane := ringSize, 0
	n := min(cpus, maxLanes, ringSize/2/minLane)
	if n > 0 && maxRecord <= ringSize/4 {
		shared, lane = ringSize/2, 1<<(bits.Len(uint(ringSize/2/n))-1)
	} else {
		n = 0
	}
	if err := l.add(classLane, shared, maxRecord); err != nil {
		return l, err
	}
	for range n {
		if err := l.add(classLane, lane, min(maxRecord, laneRecord)); err != nil {
			return l, err
		}
	}
	return l, nil
}

// add appends a ring.
func (l *leaseLayout) add(class uint32, capacity, maxRecord int) error {
	n, err := ring.Size(capacity, maxRecord)
	if err != nil {
		return err
	}
	l.rings = append(l.rings, ringSpot{l.size, n, class})
	l.size = (l.size + n + shm.PageSize - 1) &^ (shm.PageSize - 1)
	return nil
}

// write puts the layout into a fresh segment, and prepares the rules.
func (l *leaseLayout) write(lease []byte) error {
	// Plain stores: nobody else has the segment yet.
	p := nodePageOf(lease)
	p.format = formatVersion
	p.rings = uint32(len(l.rings))
	p.dict, p.dictSize = uint64(l.dictOff), uint64(l.dictSize)
	p.rules, p.ruleSize = uint64(l.ruleOff), uint64(l.ruleSize)
	for i, r := range l.rings {
		p.table[i] = ringEntry{off: uint64(r.off), size: uint64(r.size), class: r.class}
	}
	return seqlock.Format(l.rules(lease), maxRules+rulesFixed, rulesSlots)
}

// readLayout takes the layout out of a segment and checks it: for the worker, and
// for segments that a killed node has left.
func readLayout(view []byte) (l leaseLayout, err error) {
	if len(view) < dictAt {
		return l, fmt.Errorf("%d bytes: too short for a log segment", len(view))
	}
	p := nodePageOf(view)
	bad := func(what string, v uint64) (leaseLayout, error) {
		return leaseLayout{}, fmt.Errorf("layout: %s is %d: the segment is damaged", what, v)
	}
	// Stored by the node before it handed the segment out. Loaded once each: a
	// process that can write here may do so while we read.
	if f := load32(&p.format); f != formatVersion {
		return l, fmt.Errorf("log segment of format %d, this build reads %d: restart both with the same build", f, formatVersion)
	}
	n := load32(&p.rings)
	if n == 0 || n > maxRings {
		return bad("number of rings", uint64(n))
	}
	inside := func(off, size uint64) bool {
		return off%shm.PageSize == 0 && off >= dictAt && off <= uint64(len(view)) && size <= uint64(len(view))-off
	}
	off, size := load64(&p.dict), load64(&p.dictSize)
	if !inside(off, size) {
		return bad("dictionary", off)
	}
	l.dictOff, l.dictSize, l.size = int(off), int(size), len(view)
	if off, size = load64(&p.rules), load64(&p.ruleSize); !inside(off, size) {
		return bad("rules", off)
	}
	l.ruleOff, l.ruleSize = int(off), int(size)
	for i := range p.table[:n] {
		e := &p.table[i]
		off, size, class := load64(&e.off), load64(&e.size), load32(&e.class)
		if !inside(off, size) {
			return bad("offset of a ring", off)
		}
		if class > classMax || i == 0 && class != classLane {
			return bad("class of a ring", uint64(class))
		}
		if _, _, err := ring.Geometry(int(size)); err != nil {
			return bad("size of a ring", size)
		}
		l.rings = append(l.rings, ringSpot{int(off), int(size), class})
	}
	return l, nil
}

// view returns the memory of ring i.
func (l *leaseLayout) view(lease []byte, i int) []byte {
	r := l.rings[i]
	return lease[r.off : r.off+r.size : r.off+r.size]
}

// dict returns the memory of the dictionary.
func (l *leaseLayout) dict(lease []byte) []byte {
	return lease[l.dictOff : l.dictOff+l.dictSize : l.dictOff+l.dictSize]
}

// rules returns the memory of the rules.
func (l *leaseLayout) rules(lease []byte) []byte {
	return lease[l.ruleOff : l.ruleOff+l.ruleSize : l.ruleOff+l.ruleSize]
}
