package cfgblob

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// canonical writes a tree in the one form in which documents are published:
// keys sorted by their bytes, no blanks, <, > and & as they are, numbers as
// they were spelled. Equal trees make equal bytes.
func canonical(tree map[string]any) ([]byte, error) { return canonicalValue(tree) }

// canonicalValue is canonical for any value. It is what encoding/json makes of it,
// by a shorter way for the values that trees are made of.
func canonicalValue(v any) ([]byte, error) {
	b, err := appendValue(nil, v)
	if err != nil {
		return nil, &ValueError{Err: err}
	}
	return b, nil
}

func appendValue(b []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v)
	case map[string]any:
		if v == nil {
			return append(b, "null"...), nil
		}
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendString(b, key); err != nil {
				return nil, err
			}
			b = append(b, ':')
			if b, err = appendValue(b, v[key]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case []any:
		if v == nil {
			return append(b, "null"...), nil
		}
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
	return appendEncoded(b, v)
}

// appendString writes a string of plain ASCII itself, and leaves any other to
// encoding/json.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendEncoded(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), nil
}

func appendEncoded(b []byte, v any) ([]byte, error) {
	if n, ok := v.(json.Number); ok && isInteger(string(n)) {
		return append(b, n...), nil
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...), nil
}

// isInteger tells whether a number is one in plain digits, as most are.
func isInteger(s string) bool {
	digits := s
	if len(s) > 0 && s[0] == '-' {
		digits = s[1:]
	}
	if digits == "" || digits[0] == '0' && len(digits) > 1 {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}
