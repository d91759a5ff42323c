package cfgblob

import (
	"encoding/json"
	"errors"
	"fmt"
)

// What worker and owner say to each other over the worker's control socket: one
// JSON object a message.
//
//	owner → worker   {"op":"move","id":1} and a file: go on with this segment
//	worker → owner   {"op":"moved","id":1}
//	worker → owner   {"op":"set","id":1,"key":"batch.size","value":64,"if_version":7}
//	                 {"op":"unset","id":2,"key":"batch.size"}
//	owner → worker   {"op":"done","id":1,"version":8}
//	                 {"op":"done","id":2,"version":8,"error":"…","code":"denied"}
//
// Who asks is known by the socket; nothing in the message says it.
type message struct {
	Op        string          `json:"op"`
	ID        uint64          `json:"id,omitempty"`
	Key       string          `json:"key,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	IfVersion uint64          `json:"if_version,omitempty"`
	Version   uint64          `json:"version,omitempty"`
	Error     string          `json:"error,omitempty"`
	Code      string          `json:"code,omitempty"`
}

const (
	opMove  = "move"
	opMoved = "moved"
	opSet   = "set"
	opUnset = "unset"
	opDone  = "done"

	// maxRequest bounds a message, as a control socket does.
	maxRequest = 64 << 10
)

func (m message) encode() []byte {
	b, _ := json.Marshal(m) // of strings, numbers and valid JSON
	return b
}

// The classes of error that keep their identity on the way.
var codes = []struct {
	code string
	err  error
}{
	{"no-key", ErrNoKey},
	{"conflict", ErrConflict},
	{"too-large", ErrTooLarge},
	{"denied", ErrDenied},
	{"no-version", ErrNoVersion},
	{"no-canary", ErrNoCanary},
	{"canary", ErrCanary},
	{"rejected", ErrRejected},
}

// Code names the class of an error of this package, for a protocol that carries
// errors to another process; "" if it has none. [CodeError] is the way back.
func Code(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return ""
}

// CodeError returns the error that [Code] named; nil if it named none.
func CodeError(code string) error {
	for _, c := range codes {
		if c.code == code {
			return c.err
		}
	}
	return nil
}

// A RequestError is the owner's refusal of a worker's request, in the owner's
// words. It matches the error of this package that it is about.
type RequestError struct {
	Text string
	kind error
}

func (e *RequestError) Error() string { return e.Text }

// Unwrap returns ErrConflict, ErrDenied and their like.
func (e *RequestError) Unwrap() error { return e.kind }

// answer does what a worker asks for, if it may; not wanted says that there is
// nothing to answer.
func (l *lease) answer(payload []byte) (a message, wanted bool) {
	var m message
	if len(payload) > maxRequest || json.Unmarshal(payload, &m) != nil {
		return message{Op: opDone, Error: "cfgblob: a request that is no request"}, true
	}
	if m.Op == opMoved {
		l.store.mu.Lock()
		defer l.store.mu.Unlock()
		l.arrived = min(max(l.arrived, m.ID), l.moves)
		return a, false
	}
	version, err := l.store.request(l.who, m)
	a = message{Op: opDone, ID: m.ID, Version: version}
	if err != nil {
		a.Error, a.Code = err.Error(), Code(err)
	}
	return a, true
}

func (s *Store) request(who member, m message) (version uint64, err error) {
	author := fmt.Sprintf("%s/%d", who.group, who.rank)
	elems, err := splitPath(m.Key)
	if err != nil {
		return s.Version(), err
	}
	if !s.granted(who, elems) {
		return s.Version(), &DeniedError{s.o.Name, author, m.Key}
	}
	edit := func(doc map[string]any) error { return unsetPath(doc, m.Key) }
	switch m.Op {
	case opSet:
		value, err := parseValue(m.Value)
		if err != nil {
			return s.Version(), err
		}
		edit = func(doc map[string]any) error { return setPath(doc, m.Key, value) }
	case opUnset:
	default:
		return s.Version(), fmt.Errorf("cfgblob: unknown request %q: owner and worker are of different builds: restart the worker", m.Op)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The worker compares with its own document, and changes everybody's.
	if now, err := s.expect(m.IfVersion, who); err != nil {
		return now, err
	}
	tree, err := s.edited(member{}, edit)
	if err != nil {
		return s.general.snap.Version, s.secrets.cleanKey(err, elems)
	}
	return s.replace(author, m.Op+" "+m.Key, Audience{}, tree)
}
