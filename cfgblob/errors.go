package cfgblob

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of failure, for errors.Is. Each is reported as a struct that names
// the object and what to do.
var (
	// ErrNoKey: the path names nothing in the document. See [KeyError].
	ErrNoKey = errors.New("no such key")
	// ErrConflict: the version that the change was made for is no longer the
	// current one. See [ConflictError].
	ErrConflict = errors.New("version conflict")
	// ErrTooLarge: the document does not fit the store. See [SizeError].
	ErrTooLarge = errors.New("document too large")
	// ErrRejected: the document is refused; the old version stays. See
	// [RejectedError].
	ErrRejected = errors.New("document rejected")
	// ErrDenied: the worker may not change that key. See [DeniedError].
	ErrDenied = errors.New("change denied")
	// ErrCorrupt: shared memory does not hold what the format asks for. See
	// [CorruptError].
	ErrCorrupt = errors.New("corrupt blob")
)

// A KeyError says that a path names nothing, and what there is instead.
// It matches ErrNoKey.
type KeyError struct {
	Path  string   // the path asked for
	Where string   // the deepest part of it that exists; "" is the document
	Near  string   // path of a key with almost this name, if there is one
	Have  []string // keys at Where, sorted, at most a handful
	Other int      // how many more keys there are at Where
	Kind  string   // what Where is if it has no such keys: "a string", "an array of 3"…
}

func (e *KeyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cfgblob: no key %q: ", e.Path)
	if e.Near != "" {
		fmt.Fprintf(&b, "did you mean %q? ", e.Near)
	}
	where := "the document"
	if e.Where != "" {
		where = fmt.Sprintf("%q", e.Where)
	}
	switch {
	case e.Kind != "":
		fmt.Fprintf(&b, "%s is %s", where, e.Kind)
	case len(e.Have) == 0:
		fmt.Fprintf(&b, "%s is empty", where)
	default:
		fmt.Fprintf(&b, "%s has %s", where, listKeys(e.Have, e.Other))
	}
	return b.String()
}

// Is makes a KeyError an ErrNoKey.
func (e *KeyError) Is(target error) bool { return target == ErrNoKey }

// A PathError says that a path itself is malformed, or that a value cannot be
// put where it points.
type PathError struct {
	Path   string
	Reason string
}

func (e *PathError) Error() string {
	return fmt.Sprintf("cfgblob: path %q: %s", e.Path, e.Reason)
}

// A SyntaxError says where a document stops being acceptable JSON.
type SyntaxError struct {
	Line   int    // from 1
	Column int    // in bytes, from 1
	Path   string // the value being read; "" at the top
	Reason string
}

func (e *SyntaxError) Error() string {
	at := ""
	if e.Path != "" {
		at = fmt.Sprintf(", at key %q", e.Path)
	}
	return fmt.Sprintf("cfgblob: line %d, column %d%s: %s", e.Line, e.Column, at, e.Reason)
}

// A FieldError says which key of a document does not fit the configuration
// type, and what the type expects there. It never carries the value.
type FieldError struct {
	Path   string
	Expect string   // "an integer"…; "" if the key is unknown
	Have   string   // "a string"…; "" if the key is unknown, or missing
	Near   string   // path of the known key that was probably meant
	Known  []string // keys that are known there, sorted, at most a handful
	Other  int      // how many more there are
	Err    error    // what a type that decodes itself had to say
}

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }

func (e *FieldError) Error() string {
	if e.Expect != "" && e.Have == "" {
		return fmt.Sprintf("cfgblob: key %q is required and missing: expects %s", e.Path, e.Expect)
	}
	if e.Expect != "" {
		if e.Path == "" {
			return fmt.Sprintf("cfgblob: the document: expects %s, has %s", e.Expect, e.Have)
		}
		return fmt.Sprintf("cfgblob: key %q: expects %s, has %s", e.Path, e.Expect, e.Have)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "cfgblob: unknown key %q", e.Path)
	if e.Near != "" {
		fmt.Fprintf(&b, ": did you mean %q?", e.Near)
	} else if len(e.Known) > 0 {
		fmt.Fprintf(&b, ": known here: %s", listKeys(e.Known, e.Other))
	}
	return b.String()
}

// A ValueError says that a Go value has no JSON form.
type ValueError struct {
	Path string
	Err  error
}

func (e *ValueError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("cfgblob: value: %s", e.Err)
	}
	return fmt.Sprintf("cfgblob: value for key %q: %s", e.Path, e.Err)
}

func (e *ValueError) Unwrap() error { return e.Err }

// A RejectedError says that a document was not published and which version
// stays current. It matches ErrRejected and its cause.
type RejectedError struct {
	Name    string // of the store
	Version uint64 // still current; 0 if there is none yet
	For     string // the worker whose document it is, if it is not the general one
	Err     error
}

func (e *RejectedError) Error() string {
	stays := "nothing is published"
	if e.Version > 0 {
		stays = fmt.Sprintf("version %d stays", e.Version)
	}
	if e.For != "" {
		stays += ", document of worker " + e.For
	}
	return fmt.Sprintf("cfgblob: %q: rejected, %s: %s", e.Name, stays, bare(e.Err))
}

// Unwrap makes a RejectedError an ErrRejected and whatever its cause is.
func (e *RejectedError) Unwrap() []error { return []error{ErrRejected, e.Err} }

// A ConflictError says that somebody else published first. It matches
// ErrConflict.
type ConflictError struct {
	Name    string    // of the store
	Want    uint64    // the version the change was made for
	Version uint64    // the version that is current
	Author  string    // who published that, and when
	Time    time.Time //
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("cfgblob: %q: change made for version %d, but version %d (by %q at %s) is current: read again and retry",
		e.Name, e.Want, e.Version, e.Author, e.Time.Format(time.RFC3339))
}

// Is makes a ConflictError an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// A DecodeError says that a version cannot be decoded into the type of a Live,
// and which one stays in use there.
type DecodeError struct {
	Name    string // of the store
	Version uint64 // that cannot be decoded
	InUse   uint64 // that Load returns; 0 if there is none
	Err     error  // often a *FieldError
}

func (e *DecodeError) Error() string {
	stays := ""
	if e.InUse > 0 {
		stays = fmt.Sprintf(": version %d stays in use", e.InUse)
	}
	return fmt.Sprintf("cfgblob: %q: version %d: %s%s", e.Name, e.Version, bare(e.Err), stays)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// A SizeError says by how much a document is too large. It matches
// ErrTooLarge.
type SizeError struct {
	Name  string // of the store
	Need  int    // bytes of JSON
	Limit int    // bytes of JSON
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("cfgblob: %q: document needs %d bytes, limit is %d: raise StoreOptions.MaxSize or shorten it",
		e.Name, e.Need, e.Limit)
}

// Is makes a SizeError an ErrTooLarge.
func (e *SizeError) Is(target error) bool { return target == ErrTooLarge }

// A CorruptError says what is wrong with the bytes in shared memory. It
// matches ErrCorrupt. The last good version stays in use.
type CorruptError struct {
	Name   string
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("cfgblob: %q: %s", e.Name, e.Reason)
}

// Is makes a CorruptError an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// bare is the message of err without this package's prefix, for use inside
// another of its messages.
func bare(err error) string { return strings.TrimPrefix(err.Error(), "cfgblob: ") }

// listKeys writes a few names, and how many are left out.
func listKeys(keys []string, other int) string {
	s := strings.Join(keys, ", ")
	if other > 0 {
		s += fmt.Sprintf(" and %d more", other)
	}
	return s
}

// ErrNoVersion: the history does not hold the version. See [HistoryError].
var ErrNoVersion = errors.New("no such version")

// A HistoryError says which versions there are. It matches ErrNoVersion.
type HistoryError struct {
	Name        string // of the store
	Version     uint64 // asked for
	First, Last uint64 // the oldest and the newest that are kept
}

func (e *HistoryError) Error() string {
	return fmt.Sprintf("cfgblob: %q: version %d is not kept: choose one from %d to %d, or keep more (StoreOptions.History)", e.Name, e.Version, e.First, e.Last)
}

// Is makes a HistoryError an ErrNoVersion.
func (e *HistoryError) Is(target error) bool { return target == ErrNoVersion }

// An OriginError says in which source the value stands that an error is about.
type OriginError struct {
	Source string // Layer.Name
	Where  string // Layer.Where; "" if not known
	Err    error
}

func (e *OriginError) Error() string {
	if e.Where != "" {
		return fmt.Sprintf("cfgblob: %s, %s: %s", e.Source, e.Where, bare(e.Err))
	}
	return fmt.Sprintf("cfgblob: %s: %s", e.Source, bare(e.Err))
}

func (e *OriginError) Unwrap() error { return e.Err }
