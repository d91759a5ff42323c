package logring

import (
	"log/slog"
	"math"
	"time"
)

// A record of scalars is encoded where it will lie: in this P's lane. There is no
// private buffer, no copy of it, and no pool to take it from.
//
// It is the encoder (encode.go) over again, for what needs none of its care: any
// record whose values have code of their own to run (LogValue, MarshalJSON, Error),
// have members, or do not fit, goes that long way. TestDirect holds the two together.

// directRoom is the space that is asked for. What a lane has less of, or a record
// needs more of, goes the long way.
const directRoom = 2 << 10

// direct logs a record and reports whether it could. If not, nothing of it was ever
// visible. The goroutine is pinned meanwhile: no code of the caller's may run.
func (w *Writer) direct(h *handler, r *slog.Record, position []byte) bool {
	if w.apart && w.elsewhere(r.Level) {
		return false
	}
	if h.cut > 0 || len(h.opened) == 0 && len(h.groups) > 0 {
		return false
	}
	l := w.pin()
	if l == nil {
		return false
	}
	b, err := l.prod.TryReserve(min(l.max, directRoom))
	if err != nil {
		l.unpin()
		return false
	}
	// What follows the attributes: the ends of groups, and the message.
	depth := h.open
	limit := len(b) - h.open - len(h.groups) - len(r.Message)
	at := headerSize + len(position) + len(h.prefix) + len(h.opened)
	ok := at <= limit && w.putHeader(b, r.Time, r.Level, len(r.Message), len(position) > 0)
	if ok {
		at = headerSize
		if len(position) > 0 { // copying nothing has its price, too
			at += copy(b[at:], position)
		}
		if len(h.prefix) > 0 {
			at += copy(b[at:], h.prefix)
		}
		// (Asking for the number of attributes first would copy the record once more.)
		r.Attrs(func(a slog.Attr) bool {
			if len(h.groups) > 0 && depth == h.open {
				at += copy(b[at:], h.opened)
				depth += len(h.groups)
			}
			at, ok = putAttr(b[:limit], at, a)
			return ok
		})
	}
	if !ok {
		l.prod.Abort()
		l.unpin()
		return false
	}
	for ; depth > 0; depth-- {
		b[at] = kindEnd
		at++
	}
	at += copy(b[at:], r.Message)
	l.prod.Commit(at, w.stamp(b, tagRecord))
	l.count++
	due := w.bell.due(&l.fence)
	l.unpin()
	if due {
		w.bell.answer()
	}
	return true
}

// putHeader writes the header of a record with nothing cut, but for a key in ticks.
func (w *Writer) putHeader(b []byte, t time.Time, level slog.Level, msg int, source bool) bool {
	if t.IsZero() || len(b) < headerSize {
		return false
	}
	flags := uint64(0)
	if source {
		flags = flagSource
	}
	if !w.ticks {
		le.PutUint64(b[offKey:], uint64(monotonicOf(t)))
	}
	le.PutUint64(b[offTime:], uint64(wireNanos(t)))
	le.PutUint64(b[offLevel:], uint64(uint32(wireLevel(level)))|flags<<32)
	le.PutUint64(b[offCut:], uint64(msg)<<32)
	return true
}

// putAttr writes an attribute at b[at:] and returns where it ends, or false.
func putAttr(b []byte, at int, a slog.Attr) (int, bool) {
	key := a.Key
	v := at + attrFixed + len(key) // where the value goes
	if v+16 > len(b) || len(key) > maxKey {
		return at, false
	}
	kind := byte(kindInt64)
	switch x := a.Value; x.Kind() {
	case slog.KindString:
		s := x.String()
		if len(s) > len(b)-v-4 {
			return at, false
		}
		kind = kindString
		le.PutUint32(b[v:], uint32(len(s)))
		copy(b[v+4:], s)
		at = v + 4 + len(s)
		putHead(b, v, kind, key)
		return at, true
	case slog.KindInt64:
		le.PutUint64(b[v:], uint64(x.Int64()))
	case slog.KindUint64:
		kind = kindUint64
		le.PutUint64(b[v:], x.Uint64())
	case slog.KindFloat64:
		kind = kindFloat64
		le.PutUint64(b[v:], math.Float64bits(x.Float64()))
	case slog.KindDuration:
		kind = kindDuration
		le.PutUint64(b[v:], uint64(x.Duration()))
	case slog.KindBool:
		b[v] = 0
		if x.Bool() {
			b[v] = 1
		}
		putHead(b, v, kindBool, key)
		return v + 1, true
	case slog.KindTime:
		s, ns, zone := timeFields(x.Time())
		le.PutUint64(b[v:], s)
		le.PutUint64(b[v+8:], uint64(ns)|uint64(uint32(zone))<<32)
		putHead(b, v, kindTime, key)
		return v + 16, true
	default:
		return at, false
	}
	putHead(b, v, kind, key)
	return v + 8, true
}

// putHead writes kind and key before the value at b[v:].
func putHead(b []byte, v int, kind byte, key string) {
	p := b[v-len(key)-attrFixed : v]
	p[0], p[1], p[2] = kind, byte(len(key)), byte(len(key)>>8)
	copy(p[attrFixed:], key)
}
