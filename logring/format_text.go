package logring

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// textFormat writes key=value pairs as slog's TextHandler does, the members of a
// group as group.key. What could be misread is quoted, with JSON's escapes.
type textFormat struct {
	clock timeCache
	attrs attrText
}

func (f *textFormat) append(dst []byte, r *Record) []byte {
	if !r.Time.IsZero() {
		dst = append(dst, "time="...)
		dst = f.clock.append(dst, r.Time)
		dst = append(dst, ' ')
	}
	dst = append(dst, "level="...)
	dst = appendLevel(dst, r.Level)
	dst = append(dst, " msg="...)
	dst = appendWord(dst, bytesOf(r.Message))
	dst = append(dst, " group="...)
	dst = appendWord(dst, bytesOf(r.Group))
	dst = append(dst, " worker="...)
	dst = strconv.AppendInt(dst, int64(r.Worker), 10)
	dst = append(dst, " pid="...)
	dst = strconv.AppendInt(dst, int64(r.PID), 10)
	if r.Stream != "" {
		dst = append(dst, " stream="...)
		dst = appendWord(dst, bytesOf(r.Stream))
	}
	dst = appendMarks(dst, r)
	dst = f.attrs.append(dst, r.attrs)
	return append(dst, '\n')
}

// consoleFormat writes for people: time of day, level, who, message, attributes.
//
//	15:04:05.000 INFO  count/3 indexed files=500
//	15:04:05.001 WARN  job/0 stderr| Traceback (most recent call last):
//
// In colour the level has one that says how bad it is, and the time of day is dim.
type consoleFormat struct {
	color bool
	clock timeCache
	attrs attrText
}

func (f *consoleFormat) append(dst []byte, r *Record) []byte {
	if !r.Time.IsZero() {
		dst = f.paint(dst, colorDim)
		dst = f.clock.appendOfDay(dst, r.Time)
		dst = f.paint(dst, colorOff)
		dst = append(dst, ' ')
	}
	if f.color {
		dst = append(dst, levelColor(r.Level)...)
	}
	at := len(dst)
	dst = appendLevel(dst, r.Level)
	width := len(dst) - at
	dst = f.paint(dst, colorOff)
	for ; width < 6; width++ {
		dst = append(dst, ' ')
	}
	dst = appendEscaped(dst, bytesOf(r.Group))
	if r.Worker != NodeWorker {
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, int64(r.Worker), 10)
	}
	dst = append(dst, ' ')
	if r.Stream != "" {
		dst = appendEscaped(dst, bytesOf(r.Stream))
		dst = append(dst, "| "...)
	}
	dst = appendShown(dst, bytesOf(r.Message))
	dst = appendMarks(dst, r)
	dst = f.attrs.append(dst, r.attrs)
	return append(dst, '\n')
}

func (f *consoleFormat) paint(dst []byte, sgr string) []byte {
	if f.color {
		dst = append(dst, sgr...)
	}
	return dst
}

// appendOfDay appends the time of day with milliseconds.
func (c *timeCache) appendOfDay(dst []byte, t time.Time) []byte {
	at := len(dst)
	dst = c.append(dst, t)[:at]
	dst = append(dst, c.prefix[len(c.prefix)-len("15:04:05"):]...)
	return appendFraction(dst, uint32(t.Nanosecond()), 3)
}

// appendMarks appends what is rarely there.
func appendMarks(dst []byte, r *Record) []byte {
	if r.Continued {
		dst = append(dst, " continued=true"...)
	}
	if r.Late {
		dst = append(dst, " late=true"...)
	}
	if r.Salvaged {
		dst = append(dst, " salvaged=true"...)
	}
	if r.Truncated > 0 {
		dst = append(dst, " truncated="...)
		dst = strconv.AppendInt(dst, int64(r.Truncated), 10)
	}
	if len(r.source) > 0 {
		line, file, _ := splitSource(r.source)
		dst = append(dst, " source="...)
		dst = appendWord(dst, strconv.AppendInt(append(append([]byte(nil), file...), ':'), int64(line), 10))
	}
	return dst
}

// attrText appends attributes as key=value.
type attrText struct {
	prefix []byte // "group." of each open group
	marks  []int  // length of prefix outside each open group
	word   []byte // scratch
}

func (t *attrText) append(dst, attrs []byte) []byte {
	t.prefix, t.marks = t.prefix[:0], t.marks[:0]
	c := cursor{attrs}
	for {
		kind, key, val, ok := c.next()
		if !ok {
			return dst
		}
		switch kind {
		case kindEnd:
			last := len(t.marks) - 1
			t.prefix, t.marks = t.prefix[:t.marks[last]], t.marks[:last]
			continue
		case kindGroup:
			t.marks = append(t.marks, len(t.prefix))
			t.prefix = append(append(t.prefix, key...), '.')
			continue
		}
		switch {
		case len(t.prefix) > 0:
			t.word = append(append(t.word[:0], t.prefix...), key...)
			key = t.word
		case reserved(key):
			t.word = append(append(t.word[:0], reservedPrefix...), key...)
			key = t.word
		}
		dst = append(dst, ' ')
		dst = appendWord(dst, key)
		dst = append(dst, '=')
		dst = t.value(dst, kind, val)
	}
}

func (t *attrText) value(dst []byte, kind byte, val []byte) []byte {
	switch kind {
	case kindString:
		return appendWord(dst, val)
	case kindInt64:
		return strconv.AppendInt(dst, int64(le.Uint64(val)), 10)
	case kindUint64:
		return strconv.AppendUint(dst, le.Uint64(val), 10)
	case kindFloat64:
		return appendFloat(dst, math.Float64frombits(le.Uint64(val)), false)
	case kindBool:
		return strconv.AppendBool(dst, val[0] != 0)
	case kindDuration:
		return append(dst, time.Duration(le.Uint64(val)).String()...)
	case kindTime:
		return wireTime(val).AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	default: // kindJSON
		t.word = appendRawJSON(t.word[:0], val)
		return appendWord(dst, t.word)
	}
}

// appendWord appends s, quoted if it would not read as one word.
func appendWord(dst, s []byte) []byte {
	if isWord(s) {
		return append(dst, s...)
	}
	return appendQuoted(dst, s)
}

// inWord reports for each ASCII byte whether it needs no quotes.
var inWord = func() (t [256]bool) {
	for b := '!'; b < 0x7f; b++ {
		t[b] = plain[b] && b != '='
	}
	return t
}()

func isWord(s []byte) bool {
	for i := 0; i < len(s); {
		switch b := s[i]; {
		case inWord[b]:
			i++
		case b < utf8.RuneSelf:
			return false
		default:
			r, size := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && size == 1 || unsafeRune(r) {
				return false
			}
			i += size
		}
	}
	return len(s) > 0
}

// appendShown appends a message without quotes, escaping only what must not
// reach a terminal.
func appendShown(dst, s []byte) []byte {
	for len(s) > 0 {
		n := plainLen(s)
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			break
		}
		n = 1
		if s[0] == '"' || s[0] == '\\' {
			dst = append(dst, s[0])
		} else {
			_, n = utf8.DecodeRune(s)
			dst = appendEscaped(dst, s[:n])
		}
		s = s[n:]
	}
	return dst
}
