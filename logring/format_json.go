package logring

import (
	"log/slog"
	"math"
	"strconv"
	"time"
)

// A format turns records into lines of text. One record is one line, with its
// newline, whatever the record holds. A format belongs to one goroutine.
type format interface {
	append(dst []byte, r *Record) []byte
}

// jsonFormat writes one flat JSON object a record, with the keys of slog's
// JSONHandler, straight from the wire form.
type jsonFormat struct {
	clock timeCache
}

// The keys that a record's attributes may not take at the top level, so that
// nobody can forge where a record comes from.
func reserved(key []byte) bool {
	switch string(key) {
	case "time", "level", "msg", "source", "group", "worker", "pid", "stream", "continued", "late", "salvaged", "truncated":
		return true
	}
	return false
}

// reservedPrefix is put before such a key.
const reservedPrefix = "attr."

func (f *jsonFormat) append(dst []byte, r *Record) []byte {
	dst = append(dst, '{')
	if !r.Time.IsZero() {
		dst = append(dst, `"time":"`...)
		dst = f.clock.append(dst, r.Time)
		dst = append(dst, `",`...)
	}
	dst = append(dst, `"level":"`...)
	dst = appendLevel(dst, r.Level)
	dst = append(dst, `","msg":"`...)
	dst = appendEscaped(dst, bytesOf(r.Message))
	dst = append(dst, `","group":"`...)
	dst = appendEscaped(dst, bytesOf(r.Group))
	dst = append(dst, `","worker":`...)
	dst = strconv.AppendInt(dst, int64(r.Worker), 10)
	dst = append(dst, `,"pid":`...)
	dst = strconv.AppendInt(dst, int64(r.PID), 10)
	if r.Stream != "" {
		dst = append(dst, `,"stream":"`...)
		dst = appendEscaped(dst, bytesOf(r.Stream))
		dst = append(dst, '"')
	}
	if r.Continued {
		dst = append(dst, `,"continued":true`...)
	}
	if r.Late {
		dst = append(dst, `,"late":true`...)
	}
	if r.Salvaged {
		dst = append(dst, `,"salvaged":true`...)
	}
	if r.Truncated > 0 {
		dst = append(dst, `,"truncated":`...)
		dst = strconv.AppendInt(dst, int64(r.Truncated), 10)
	}
	if len(r.source) > 0 {
		line, file, fn := splitSource(r.source)
		dst = append(dst, `,"source":{"function":"`...)
		dst = appendEscaped(dst, fn)
		dst = append(dst, `","file":"`...)
		dst = appendEscaped(dst, file)
		dst = append(dst, `","line":`...)
		dst = strconv.AppendInt(dst, int64(line), 10)
		dst = append(dst, '}')
	}
	if len(r.attrs) > 0 {
		dst = append(dst, ',')
		dst = appendJSONAttrs(dst, r.attrs, true)
	}
	return append(dst, '}', '\n')
}

// appendJSONAttrs appends validated attributes as the inside of an object. With
// guard, keys at the top level are kept off the reserved ones.
func appendJSONAttrs(dst, attrs []byte, guard bool) []byte {
	c := cursor{attrs}
	depth := 0
	first := true
	for {
		kind, key, val, ok := c.next()
		if !ok {
			return dst
		}
		if kind == kindEnd {
			dst = append(dst, '}')
			depth--
			first = false
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, '"')
		if guard && depth == 0 && reserved(key) {
			dst = append(dst, reservedPrefix...)
		}
		dst = appendEscaped(dst, key)
		dst = append(dst, '"', ':')
		switch kind {
		case kindString:
			dst = appendQuoted(dst, val)
		case kindInt64, kindDuration:
			dst = strconv.AppendInt(dst, int64(le.Uint64(val)), 10)
		case kindUint64:
			dst = strconv.AppendUint(dst, le.Uint64(val), 10)
		case kindFloat64:
			dst = appendFloat(dst, math.Float64frombits(le.Uint64(val)), true)
		case kindBool:
			dst = strconv.AppendBool(dst, val[0] != 0)
		case kindTime:
			dst = append(dst, '"')
			dst = wireTime(val).AppendFormat(dst, time.RFC3339Nano)
			dst = append(dst, '"')
		case kindJSON:
			dst = appendRawJSON(dst, val)
		case kindGroup:
			dst = append(dst, '{')
			depth++
			first = true
		}
	}
}

// appendFloat appends f as encoding/json does, and what JSON has no number for
// as a string.
func appendFloat(dst []byte, f float64, quote bool) []byte {
	abs := math.Abs(f)
	switch {
	case abs < 1e15 && f == math.Trunc(f) && (f != 0 || !math.Signbit(f)):
		return strconv.AppendInt(dst, int64(f), 10)
	case math.IsNaN(f) || abs > math.MaxFloat64:
		if quote {
			dst = append(dst, '"')
		}
		dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
		if quote {
			dst = append(dst, '"')
		}
		return dst
	case abs != 0 && (abs < 1e-6 || abs >= 1e21):
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' { // e-09 to e-9
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
		return dst
	default:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
}

// appendLevel appends the level as slog names it.
func appendLevel(dst []byte, l slog.Level) []byte {
	switch l {
	case slog.LevelInfo:
		return append(dst, "INFO"...)
	case slog.LevelDebug:
		return append(dst, "DEBUG"...)
	case slog.LevelWarn:
		return append(dst, "WARN"...)
	case slog.LevelError:
		return append(dst, "ERROR"...)
	}
	return append(dst, l.String()...)
}

// timeCache formats times as RFC 3339 with up to nine decimals, as slog does. It
// formats the date and the time of day once a second.
type timeCache struct {
	sec    int64
	loc    *time.Location
	prefix []byte // 2006-01-02T15:04:05
	zone   []byte // Z or +02:00
}

func (c *timeCache) append(dst []byte, t time.Time) []byte {
	if sec := t.Unix(); sec != c.sec || c.loc != t.Location() || c.prefix == nil {
		c.sec, c.loc = sec, t.Location()
		c.prefix = t.AppendFormat(c.prefix[:0], "2006-01-02T15:04:05")
		c.zone = t.AppendFormat(c.zone[:0], "Z07:00")
	}
	dst = append(dst, c.prefix...)
	if ns := t.Nanosecond(); ns != 0 {
		dst = appendFraction(dst, uint32(ns), 9)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, c.zone...)
}

// appendFraction appends '.' and the first digits (of nine) of ns.
func appendFraction(dst []byte, ns uint32, digits int) []byte {
	const at = len("0.")
	b := [at + 8]byte{'.'}
	b[1] = byte('0' + ns/100_000_000)
	ns %= 100_000_000
	for i, part := range [2]uint32{ns / 10000, ns % 10000} {
		hi, lo := 2*(part/100), 2*(part%100)
		d := b[at+4*i : at+4*i+4]
		d[0], d[1], d[2], d[3] = pairs[hi], pairs[hi+1], pairs[lo], pairs[lo+1]
	}
	return append(dst, b[:1+digits]...)
}

// pairs are the numbers 00 to 99.
const pairs = "0001020304050607080910111213141516171819" +
	"2021222324252627282930313233343536373839" +
	"4041424344454647484950515253545556575859" +
	"6061626364656667686970717273747576777879" +
	"8081828384858687888990919293949596979899"
