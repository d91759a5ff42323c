package cfgblob

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deeply objects and arrays may be nested in a document.
const MaxDepth = 64

// Parse reads a JSON object into maps, slices, strings, booleans, nils and
// [json.Number], which keeps every digit.
//
// It accepts less than encoding/json: a key that appears twice in one object,
// bytes that are not UTF-8, half a surrogate pair and nesting beyond
// [MaxDepth] are errors, because with each of them two readers of one document
// may come to two results. Errors are [*SyntaxError].
func Parse(doc []byte) (map[string]any, error) {
	v, err := parseValue(doc)
	if err != nil {
		return nil, err
	}
	return object(v)
}

func object(v any) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, &SyntaxError{Line: 1, Column: 1, Reason: "a configuration is an object, this is " + kindOf(v)}
	}
	return m, nil
}

// DecodeValue reads one JSON value of any kind by the rules of [Parse]: what a
// change request carries.
func DecodeValue(text []byte) (any, error) { return parseValue(text) }

// parseWhere is Parse, and says on which line each key stands.
func parseWhere(doc []byte) (map[string]any, map[string]string, error) {
	p := parser{doc: doc, line: 1, where: map[string]string{}}
	v, err := p.parse()
	if err != nil {
		return nil, nil, err
	}
	m, err := object(v)
	return m, p.where, err
}

// parseValue reads one JSON value of any kind, and nothing after it.
func parseValue(doc []byte) (any, error) {
	p := parser{doc: doc}
	return p.parse()
}

func (p *parser) parse() (any, error) {
	doc := p.doc
	if bytes.HasPrefix(doc, []byte("\xef\xbb\xbf")) {
		return nil, p.fail("starts with a byte order mark: save it without one")
	}
	for !utf8.Valid(doc[p.i:]) {
		for p.i < len(doc) { // find the first bad byte
			r, n := utf8.DecodeRune(doc[p.i:])
			if r == utf8.RuneError && n <= 1 {
				return nil, p.fail("not valid UTF-8")
			}
			p.i += n
		}
	}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(doc) {
		return nil, p.fail("something follows the end of the document")
	}
	return v, nil
}

// A parser reads doc from i on; path holds the keys that lead there.
type parser struct {
	doc  []byte
	i    int
	path []string

	where map[string]string // if wanted: the line of each path…
	line  int               // …the line reached…
	seen  int               // …and up to where it is counted
}

// note writes down on which line the key at i, which ends path, stands.
func (p *parser) note(at int) {
	if p.where == nil {
		return
	}
	p.line += bytes.Count(p.doc[p.seen:at], []byte{'\n'})
	p.seen = at
	p.where[joinPath(p.path)] = "line " + strconv.Itoa(p.line)
}

func (p *parser) fail(format string, args ...any) error {
	before := p.doc[:min(p.i, len(p.doc))]
	return &SyntaxError{
		Line:   1 + bytes.Count(before, []byte("\n")),
		Column: len(before) - bytes.LastIndexByte(before, '\n'),
		Path:   joinPath(p.path),
		Reason: fmt.Sprintf(format, args...),
	}
}

// unexpected says what stands at i instead of what was wanted.
func (p *parser) unexpected(want string) error {
	if p.i >= len(p.doc) {
		return p.fail("the document ends where %s should be", want)
	}
	r, _ := utf8.DecodeRune(p.doc[p.i:])
	return p.fail("%q where %s should be", r, want)
}

func (p *parser) space() {
	for p.i < len(p.doc) {
		switch p.doc[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// peek skips blanks and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.i < len(p.doc) {
		return p.doc[p.i]
	}
	return 0
}

func (p *parser) value() (any, error) {
	switch c := p.peek(); {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		return p.string()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	for _, lit := range literals {
		if bytes.HasPrefix(p.doc[p.i:], lit.text) {
			p.i += len(lit.text)
			return lit.value, nil
		}
	}
	return nil, p.unexpected("a value")
}

var literals = []struct {
	text  []byte
	value any
}{{[]byte("true"), true}, {[]byte("false"), false}, {[]byte("null"), nil}}

func (p *parser) object() (any, error) {
	if len(p.path) >= MaxDepth {
		return nil, p.fail("nested deeper than %d", MaxDepth)
	}
	p.i++ // {
	m := map[string]any{}
	if p.peek() == '}' {
		p.i++
		return m, nil
	}
	for {
		if p.peek() != '"' {
			return nil, p.unexpected("a key in quotes")
		}
		at := p.i
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if _, dup := m[key]; dup {
			p.i = at
			return nil, p.fail("key %q appears twice", key)
		}
		if p.peek() != ':' {
			return nil, p.unexpected(`":" after a key`)
		}
		p.i++
		p.path = append(p.path, key)
		p.note(at)
		if m[key], err = p.value(); err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		switch p.peek() {
		case ',':
			p.i++
		case '}':
			p.i++
			return m, nil
		default:
			return nil, p.unexpected(`"," or "}"`)
		}
	}
}

func (p *parser) array() (any, error) {
	if len(p.path) >= MaxDepth {
		return nil, p.fail("nested deeper than %d", MaxDepth)
	}
	p.i++ // [
	list := []any{}
	if p.peek() == ']' {
		p.i++
		return list, nil
	}
	for {
		p.path = append(p.path, strconv.Itoa(len(list)))
		p.space()
		p.note(p.i)
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		list = append(list, v)
		switch p.peek() {
		case ',':
			p.i++
		case ']':
			p.i++
			return list, nil
		default:
			return nil, p.unexpected(`"," or "]"`)
		}
	}
}

// string reads a string literal. Without escapes it is a copy of the bytes
// between the quotes; otherwise encoding/json resolves them.
func (p *parser) string() (string, error) {
	start := p.i
	p.i++ // "
	for escaped := false; p.i < len(p.doc); p.i++ {
		switch c := p.doc[p.i]; {
		case c == '"':
			p.i++
			lit := p.doc[start:p.i]
			if !escaped {
				return string(lit[1 : len(lit)-1]), nil
			}
			return p.unescape(start, lit)
		case c == '\\':
			escaped = true
			p.i++ // whatever it is, it does not end the string
		case c < ' ':
			return "", p.fail("control character %q in a string: write it as an escape", c)
		}
	}
	p.i = len(p.doc)
	return "", p.unexpected("the end of a string")
}

func (p *parser) unescape(start int, lit []byte) (string, error) {
	end := p.i
	p.i = start // where an error belongs
	var s string
	if err := json.Unmarshal(lit, &s); err != nil {
		return "", p.fail("bad escape in a string")
	}
	// Half a surrogate pair comes out as U+FFFD that nobody wrote.
	if n := strings.Count(s, "\ufffd"); n > 0 {
		lower := bytes.ToLower(lit)
		if n > bytes.Count(lower, []byte("\ufffd"))+bytes.Count(lower, []byte(`\ufffd`)) {
			return "", p.fail("half a surrogate pair in a string")
		}
	}
	p.i = end
	return s, nil
}

func (p *parser) number() (any, error) {
	start := p.i
	digits := func() bool {
		from := p.i
		for p.i < len(p.doc) && '0' <= p.doc[p.i] && p.doc[p.i] <= '9' {
			p.i++
		}
		return p.i > from
	}
	next := func(set string) bool {
		if p.i < len(p.doc) && strings.IndexByte(set, p.doc[p.i]) >= 0 {
			p.i++
			return true
		}
		return false
	}
	next("-")
	if !next("0") && !digits() {
		return nil, p.unexpected("a digit")
	}
	if next(".") && !digits() {
		return nil, p.unexpected("a digit")
	}
	if next("eE") {
		next("+-")
		if !digits() {
			return nil, p.unexpected("a digit")
		}
	}
	return json.Number(p.doc[start:p.i]), nil
}

// kindOf names the JSON kind of a parsed value, as errors do.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case []any:
		return fmt.Sprintf("an array of %d", len(v))
	case map[string]any:
		return "an object"
	}
	return fmt.Sprintf("a %T", v)
}
