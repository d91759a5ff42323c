package logring

import (
	"bytes"
	"strconv"
	"time"
)

// journalFormat writes entries of journald's native protocol (systemd,
// docs/JOURNAL_NATIVE_PROTOCOL): one field after the other, as NAME=value and a newline,
// or, for a value with a newline in it, NAME, newline, u64 little-endian length,
// value, newline.
type journalFormat struct {
	identifier string

	attrs attrText
	path  []byte
	name  []byte
	word  []byte
}

func (f *journalFormat) append(dst []byte, r *Record) []byte {
	dst = appendJournal(dst, "MESSAGE", bytesOf(r.Message))
	dst = appendJournal(dst, "PRIORITY", strconv.AppendInt(f.word[:0], int64(severity(r.Level)), 10))
	dst = appendJournal(dst, "SYSLOG_IDENTIFIER", []byte(f.identifier))
	dst = appendJournal(dst, "SHMKIT_LEVEL", appendLevel(f.word[:0], r.Level))
	if !r.Time.IsZero() {
		dst = appendJournal(dst, "SHMKIT_TIME", r.Time.UTC().AppendFormat(f.word[:0], time.RFC3339Nano))
	}
	dst = appendJournal(dst, "SHMKIT_GROUP", bytesOf(r.Group))
	dst = appendJournal(dst, "SHMKIT_WORKER", strconv.AppendInt(f.word[:0], int64(r.Worker), 10))
	dst = appendJournal(dst, "SHMKIT_PID", strconv.AppendInt(f.word[:0], int64(r.PID), 10))
	if r.Stream != "" {
		dst = appendJournal(dst, "SHMKIT_STREAM", bytesOf(r.Stream))
	}
	if r.Continued {
		dst = appendJournal(dst, "SHMKIT_CONTINUED", []byte("true"))
	}
	if r.Truncated > 0 {
		dst = appendJournal(dst, "SHMKIT_TRUNCATED", strconv.AppendInt(f.word[:0], int64(r.Truncated), 10))
	}
	if len(r.source) > 0 {
		line, file, fn := splitSource(r.source)
		dst = appendJournal(dst, "CODE_FILE", file)
		dst = appendJournal(dst, "CODE_LINE", strconv.AppendInt(f.word[:0], int64(line), 10))
		dst = appendJournal(dst, "CODE_FUNC", fn)
	}
	f.path = walkAttrs(f.path, r.attrs, func(path []byte, kind byte, val []byte) {
		f.name = appendJournalName(f.name[:0], path)
		f.word = f.attrs.raw(f.word[:0], kind, val)
		dst = appendJournal(dst, stringOf(f.name), f.word)
	})
	return dst
}

func appendJournal(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	if bytes.IndexByte(value, '\n') < 0 {
		dst = append(append(dst, '='), value...)
	} else {
		dst = le.AppendUint64(append(dst, '\n'), uint64(len(value)))
		dst = append(dst, value...)
	}
	return append(dst, '\n')
}

// appendJournalName makes a path a field name: at most 64 of A-Z, 0-9 and _, not
// beginning with a digit, nor with _, which journald keeps for itself. Names that say
// where a record comes from get ATTR_ in front.
func appendJournalName(dst, path []byte) []byte {
	start := len(dst)
	for _, c := range path {
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			c = '_'
		}
		dst = append(dst, c)
	}
	name := dst[start:]
	if len(name) == 0 || name[0] == '_' || name[0] <= '9' || journalReserved(name) {
		dst = append(dst, "ATTR_"...)
		copy(dst[start+len("ATTR_"):], dst[start:])
		copy(dst[start:], "ATTR_")
	}
	return dst[:min(len(dst), start+64)]
}

// journalReserved are the names that systemd.journal-fields(7) and this sink give a
// meaning to.
func journalReserved(name []byte) bool {
	for _, prefix := range []string{"SHMKIT_", "SYSLOG_", "CODE_", "OBJECT_", "COREDUMP_", "JOURNAL_"} {
		if bytes.HasPrefix(name, []byte(prefix)) {
			return true
		}
	}
	switch string(name) {
	case "MESSAGE", "MESSAGE_ID", "PRIORITY", "ERRNO", "INVOCATION_ID", "USER_INVOCATION_ID", "TID", "UNIT", "USER_UNIT", "DOCUMENTATION":
		return true
	}
	return false
}
