package logring

import (
	"log/slog"
	"strconv"
	"unicode/utf8"
)

// severity is the syslog severity (RFC 5424, 6.2.1) of a level.
func severity(l slog.Level) int {
	switch {
	case l < slog.LevelInfo:
		return 7 // debug
	case l < slog.LevelInfo+2:
		return 6 // informational
	case l < slog.LevelWarn:
		return 5 // notice
	case l < slog.LevelError:
		return 4 // warning
	case l < slog.LevelError+4:
		return 3 // error
	}
	return 2 // critical
}

// syslogFormat writes RFC 5424 messages, without a frame around them:
//
//	<14>1 2026-01-02T15:04:05.123456Z host app 4711 - [shmkit@32473 group="count" worker="3" lines="120"] indexed
//
// The process id is the worker's. Attributes are parameters of one structured data
// element, the members of a group as group.key.
type syslogFormat struct {
	facility           int
	host, app, element string
	max                int // bytes of a message

	params paramList
	msg    []byte
}

// A paramList is a list of structured data parameters being made.
type paramList struct {
	buf  []byte
	ends []int // end of each in buf
	word []byte
	path []byte
}

func (f *syslogFormat) append(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, '<')
	dst = strconv.AppendInt(dst, int64(f.facility*8+severity(r.Level)), 10)
	dst = append(dst, ">1 "...)
	if r.Time.IsZero() {
		dst = append(dst, '-')
	} else {
		dst = r.Time.AppendFormat(dst, "2006-01-02T15:04:05.000000Z07:00")
	}
	dst = append(dst, ' ')
	dst = append(dst, f.host...)
	dst = append(dst, ' ')
	dst = append(dst, f.app...)
	dst = append(dst, ' ')
	if r.PID > 0 {
		dst = strconv.AppendInt(dst, int64(r.PID), 10)
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, " - ["...)
	dst = append(dst, f.element...)

	f.msg = appendShown(f.msg[:0], bytesOf(r.Message))
	p := &f.params
	p.record(r)
	truncated := r.Truncated
	if room := f.max - (len(dst) - start) - len("] "); len(p.buf)+len(f.msg) > room {
		truncated += f.cut(room - len(` truncated="1000000000"`))
	}
	if truncated > 0 {
		dst = append(dst, ` truncated="`...)
		dst = append(strconv.AppendInt(dst, int64(truncated), 10), '"')
	}
	dst = append(dst, p.buf...)
	dst = append(dst, "] "...)
	return append(dst, f.msg...)
}

// cut makes parameters and message fit into room bytes and returns how many it
// took away: the end of the message, down to half the room, then whole parameters.
func (f *syslogFormat) cut(room int) int {
	p := &f.params
	room = max(room, 0)
	before := len(p.buf) + len(f.msg)
	n := max(room-len(p.buf), min(len(f.msg), room/2))
	for n > 0 && n < len(f.msg) && !utf8.RuneStart(f.msg[n]) {
		n--
	}
	f.msg = f.msg[:min(n, len(f.msg))]
	for len(p.ends) > 0 && len(p.buf)+len(f.msg) > room {
		p.ends = p.ends[:len(p.ends)-1]
		end := 0
		if len(p.ends) > 0 {
			end = p.ends[len(p.ends)-1]
		}
		p.buf = p.buf[:end]
	}
	return before - len(p.buf) - len(f.msg)
}

// record fills the list with what the record holds beside its message.
func (p *paramList) record(r *Record) {
	p.buf, p.ends = p.buf[:0], p.ends[:0]
	p.add("group", bytesOf(r.Group))
	p.add("worker", strconv.AppendInt(p.word[:0], int64(r.Worker), 10))
	if r.Stream != "" {
		p.add("stream", bytesOf(r.Stream))
	}
	if r.Continued {
		p.add("continued", []byte("true"))
	}
	if len(r.source) > 0 {
		line, file, _ := splitSource(r.source)
		p.add("source", strconv.AppendInt(append(append([]byte(nil), file...), ':'), int64(line), 10))
	}
	var scratch attrText
	p.path = walkAttrs(p.path, r.attrs, func(path []byte, kind byte, val []byte) {
		name := stringOf(path)
		if reserved(path) {
			name = reservedPrefix + name
		}
		p.word = scratch.raw(p.word[:0], kind, val)
		p.add(name, p.word)
	})
}

// add adds a parameter. A name has at most 32 printable characters, without those
// that end it; others become _.
func (p *paramList) add(name string, value []byte) {
	b := append(p.buf, ' ')
	at := len(b)
	for i := 0; i < len(name) && len(b)-at < 32; i++ {
		switch c := name[i]; {
		case c <= ' ' || c >= 0x7f || c == '=' || c == ']' || c == '"':
			b = append(b, '_')
		default:
			b = append(b, c)
		}
	}
	if len(b) == at {
		b = append(b, '_')
	}
	b = append(b, '=', '"')
	// The escapes of JSON are those of syslog, but for the bracket.
	from := len(b)
	b = appendEscaped(b, value)
	for i := from; i < len(b); i++ {
		if b[i] == ']' {
			b = append(b, 0)
			copy(b[i+1:], b[i:])
			b[i] = '\\'
			i++
		}
	}
	p.buf = append(b, '"')
	p.ends = append(p.ends, len(p.buf))
}

// walkAttrs calls f for every attribute that is not a group, with its path: the keys
// of its groups and its own, joined by dots. path is scratch, and returned for use
// again.
func walkAttrs(path, attrs []byte, f func(path []byte, kind byte, val []byte)) []byte {
	var marks [maxDepth]int // length of the path outside each open group
	path, depth := path[:0], 0
	c := cursor{attrs}
	for {
		kind, key, val, ok := c.next()
		if !ok {
			return path
		}
		at := len(path)
		switch kind {
		case kindEnd:
			depth--
			path = path[:marks[depth]]
		case kindGroup:
			marks[depth] = at
			depth++
			path = append(append(path, key...), '.')
		default:
			path = append(path, key...)
			f(path, kind, val)
			path = path[:at]
		}
	}
}

// raw appends a value as text, neither quoted nor escaped.
func (t *attrText) raw(dst []byte, kind byte, val []byte) []byte {
	switch kind {
	case kindString:
		return append(dst, val...)
	case kindJSON:
		return appendRawJSON(dst, val)
	}
	return t.value(dst, kind, val)
}
