package logring

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// A CorruptError says that a worker's ring breaks the format. The collector stops
// reading that ring (quarantine) and leaves all others alone.
type CorruptError struct {
	Group  string
	Worker int
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("logring: ring of %s/%d is corrupt and was quarantined: %v: restart that worker", e.Group, e.Worker, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// A wireError says which field of a record is wrong.
type wireError struct {
	off  int // position in the payload
	what string
}

func (e *wireError) Error() string {
	return fmt.Sprintf("record, byte %d: %s", e.off, e.what)
}

// wireRecord is a record taken apart. Its slices point into the payload.
type wireRecord struct {
	key    int64 // CLOCK_MONOTONIC in nanoseconds, as the worker says
	time   int64 // nanoseconds since 1970; meaningless with flagNoTime
	level  int32
	flags  uint16
	cut    uint32
	source []byte
	attrs  []byte
	msg    []byte
}

// parse takes the payload of a record apart and checks every field of it, so
// that whoever walks it afterwards may trust all lengths. The payload must be
// private memory: a worker that can still change it could undo the checks.
//
// Text is not checked to be UTF-8: a program may log any bytes, and every output
// escapes what is not valid. A value marked as JSON is checked to be JSON.
func parse(tag uint32, p []byte) (w wireRecord, err error) {
	if tag != tagRecord {
		return w, &wireError{0, fmt.Sprintf("unknown kind of record %d", tag)}
	}
	if len(p) < headerSize {
		return w, &wireError{0, fmt.Sprintf("%d bytes, a header has %d", len(p), headerSize)}
	}
	flags := le.Uint16(p[offFlags:])
	if flags&^flagsKnown != 0 || le.Uint16(p[offZero:]) != 0 {
		return w, &wireError{offFlags, "unknown flags"}
	}
	n := uint64(le.Uint32(p[offMsgLen:]))
	if n > uint64(len(p)-headerSize) {
		return w, &wireError{offMsgLen, "message longer than the record"}
	}
	if flags&flagSource != 0 {
		room := len(p) - int(n) - headerSize
		if room < sourceFixed || room < sourceSize(p[headerSize:]) {
			return w, &wireError{headerSize, "source position longer than the record"}
		}
	}
	w = split(p)
	return w, checkAttrs(w.attrs, len(p)-len(w.msg)-len(w.attrs))
}

// split takes apart a payload that was checked.
func split(p []byte) wireRecord {
	w := wireRecord{
		key:   int64(le.Uint64(p[offKey:])),
		time:  int64(le.Uint64(p[offTime:])),
		level: int32(le.Uint32(p[offLevel:])),
		flags: le.Uint16(p[offFlags:]),
		cut:   le.Uint32(p[offCut:]),
	}
	rest, end := p[headerSize:], len(p)-int(le.Uint32(p[offMsgLen:]))
	w.msg = p[end:]
	if w.flags&flagSource != 0 {
		n := sourceSize(rest)
		w.source, rest = rest[:n], rest[n:]
	}
	w.attrs = rest[:len(rest)-len(w.msg)]
	return w
}

// sourceSize is the length of the source position that b begins with.
func sourceSize(b []byte) int {
	return sourceFixed + int(le.Uint16(b[4:])) + int(le.Uint16(b[6:]))
}

// checkAttrs checks the attributes. base is where they start in the payload.
func checkAttrs(b []byte, base int) error {
	depth := 0
	at := 0
	for at < len(b) {
		kind := b[at]
		if kind == kindEnd {
			if depth == 0 {
				return &wireError{base + at, "end of a group that was not begun"}
			}
			depth--
			at++
			continue
		}
		if kind > kindMax {
			return &wireError{base + at, fmt.Sprintf("unknown kind of value %d", kind)}
		}
		if len(b)-at < attrFixed {
			return &wireError{base + at, "attribute cut short"}
		}
		v := at + attrFixed + int(le.Uint16(b[at+1:]))
		size := fixedSize[kind]
		if v > len(b)-size {
			return &wireError{base + at, "attribute longer than the record"}
		}
		switch kind {
		case kindString, kindJSON:
			n := uint64(le.Uint32(b[v:]))
			if n > uint64(len(b)-v-size) {
				return &wireError{base + v, "value longer than the record"}
			}
			size += int(n)
			if kind == kindJSON && !json.Valid(b[v+4:v+size]) {
				return &wireError{base + v, "value is not JSON"}
			}
		case kindBool:
			if b[v] > 1 {
				return &wireError{base + v, "bool is neither 0 nor 1"}
			}
		case kindTime:
			if !validTime(b[v+8:]) {
				return &wireError{base + v, "time out of range"}
			}
		case kindGroup:
			if depth++; depth > maxDepth {
				return &wireError{base + at, fmt.Sprintf("more than %d groups deep", maxDepth)}
			}
		}
		at = v + size
	}
	if depth != 0 {
		return &wireError{base + at, "group without end"}
	}
	return nil
}

// validTime checks the nanoseconds and the zone of a time.
func validTime(b []byte) bool {
	zone := int32(le.Uint32(b[4:]))
	return le.Uint32(b) < 1e9 && zone >= -maxZone && zone <= maxZone
}

// fixedSize is the size of a value before any variable part.
var fixedSize = [kindMax + 1]int{
	kindString: 4, kindInt64: 8, kindUint64: 8, kindFloat64: 8, kindBool: 1,
	kindDuration: 8, kindTime: 16, kindGroup: 0, kindJSON: 4,
}

// splitSource takes a validated source position apart.
func splitSource(b []byte) (line int, file, fn []byte) {
	n := int(le.Uint16(b[4:]))
	rest := b[sourceFixed:]
	return int(int32(le.Uint32(b))), rest[:n], rest[n:]
}

// A cursor walks validated attributes.
type cursor struct{ b []byte }

// next returns the next item. For kindEnd only the kind is set; val is the value
// without the length that strings and JSON carry in front.
func (c *cursor) next() (kind byte, key, val []byte, ok bool) {
	b := c.b
	if len(b) == 0 {
		return 0, nil, nil, false
	}
	kind = b[0]
	if kind == kindEnd {
		c.b = b[1:]
		return kind, nil, nil, true
	}
	v := attrFixed + int(le.Uint16(b[1:]))
	key = b[attrFixed:v]
	size := fixedSize[kind]
	if kind == kindString || kind == kindJSON {
		n := int(le.Uint32(b[v:]))
		v += size
		size = n
	}
	c.b = b[v+size:]
	return kind, key, b[v : v+size], true
}

// countAttrs returns how many there are at the top level.
func countAttrs(attrs []byte) (n int) {
	c := cursor{attrs}
	for depth := 0; ; {
		kind, _, _, ok := c.next()
		switch {
		case !ok:
			return n
		case kind == kindEnd:
			depth--
			continue
		case depth == 0:
			n++
		}
		if kind == kindGroup {
			depth++
		}
	}
}

// attr returns the next attribute as slog has it, a group with its members.
func (c *cursor) attr() (slog.Attr, bool) {
	kind, key, val, ok := c.next()
	if !ok || kind == kindEnd {
		return slog.Attr{}, false
	}
	a := slog.Attr{Key: string(key)}
	switch kind {
	case kindString:
		a.Value = slog.StringValue(string(val))
	case kindInt64:
		a.Value = slog.Int64Value(int64(le.Uint64(val)))
	case kindUint64:
		a.Value = slog.Uint64Value(le.Uint64(val))
	case kindFloat64:
		a.Value = slog.Float64Value(math.Float64frombits(le.Uint64(val)))
	case kindBool:
		a.Value = slog.BoolValue(val[0] != 0)
	case kindDuration:
		a.Value = slog.DurationValue(time.Duration(le.Uint64(val)))
	case kindTime:
		a.Value = slog.TimeValue(wireTime(val))
	case kindJSON:
		a.Value = slog.AnyValue(json.RawMessage(append([]byte(nil), val...)))
	case kindGroup:
		var members []slog.Attr
		for {
			m, ok := c.attr() // at most maxDepth deep
			if !ok {
				break
			}
			members = append(members, m)
		}
		a.Value = slog.GroupValue(members...)
	}
	return a, true
}

// wireTime returns the time of a kindTime value, in the zone it was logged in.
func wireTime(val []byte) time.Time {
	t := time.Unix(int64(le.Uint64(val)), int64(le.Uint32(val[8:])))
	if zone := int(int32(le.Uint32(val[12:]))); zone != 0 {
		return t.In(time.FixedZone("", zone))
	}
	return t.UTC()
}
