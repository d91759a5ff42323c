package cfgblob

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ParseAssignment reads "key.path=value", the form of a command line.
//
// The key is everything before the first '=', a path as in [Lookup]; the value
// is everything after it, blanks included. A value that is JSON is that JSON
// value (true, 10, null, "x", [1,2], {"a":1}; numbers keep their digits as
// [json.Number]); anything else is the string itself, so that level=debug,
// version=1.10.2 and zip=01234 need no quotes. To force a string, quote it:
// port="8080".
//
// No '=', an empty key, an empty path element, bytes that are not UTF-8, and
// JSON that [Parse] would refuse (a key twice, too deep) are errors. They never
// quote the value.
func ParseAssignment(s string) (path string, value any, err error) {
	path, text, ok := strings.Cut(s, "=")
	switch {
	case !ok:
		return "", nil, &AssignmentError{path, fmt.Errorf("has no '=': write KEY=VALUE")}
	case path == "":
		return "", nil, &AssignmentError{path, fmt.Errorf("has no key before the '=': write KEY=VALUE")}
	case !utf8.ValidString(s):
		return "", nil, &AssignmentError{path, fmt.Errorf("is not valid UTF-8")}
	}
	if _, err := splitPath(path); err != nil {
		return "", nil, err
	}
	if !json.Valid([]byte(text)) {
		return path, text, nil
	}
	if value, err = parseValue([]byte(text)); err != nil {
		return "", nil, &AssignmentError{path, err}
	}
	return path, value, nil
}

// Assign applies assignments to doc in order: later ones see what earlier ones
// did, so that hosts.0=a hosts.1=b extends an array. It stops at the first
// error, with the earlier ones applied.
func Assign(doc map[string]any, assignments ...string) error {
	for _, a := range assignments {
		path, value, err := ParseAssignment(a)
		if err != nil {
			return err
		}
		if err := setPath(doc, path, value); err != nil {
			return err
		}
	}
	return nil
}

// An AssignmentError says why a KEY=VALUE cannot be used.
type AssignmentError struct {
	Key string // what stands before the '='
	Err error
}

func (e *AssignmentError) Error() string {
	return fmt.Sprintf("cfgblob: assignment %q %s", e.Key, bare(e.Err))
}

func (e *AssignmentError) Unwrap() error { return e.Err }
