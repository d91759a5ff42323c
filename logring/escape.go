package logring

import "unicode/utf8"

// What no text output may contain as it is: control characters (C0 with ESC, LF
// and NUL, DEL, and C1, which some terminals obey like ESC sequences), the
// Unicode line separators, the controls that reorder text, and bytes that are
// not UTF-8.

// unsafeRune reports whether a character at or above U+0080 must be escaped.
func unsafeRune(r rune) bool {
	switch {
	case r <= 0x9f: // C1
	case r == 0x61c, r == 0x200e, r == 0x200f: // marks that change direction
	case r >= 0x2028 && r <= 0x202e: // line and paragraph separator, embeddings, overrides
	case r >= 0x2066 && r <= 0x2069: // isolates
	case r == 0xfeff: // byte order mark
	default:
		return false
	}
	return true
}

const hexDigits = "0123456789abcdef"

// appendRune appends an escape that JSON and Go both read.
func appendRune(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// plain reports for each ASCII byte whether it stands for itself in a quoted
// string.
var plain = func() (t [256]bool) {
	for b := 0x20; b < 0x7f; b++ {
		t[b] = b != '"' && b != '\\'
	}
	return t
}()

// plainLen returns the length of the longest prefix of s that needs no escape,
// looking at plain ASCII only: eight bytes at a time, then one by one.
func plainLen(s []byte) int {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := le.Uint64(s[i:])
		quote := x ^ '"'*ones
		slash := x ^ '\\'*ones
		del := x ^ 0x7f*ones
		// Each term sets the high bit of a byte that is below 0x20, or equal to
		// the character; x itself has it set from 0x80 on. A borrow may set
		// one too many, which only sends us to the loop below.
		if ((x-0x20*ones)|(quote-ones)&^quote|(slash-ones)&^slash|(del-ones)&^del|x)&high != 0 {
			break
		}
	}
	for i < len(s) && plain[s[i]] {
		i++
	}
	return i
}

// appendEscaped appends s for use inside a JSON string, without the quotes.
func appendEscaped(dst, s []byte) []byte {
	for {
		n := plainLen(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return dst
		}
		s = s[n:]
		switch b := s[0]; {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b == '\n':
			dst = append(dst, '\\', 'n')
		case b == '\r':
			dst = append(dst, '\\', 'r')
		case b == '\t':
			dst = append(dst, '\\', 't')
		case b < utf8.RuneSelf:
			dst = appendRune(dst, rune(b))
		default:
			r, size := utf8.DecodeRune(s)
			switch {
			case r == utf8.RuneError && size == 1:
				dst = append(dst, `\ufffd`...)
			case unsafeRune(r):
				dst = appendRune(dst, r)
			default:
				dst = append(dst, s[:size]...)
			}
			s = s[size:]
			continue
		}
		s = s[1:]
	}
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendRawJSON appends a valid JSON value on one line: white space between tokens
// is left out, and inside strings (the only place where they can be) unsafe
// characters are escaped.
func appendRawJSON(dst, v []byte) []byte {
	for len(v) > 0 {
		switch b := v[0]; {
		case b == '"':
			end := stringEnd(v)
			dst = append(dst, '"')
			dst = appendJSONString(dst, v[1:end-1])
			dst = append(dst, '"')
			v = v[end:]
			continue
		case b > ' ': // JSON's white space is all at or below it
			dst = append(dst, b)
		}
		v = v[1:]
	}
	return dst
}

// stringEnd returns the length of the JSON string that v begins with.
func stringEnd(v []byte) int {
	i := 1
	for v[i] != '"' {
		if v[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}

// appendJSONString appends the inside of a valid JSON string. Its escapes stay;
// what they may not hide in is a raw unsafe character.
func appendJSONString(dst, s []byte) []byte {
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] < utf8.RuneSelf && s[n] != 0x7f {
			n++
		}
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			break
		}
		r, size := utf8.DecodeRune(s)
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, `\ufffd`...)
		case r == 0x7f || unsafeRune(r):
			dst = appendRune(dst, r)
		default:
			dst = append(dst, s[:size]...)
		}
		s = s[size:]
	}
	return dst
}
