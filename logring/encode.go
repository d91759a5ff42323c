package logring

import (
	"log/slog"
	"math"
	"sync"
	"time"
	"unicode/utf8"
)

// An encoder writes one record in wire form into a private buffer. It is filled
// before any lock is taken, because values may run code of the caller
// (LogValue, MarshalJSON), which may log in turn.
//
// What does not fit into limit bytes is cut: a string at a character, marked
// with "…"; anything else is left out. The number of bytes cut goes into the
// record, so that nothing is lost silently, and the rest stays well-formed.
type encoder struct {
	buf   []byte
	limit int // bytes that the attributes may fill; the message has its own share
	cut   int // bytes cut so far
	depth int // groups open; each needs one more byte for its end
	items int // values seen, see maxItems

	msg   string
	flags uint16
}

// maxItems bounds the values walked for one record, so that a LogValuer that
// answers with ever more groups ends. More would not fit anyway.
const maxItems = 1 << 14

// ellipsis marks a string that was cut.
const ellipsis = "…"

var encoders = sync.Pool{New: func() any { return &encoder{buf: make([]byte, 0, 1024)} }}

// newEncoder starts a record of at most max bytes.
func newEncoder(t time.Time, level slog.Level, msg string, max int) *encoder {
	e := encoders.Get().(*encoder)
	// A long message gets what the attributes leave, and at least a quarter.
	*e = encoder{buf: e.buf[:0], limit: max - min(len(msg), max/4), msg: msg}
	e.header(t, level)
	return e
}

// header begins the record; finish fills in the rest of it.
func (e *encoder) header(t time.Time, level slog.Level) {
	var key, ns int64
	if t.IsZero() {
		e.flags = flagNoTime
		key = monotonic()
	} else {
		key, ns = monotonicOf(t), wireNanos(t)
	}
	b := le.AppendUint64(e.buf, uint64(key))
	b = le.AppendUint64(b, uint64(ns))
	b = le.AppendUint64(b, uint64(uint32(wireLevel(level))))
	e.buf = le.AppendUint64(b, 0)
}

// finish completes the record. The result is valid until free.
func (e *encoder) finish(max int) []byte {
	for e.depth > 0 {
		e.end()
	}
	msg := e.msg
	room := max - len(e.buf)
	if len(msg) > room {
		msg = e.clip(msg, room)
	}
	n := len(msg)
	e.buf = append(e.buf, msg...)
	if len(msg) < len(e.msg) {
		e.buf = append(e.buf, ellipsis...)
		n += len(ellipsis)
	}
	b := e.buf[:headerSize]
	le.PutUint16(b[offFlags:], e.flags)
	le.PutUint32(b[offCut:], uint32(min(e.cut, math.MaxUint32)))
	le.PutUint32(b[offMsgLen:], uint32(n))
	return e.buf
}

// free gives the encoder back.
func (e *encoder) free() {
	e.msg = ""
	if cap(e.buf) <= 64<<10 {
		encoders.Put(e)
	}
}

// clip returns the longest prefix of s that leaves room for the mark within
// room bytes and ends at a character, and counts the rest as cut.
func (e *encoder) clip(s string, room int) string {
	n := max(room-len(ellipsis), 0)
	for back := 0; n > 0 && back < utf8.UTFMax-1 && !utf8.RuneStart(s[n]); back++ {
		n--
	}
	e.cut += len(s) - n
	return s[:n]
}

// room is how many bytes may still be appended.
func (e *encoder) room() int { return e.limit - len(e.buf) - e.depth }

// skip counts a value that is left out.
func (e *encoder) skip(n int) { e.cut += n }

// head appends kind and key if they and size bytes more fit.
func (e *encoder) head(kind byte, key string, size int) bool {
	if len(key) > maxKey {
		key = e.clip(key, maxKey) + ellipsis
	}
	if attrFixed+len(key)+size > e.room() {
		e.skip(attrFixed + len(key) + size)
		return false
	}
	b := append(e.buf, kind, byte(len(key)), byte(len(key)>>8))
	e.buf = append(b, key...)
	return true
}

func (e *encoder) word(kind byte, key string, w uint64) {
	if e.head(kind, key, 8) {
		e.buf = le.AppendUint64(e.buf, w)
	}
}

func (e *encoder) boolean(key string, v bool) {
	if e.head(kindBool, key, 1) {
		var b byte
		if v {
			b = 1
		}
		e.buf = append(e.buf, b)
	}
}

func (e *encoder) time(key string, t time.Time) {
	s, ns, zone := timeFields(t)
	e.rawTime(key, s, uint64(ns)|uint64(uint32(zone))<<32)
}

// rawTime appends a time whose second word is nanoseconds and zone.
func (e *encoder) rawTime(key string, seconds, ext uint64) {
	if e.head(kindTime, key, 16) {
		e.buf = le.AppendUint64(le.AppendUint64(e.buf, seconds), ext)
	}
}

// timeFields returns the fields of a time in wire form.
func timeFields(t time.Time) (seconds uint64, ns uint32, zone int32) {
	_, z := t.Zone()
	if z < -maxZone || z > maxZone {
		z = 0
	}
	return uint64(t.Unix()), uint32(t.Nanosecond()), int32(z)
}

func (e *encoder) text(key, s string) {
	keep := len(s)
	if over := attrFixed + len(key) + 4 + len(s) - e.room(); over > 0 {
		keep = max(len(s)-over, 0)
		if keep < len(ellipsis) {
			e.skip(attrFixed + len(key) + 4 + len(s))
			return
		}
		s = e.clip(s, keep)
		keep = len(s) + len(ellipsis)
	}
	if !e.head(kindString, key, 4+keep) {
		return
	}
	b := le.AppendUint32(e.buf, uint32(keep))
	b = append(b, s...)
	if keep > len(s) {
		b = append(b, ellipsis...)
	}
	e.buf = b
}

// json appends a value in JSON. One that does not fit is not cut, since half a
// value is none: it becomes a string that is.
func (e *encoder) json(key string, v []byte) {
	if attrFixed+len(key)+4+len(v) > e.room() {
		e.text(key, string(v))
		return
	}
	if e.head(kindJSON, key, 4+len(v)) {
		e.buf = le.AppendUint32(e.buf, uint32(len(v)))
		e.buf = append(e.buf, v...)
	}
}

// begin opens a group and reports whether there is room for it. Its end takes
// one byte more.
func (e *encoder) begin(key string) bool {
	if e.depth == maxDepth || !e.head(kindGroup, key, 1) {
		return false
	}
	e.depth++
	return true
}

func (e *encoder) end() {
	e.buf = append(e.buf, kindEnd)
	e.depth--
}

// attr appends an attribute and reports whether it counts: by slog's rules an
// empty one and a group without members do not. One that finds no room counts.
func (e *encoder) attr(a slog.Attr) bool {
	if e.items++; e.items > maxItems {
		e.skip(1)
		return true
	}
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		e.text(a.Key, v.String())
	case slog.KindInt64:
		e.word(kindInt64, a.Key, uint64(v.Int64()))
	case slog.KindUint64:
		e.word(kindUint64, a.Key, v.Uint64())
	case slog.KindFloat64:
		e.word(kindFloat64, a.Key, math.Float64bits(v.Float64()))
	case slog.KindBool:
		e.boolean(a.Key, v.Bool())
	case slog.KindDuration:
		e.word(kindDuration, a.Key, uint64(v.Duration()))
	case slog.KindTime:
		e.time(a.Key, v.Time())
	case slog.KindGroup:
		return e.group(a.Key, v.Group())
	case slog.KindLogValuer:
		a.Value = v.Resolve() // never a LogValuer again; catches panics and cycles
		return e.attr(a)
	default:
		if a.Key == "" && v.Any() == nil {
			return false
		}
		e.any(a.Key, v.Any())
	}
	return true
}

func (e *encoder) group(key string, members []slog.Attr) bool {
	if len(members) == 0 {
		return false
	}
	if key != "" {
		if e.depth == maxDepth {
			e.text(key, "!ERROR: groups nested too deeply")
			return true
		}
		mark := len(e.buf)
		if !e.begin(key) {
			return true
		}
		counts := e.members(members)
		if !counts {
			e.depth--
			e.buf = e.buf[:mark]
			return false
		}
		e.end()
		return true
	}
	return e.members(members) // a group without a key is inlined
}

func (e *encoder) members(members []slog.Attr) (counts bool) {
	for _, m := range members {
		if e.attr(m) {
			counts = true
		}
	}
	return counts
}

// wireNanos is t as nanoseconds since 1970, clamped to the years 1678 to 2262
// that the field holds.
func wireNanos(t time.Time) int64 {
	const most = math.MaxInt64/1_000_000_000 - 1
	switch s := t.Unix(); {
	case s > most:
		return math.MaxInt64
	case s < -most:
		return math.MinInt64
	default:
		return s*1e9 + int64(t.Nanosecond())
	}
}

// wireLevel is l clamped to the 32 bits that the field holds.
func wireLevel(l slog.Level) int32 {
	return int32(max(math.MinInt32, min(math.MaxInt32, l)))
}
