package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
)

// How a configuration value is printed. Numbers keep the digits they were
// written with.

// indented is for people.
func indented(value json.RawMessage) (string, error) {
	var b bytes.Buffer
	err := json.Indent(&b, value, "", "  ")
	return b.String(), err
}

// compact is JSON on one line.
func compact(value json.RawMessage) (string, error) {
	var b bytes.Buffer
	err := json.Compact(&b, value)
	return b.String(), err
}

// plain is for scripts: a string is printed as it is, anything else as compact.
func plain(value json.RawMessage) (string, error) {
	if !bytes.HasPrefix(value, []byte{'"'}) {
		return compact(value)
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err
}

// plainLine is plain, but JSON for a string that would not stay on one line.
func plainLine(value json.RawMessage) (string, error) {
	s, err := plain(value)
	if strings.ContainsFunc(s, unicode.IsControl) {
		return compact(value)
	}
	return s, err
}
