package koanfsource

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"shmkit/cfgblob"
)

// ErrUnknownFormat is the cause for a file name that ends in none of [Extensions].
var ErrUnknownFormat = errors.New("unknown file format")

// FileError says which file could not be used, and why.
type FileError struct {
	Path string // "" from a source: what is around names it
	Line int    // counted from 1; 0 when the parser does not tell
	Err  error

	cure string // "" for what follows from Err
}

func (e *FileError) Unwrap() error { return e.Err }

func (e *FileError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		fmt.Fprintf(&b, "koanfsource: %q", e.Path)
		if e.Line > 0 {
			b.WriteString(", ")
		} else {
			b.WriteString(": ")
		}
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	fmt.Fprintf(&b, "%s: %s", oneLine(e.Err.Error()), e.advice())
	return b.String()
}

func (e *FileError) advice() string {
	switch {
	case e.cure != "":
		return e.cure
	case errors.Is(e.Err, ErrUnknownFormat):
		return "name the file with one of " + strings.Join(Extensions(), " ")
	case errors.Is(e.Err, fs.ErrNotExist):
		return "check the path"
	case errors.Is(e.Err, fs.ErrPermission):
		return "make it readable"
	case isSystemError(e.Err):
		return "give a readable file"
	}
	return "correct the file"
}

// isSystemError reports whether the file could not even be read.
func isSystemError(err error) bool {
	var errno interface{ Temporary() bool } // syscall.Errno, without naming a system
	return errors.As(err, &errno)
}

// newParseError finds the line that a parser complains about and drops the
// prefixes that would only repeat what the message says already.
func newParseError(path string, err error) *FileError {
	var (
		syntax *cfgblob.SyntaxError
		decode *toml.DecodeError
		line   int
	)
	msg := err.Error()
	switch {
	case errors.As(err, &syntax):
		line, msg = syntax.Line, syntax.Reason
		if syntax.Path != "" {
			msg = fmt.Sprintf("key %q: %s", syntax.Path, msg)
		}
	case errors.As(err, &decode):
		line, _ = decode.Position()
		msg = strings.TrimPrefix(msg, "toml: ")
	default:
		msg, line = yamlMessage(msg)
	}
	return &FileError{Path: path, Line: line, Err: &parseError{msg, err}}
}

// parseError carries a tidied message, and the parser's own error as its cause.
type parseError struct {
	msg string
	err error
}

func (e *parseError) Error() string { return e.msg }
func (e *parseError) Unwrap() error { return e.err }

// yamlLine finds the position in the messages of yaml.v3, which has no typed
// error for it: "yaml: line 3: …" and "yaml: unmarshal errors:\n  line 3: …".
var yamlLine = regexp.MustCompile(`^\s*line (\d+): `)

func yamlMessage(msg string) (string, int) {
	msg = strings.TrimPrefix(msg, "yaml: ")
	msg = strings.TrimPrefix(msg, "unmarshal errors:\n")
	msg, _, _ = strings.Cut(msg, "\n") // the first of several complaints
	at := yamlLine.FindStringSubmatch(msg)
	if at == nil {
		return msg, 0
	}
	line, _ := strconv.Atoi(at[1])
	msg = msg[len(at[0]):]
	if strings.HasSuffix(msg, "into map[string]interface {}") {
		msg = "the file holds a list or a single value, not an object"
	}
	return msg, line
}

// oneLine keeps a message that quotes file content on one line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}
