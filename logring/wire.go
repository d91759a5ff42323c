package logring

import "encoding/binary"

// The binary form of a log record, format 2: what a worker puts into its ring
// and the collector takes out. Little-endian, packed, no alignment beyond the
// ring's own. The package documentation shows the same as a table; it is a
// public format.
//
//	0  i64 key    for merging: CLOCK_MONOTONIC in nanoseconds, or ticks (tagTicks)
//	8  i64 time   nanoseconds since 1970-01-01 UTC
//	16 i32 level  as in log/slog: DEBUG -4, INFO 0, WARN 4, ERROR 8
//	20 u16 flags
//	22 u16 0
//	24 u32 cut    bytes of the record that did not fit
//	28 u32 n      length of the message
//	32 source     only with flagSource
//	.. attributes
//	.. message    the last n bytes
//
// The message comes last so that it can take the room that the attributes left.
const (
	// formatVersion is told to a worker beside its ring. A change of anything in
	// this file that an old reader would misread increments it.
	formatVersion = 2

	// The ring tag of a log record. Other tags are kept for later kinds; a collector
	// that does not know one quarantines the ring.
	//
	//	bit  0     tagTicks: the key is ticks of the time stamp counter
	//	bits 1–7   kind
	//	bits 8–31  number of an event, else 0
	tagTicks  uint32 = 1
	tagRecord uint32 = 2
	tagEvent  uint32 = 4 // see dictionary.go

	offKey    = 0
	offTime   = 8
	offLevel  = 16
	offFlags  = 20
	offZero   = 22
	offCut    = 24
	offMsgLen = 28

	headerSize = 32
)

const (
	flagNoTime    = 1 << iota // the record carries no time, whatever the time field says
	flagSource                // a source position follows the header
	flagContinued             // captured line: the next record goes on with it
	flagStdout                // a line that the worker itself captured from a process of its own
	flagStderr                // the same
	flagsKnown    = 1<<iota - 1
)

// streamOf is the stream that the flags of a record name.
func streamOf(flags uint16) string {
	switch {
	case flags&flagStderr != 0:
		return "stderr"
	case flags&flagStdout != 0:
		return "stdout"
	}
	return ""
}

// The source position: u32 line, u16 length of the file name, u16 length of the
// function name, file name, function name.
const sourceFixed = 8

// An attribute is u8 kind, u16 key length, key, value. A group is an attribute
// of kindGroup without a value, then its members, then the single byte kindEnd.
const (
	kindEnd      = 0 // end of the innermost open group: this byte alone
	kindString   = 1 // u32 length, bytes: meant to be UTF-8, not promised
	kindInt64    = 2 // i64
	kindUint64   = 3 // u64
	kindFloat64  = 4 // u64: IEEE 754 bits
	kindBool     = 5 // u8: 0 or 1
	kindDuration = 6 // i64 nanoseconds
	kindTime     = 7 // i64 seconds since 1970 UTC, u32 nanoseconds, i32 zone offset in seconds
	kindGroup    = 8 // no value
	kindJSON     = 9 // u32 length, one JSON value
	kindMax      = 9

	attrFixed = 3 // kind and key length
)

// Bounds that both sides keep.
const (
	maxDepth = 32   // open groups
	maxKey   = 1024 // bytes of a key, and of each name in a source position
	maxZone  = 24 * 3600

	// minMaxRecord is the least useful size for a record: the header, and room
	// for a message and a few attributes.
	minMaxRecord = 256
)

var le = binary.LittleEndian
