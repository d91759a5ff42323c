package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"sync"
)

var (
	// ErrGone: the connection to the owner has ended, before the call or under it.
	ErrGone = errors.New("the owner is gone, or has closed the connection")

	// ErrNotOffered: the owner has such a function, but not for this worker.
	ErrNotOffered = errors.New("not offered to this worker")

	// ErrTooLarge: arguments or results do not fit one message.
	ErrTooLarge = errors.New("message too large")

	// ErrWorkerGone is the cause of the context of a call whose worker is dead, or
	// has let go of its connection.
	ErrWorkerGone = errors.New("call: the worker of this call is gone")
)

// An Error says which call failed. Err is what the owner's function returned (a
// [*RemoteError]), the error of the caller's context, or one of this package.
type Error struct {
	Name   string // of the server
	Method string
	Sent   bool // the call was handed over: it may have run, whatever Err is
	Err    error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("call: %q.%s: %v", e.Name, e.Method, e.Err)
	if _, answered := e.Err.(*RemoteError); e.Sent && !answered {
		text += ": it may have run: ask before you repeat it"
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// A RemoteError is an error that a function of the owner returned. errors.Is and
// errors.As find in it what was registered on both sides.
type RemoteError struct {
	Text   string // as the owner's error had it
	causes []error
}

func (e *RemoteError) Error() string   { return e.Text }
func (e *RemoteError) Unwrap() []error { return e.causes }

// maxText bounds the text of an error on its way, in bytes.
const maxText = 8 << 10

type registered struct {
	target error        // for errors.Is…
	typ    reflect.Type // …or for errors.As
}

var (
	registryMu sync.RWMutex
	registry   = map[string]registered{}
)

func init() {
	for name, err := range map[string]error{
		"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
		"io.EOF": io.EOF, "io.ErrUnexpectedEOF": io.ErrUnexpectedEOF,
		"fs.ErrNotExist": fs.ErrNotExist, "fs.ErrExist": fs.ErrExist, "fs.ErrPermission": fs.ErrPermission,
		"fs.ErrInvalid": fs.ErrInvalid, "os.ErrClosed": os.ErrClosed,
		"os.ErrDeadlineExceeded": os.ErrDeadlineExceeded, "errors.ErrUnsupported": errors.ErrUnsupported,
		"call.ErrTooLarge": ErrTooLarge,
	} {
		RegisterError(name, err)
	}
}

// RegisterError lets errors.Is find target in a worker when the owner's function
// returned it or an error that wraps it. Call it in an init function or a
// package-level variable, so that both sides have it; a name taken twice panics.
// Those of context, io and io/fs are registered.
func RegisterError(name string, target error) { register(name, registered{target: target}) }

// RegisterErrorType lets errors.As find an E in a worker when there was one in the
// owner's error. It travels by encoding/json: its exported fields. E is a pointer
// to a struct or a struct.
func RegisterErrorType[E error](name string) {
	t := reflect.TypeFor[E]()
	if k := t.Kind(); k != reflect.Struct && (k != reflect.Pointer || t.Elem().Kind() != reflect.Struct) {
		panic(fmt.Sprintf("call: RegisterErrorType of %v: want a struct or a pointer to one", t))
	}
	register(name, registered{typ: t})
}

func register(name string, r registered) {
	registryMu.Lock()
	defer registryMu.Unlock()
	if _, dup := registry[name]; dup {
		panic("call: error " + name + " registered twice")
	}
	registry[name] = r
}

// errorBody is the body of an error message.
type errorBody struct {
	Text string                     `json:"text"`
	Is   []string                   `json:"is,omitempty"`
	As   map[string]json.RawMessage `json:"as,omitempty"`
}

// encodeError makes the body of an error message of at most limit bytes. What does
// not fit loses its typed causes first: the text is for people, and always there.
func encodeError(err error, limit int) []byte {
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	body := errorBody{Text: cut(text, maxText), As: map[string]json.RawMessage{}}
	registryMu.RLock()
	for name, r := range registry {
		if r.target != nil {
			if errors.Is(err, r.target) {
				body.Is = append(body.Is, name)
			}
			continue
		}
		v := reflect.New(r.typ)
		if errors.As(err, v.Interface()) {
			if text, e := json.Marshal(v.Elem().Interface()); e == nil {
				body.As[name] = text
			}
		}
	}
	registryMu.RUnlock()
	for {
		b, e := json.Marshal(body)
		switch {
		case e == nil && len(b) <= limit:
			return b
		case len(body.As) > 0:
			body.As = nil
		case len(body.Is) > 0:
			body.Is = nil
		default:
			body.Text = cut(body.Text, len(body.Text)/2)
		}
	}
}

// cut shortens a text to n bytes, at the edge of a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func decodeError(b []byte) error {
	var body errorBody
	if err := json.Unmarshal(b, &body); err != nil {
		return fmt.Errorf("the owner's error cannot be read: %w", err)
	}
	e := &RemoteError{Text: body.Text}
	registryMu.RLock()
	defer registryMu.RUnlock()
	for _, name := range body.Is {
		if r := registry[name]; r.target != nil {
			e.causes = append(e.causes, r.target)
		}
	}
	for name, text := range body.As {
		r := registry[name]
		if r.typ == nil {
			continue
		}
		v := reflect.New(r.typ)
		if json.Unmarshal(text, v.Interface()) == nil {
			if cause, ok := v.Elem().Interface().(error); ok && !isNil(v.Elem()) {
				e.causes = append(e.causes, cause)
			}
		}
	}
	return e
}

func isNil(v reflect.Value) bool { return v.Kind() == reflect.Pointer && v.IsNil() }
