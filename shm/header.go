package shm

import (
	"fmt"
	"structs"
	"sync/atomic"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// The header page.
//
//	  0 ┌────────────────┬───────┬───────┬────────────┐
//	    │ magic          │ major │ minor │ endian tag │
//	 16 ├────────────────┼───────┴───────┼────────────┤
//	    │ total size     │ header size   │ page size  │
//	 32 ├───────┬────────┼───────────────┴────────────┤
//	    │ kind  │ flags  │ schema                     │
//	 48 ├───────┴────────┼────────────────────────────┤
//	    │ region offset  │ region length              │
//	 64 ├────────────────┴────────────────────────────┤
//	    │ UUID                                        │
//	 80 ├────────────────┬────────────────────────────┤
//	    │ creator's pid  │ creator's start time       │
//	 96 ├────────────────┴────────────────────────────┤
//	    │ boot id                                     │
//	112 ├────────────────┬────────────────────────────┤
//	    │ xxhash 0..111  │ 0                          │
//	128 ├───────┬────────┴────────────────────────────┤
//	    │ state │ 0 … 4095                            │
//	    └───────┴─────────────────────────────────────┘
//
// Everything but state is written once, before the segment can be seen by
// anybody else.
type header struct {
	_            structs.HostLayout
	magic        uint64
	major        uint16
	minor        uint16
	endian       uint32
	total        uint64 // bytes of the file
	headerSize   uint32 // bytes up to and including the checksum
	pageSize     uint32 // bytes of the header page
	kind         uint32
	flags        uint32 // below
	schema       uint64
	regionOffset uint64
	regionLength uint64
	uuid         [16]byte
	pid          uint64 // who made it: for messages only
	startTime    uint64 // clock ticks since boot, as in /proc/PID/stat
	bootID       [16]byte
	checksum     uint64
	_            [8]byte
	state        uint32
	_            [4]byte
}

// A constant index out of range does not compile: each line holds only if the
// field is exactly where the format says.
var (
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.magic)-0]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.major)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.minor)-10]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.endian)-12]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.total)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.headerSize)-24]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.pageSize)-28]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.kind)-32]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.flags)-36]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.schema)-40]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.regionOffset)-48]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.regionLength)-56]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.uuid)-64]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.pid)-80]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.startTime)-88]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.bootID)-96]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.checksum)-112]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.state)-128]
	_ = [1]struct{}{}[unsafe.Sizeof(header{})-headerBytes]
)

const (
	headerBytes   = 136                // of the struct, state included
	checkedBytes  = 112                // covered by the checksum
	writtenBytes  = 120                // with the checksum: the header size that the header states
	magic         = 0x0a54494b4d485389 // the bytes 0x89 "SHMKIT" '\n', as PNG does it
	layoutMajor   = 1
	layoutMinor   = 0
	endianTag     = 0x01020304
	endianSwapped = 0x04030201
	magicSwapped  = 0x8953484d4b49540a
)

// flags: how the segment was made, and which generation of it this is.
//
//	31                        8 7        3     2       1      0
//	┌──────────────────────────┬──────────┬───────┬───────┬───────┐
//	│ generation, 1…2²⁴−1      │ 0        │ huge  │ named │ rdonly│
//	└──────────────────────────┴──────────┴───────┴───────┴───────┘
const (
	flagReadOnly = 1 << iota // others may read only
	flagNamed                // a file with a name, not a memfd
	flagHuge                 // hugetlb pages

	generationShift = 8
	maxGeneration   = 1<<24 - 1
)

// encode fills in what every header of this build has in common, and the
// checksum.
func (h header) encode() header {
	h.magic, h.major, h.minor, h.endian = magic, layoutMajor, layoutMinor, endianTag
	h.headerSize, h.pageSize, h.regionOffset = writtenBytes, PageSize, PageSize
	h.checksum = xxhash.Sum64(h.bytes()[:checkedBytes])
	return h
}

// decodeHeader checks the first bytes of a file of fileSize bytes and returns
// the header they hold. raw is a private copy: nobody can change it meanwhile.
// The error is a *MismatchError, and do what to do about it.
func decodeHeader(raw []byte, fileSize int64) (h header, do string, err error) {
	n := copy(h.bytes(), raw)
	if n < headerBytes || fileSize < PageSize {
		m := &MismatchError{ErrNotSegment, fmt.Sprintf("%d bytes", fileSize), fmt.Sprintf("at least %d", PageSize)}
		if h.magic == magic {
			m.What = ErrTruncated
			return h, "the file was cut off: make the segment anew", m
		}
		return h, "pass a file made by this package", m
	}

	// What can be read under any layout comes first, the checksum before
	// anything that it covers is believed, and the sizes before they are used.
	switch {
	case h.magic == magicSwapped || h.magic == magic && h.endian == endianSwapped:
		return h, "attach on a machine of the byte order that made it",
			&MismatchError{ErrEndian, fmt.Sprintf("tag %#08x", h.endian), fmt.Sprintf("%#08x", endianTag)}
	case h.magic != magic:
		return h, "pass a file made by this package",
			&MismatchError{ErrNotSegment, fmt.Sprintf("magic %#016x", h.magic), fmt.Sprintf("%#016x", uint64(magic))}
	case h.endian != endianTag:
		return h, "make the segment anew",
			&MismatchError{ErrEndian, fmt.Sprintf("tag %#08x", h.endian), fmt.Sprintf("%#08x", endianTag)}
	case h.major != layoutMajor:
		return h, "restart the workers, so that all run the same build", &MismatchError{ErrVersion,
			fmt.Sprintf("%d.%d", h.major, h.minor), fmt.Sprintf("%d.x", layoutMajor)}
	case h.checksum != xxhash.Sum64(h.bytes()[:checkedBytes]):
		return h, "the header was overwritten: make the segment anew", &MismatchError{ErrChecksum,
			fmt.Sprintf("%#016x", xxhash.Sum64(h.bytes()[:checkedBytes])), fmt.Sprintf("%#016x", h.checksum)}
	case h.total > uint64(fileSize):
		return h, "the file was cut off: make the segment anew", &MismatchError{ErrTruncated,
			fmt.Sprintf("file of %d bytes", fileSize), fmt.Sprintf("%d", h.total)}
	case h.total != uint64(fileSize):
		return h, "the file was changed: make the segment anew", &MismatchError{ErrSize,
			fmt.Sprintf("file of %d bytes", fileSize), fmt.Sprintf("%d", h.total)}
	case h.headerSize < writtenBytes || h.headerSize > PageSize || h.pageSize != PageSize ||
		h.regionOffset != PageSize || h.regionLength == 0 || h.total < PageSize ||
		h.regionLength > h.total-PageSize || h.total > maxTotal:
		return h, "make the segment anew", &MismatchError{ErrSize,
			fmt.Sprintf("header %d, page %d, region %d+%d of %d", h.headerSize, h.pageSize, h.regionOffset, h.regionLength, h.total),
			fmt.Sprintf("header %d, page %d, region at %d inside the file", writtenBytes, PageSize, PageSize)}
	}
	return h, "", nil
}

// maxTotal bounds a segment well below where sizes overflow. No machine has
// that much address space for one process today.
const maxTotal = 1 << 47

// check compares the header with what an attaching process wants.
func (h *header) check(want Expect) (do string, err error) {
	switch {
	case want.Kind != 0 && Kind(h.kind) != want.Kind:
		return "pass the right segment", &MismatchError{ErrKind, Kind(h.kind).String(), want.Kind.String()}
	case want.Schema != 0 && h.schema != want.Schema:
		return "restart the workers, so that all run the same build",
			&MismatchError{ErrSchema, fmt.Sprintf("%#x", h.schema), fmt.Sprintf("%#x", want.Schema)}
	case want.MinSize > 0 && h.regionLength < uint64(want.MinSize):
		return "make it larger", &MismatchError{ErrSize,
			fmt.Sprintf("region of %d bytes", h.regionLength), fmt.Sprintf("at least %d", want.MinSize)}
	}
	return "", nil
}

// A State is what the owner has said about a segment since it was made.
type State uint32

const (
	Live       State = iota + 1 // in use
	Superseded                  // a later generation has taken its place
	Retired                     // closed by its owner in good order
)

func (s State) String() string {
	switch s {
	case Live:
		return "live"
	case Superseded:
		return "superseded"
	case Retired:
		return "retired"
	}
	return fmt.Sprintf("State(%d)", uint32(s))
}

// stateWord is the one word of the header that changes.
type stateWord struct{ word *uint32 }

// set is called by the owner alone, which makes it the word's one writer.
//
// Stored by: the owner. Loaded by: load, in any process that maps the segment.
// Visible with it: everything that the owner wrote to this and other segments
// before, such as the successor that Superseded speaks of. amd64: XCHG, a full
// barrier. arm64: STLR, release.
func (s stateWord) set(v State) { atomic.StoreUint32(s.word, uint32(v)) }

// load is the pair of set. amd64: MOV. arm64: LDAR, acquire.
func (s stateWord) load() State { return State(atomic.LoadUint32(s.word)) }

// A UUID names a segment through all its generations.
type UUID [16]byte

// String returns the usual form: hexadecimal digits in five parts.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func (h *header) handOff() Access {
	if h.flags&flagReadOnly != 0 {
		return ReadOnly
	}
	return ReadWrite
}
