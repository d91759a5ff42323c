package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// A logEntry is one record as it was found.
type logEntry struct {
	time   time.Time
	level  slog.Level
	msg    string
	group  string
	worker int
	pid    int
	stream string
	attrs  []logAttr
	json   string // the line that it was, if that was JSON
	object string // the attributes, if they were one JSON object
}

// A logAttr is an attribute, one in a group by its path.
type logAttr struct {
	key   string
	value json.RawMessage
}

// text is the value without the quotes of a string.
func (a *logAttr) text() string {
	var s string
	if len(a.value) > 0 && a.value[0] == '"' && json.Unmarshal(a.value, &s) == nil {
		return s
	}
	return string(a.value)
}

var errNoRecord = errors.New("no record")

// parseLine reads a record that shmkit has written as JSON or as text.
func parseLine(line string) (*logEntry, error) {
	if strings.HasPrefix(line, "{") {
		return parseJSONLine(line)
	}
	return parseTextLine(line)
}

func parseJSONLine(line string) (*logEntry, error) {
	e := &logEntry{json: line}
	err := e.members([]byte(line), "")
	if err != nil {
		return nil, err
	}
	return e, e.check()
}

// members takes an object apart; prefix is the path to it.
func (e *logEntry) members(object []byte, prefix string) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errNoRecord
	}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return errNoRecord
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return errNoRecord
		}
		if prefix == "" && e.take(key, value) {
			continue
		}
		if value[0] == '{' {
			if err := e.members(value, prefix+key+"."); err != nil {
				return err
			}
			continue
		}
		e.attrs = append(e.attrs, logAttr{prefix + key, value})
	}
	_, err := d.Token()
	if err != nil || d.More() {
		return errNoRecord
	}
	return nil
}

// take takes a member that says where and when; others are attributes.
func (e *logEntry) take(key string, value json.RawMessage) bool {
	var err error
	switch key {
	case "time":
		err = json.Unmarshal(value, &e.time)
	case "level":
		err = json.Unmarshal(value, &e.level)
	case "msg":
		err = json.Unmarshal(value, &e.msg)
	case "group":
		err = json.Unmarshal(value, &e.group)
	case "worker":
		err = json.Unmarshal(value, &e.worker)
	case "pid":
		err = json.Unmarshal(value, &e.pid)
	case "stream":
		err = json.Unmarshal(value, &e.stream)
	default:
		return false
	}
	return err == nil
}

// check looks for what every record has.
func (e *logEntry) check() error {
	if e.group == "" {
		return errNoRecord
	}
	return nil
}

// parseTextLine reads key=value pairs.
func parseTextLine(line string) (*logEntry, error) {
	e := &logEntry{}
	for line != "" {
		key, rest, err := parseWord(line, '=')
		if err != nil || !strings.HasPrefix(rest, "=") {
			return nil, errNoRecord
		}
		value, rest, err := parseWord(rest[1:], ' ')
		if err != nil || rest != "" && rest[0] != ' ' {
			return nil, errNoRecord
		}
		line = strings.TrimPrefix(rest, " ")
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, errNoRecord
		}
		switch key {
		case "worker", "pid":
			raw = json.RawMessage(value)
		}
		if !e.take(key, raw) {
			e.attrs = append(e.attrs, logAttr{key, raw})
		}
	}
	return e, e.check()
}

// parseWord reads a word that is quoted, or ends before the given byte.
func parseWord(s string, end byte) (word, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexByte(s, end); i >= 0 {
			return s[:i], s[i:], nil
		}
		return s, "", nil
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			err := json.Unmarshal([]byte(s[:i+1]), &word)
			return word, s[i+1:], err
		}
	}
	return "", "", errNoRecord
}

// toJSON is the record as shmkit's json sink writes it.
func (e *logEntry) toJSON() (string, error) {
	if e.json != "" {
		return e.json, nil
	}
	var b strings.Builder
	add := func(key string, value any) error {
		raw, ok := value.(json.RawMessage)
		if !ok {
			var err error
			if raw, err = json.Marshal(value); err != nil {
				return err
			}
		}
		lead := byte(',')
		if b.Len() == 0 {
			lead = '{'
		}
		name, err := json.Marshal(key)
		b.WriteByte(lead)
		b.Write(name)
		b.WriteByte(':')
		b.Write(raw)
		return err
	}
	var errs []error
	if !e.time.IsZero() {
		errs = append(errs, add("time", e.time))
	}
	errs = append(errs, add("level", e.level), add("msg", e.msg), add("group", e.group), add("worker", e.worker), add("pid", e.pid))
	if e.stream != "" {
		errs = append(errs, add("stream", e.stream))
	}
	if e.object != "" {
		if inner := strings.TrimSpace(e.object[1:]); inner != "}" {
			b.WriteString("," + inner)
		} else {
			b.WriteByte('}')
		}
		return b.String(), errors.Join(errs...)
	}
	for _, a := range e.attrs {
		errs = append(errs, add(a.key, a.value))
	}
	b.WriteByte('}')
	return b.String(), errors.Join(errs...)
}

// toText is the record for people: one line, and nothing in it that a terminal
// would obey.
func (e *logEntry) toText() string {
	var b strings.Builder
	if !e.time.IsZero() {
		b.WriteString(e.time.Local().Format("2006-01-02 15:04:05.000 "))
	}
	fmt.Fprintf(&b, "%-5s %s", e.level, shown(e.group))
	if e.worker >= 0 {
		fmt.Fprintf(&b, "/%d", e.worker)
	}
	b.WriteByte(' ')
	if e.stream != "" {
		b.WriteString(shown(e.stream) + "| ")
	}
	b.WriteString(shown(e.msg))
	for _, a := range e.attrs {
		text := a.text()
		if text == "" || strings.ContainsAny(text, " =\"") {
			text = strconv.Quote(text)
		}
		b.WriteString(" " + shown(a.key) + "=" + shown(text))
	}
	return b.String()
}

// shown escapes what is not printable.
func shown(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !strconv.IsPrint(r) }
