package call

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// MaxMessage is the largest Options.MaxMessage, in bytes: what the buffer of a
// socket holds for certain.
const MaxMessage = 64 << 10

const headerSize = 16

const (
	kindCall   = 1
	kindCancel = 2
	kindResult = 3
	kindError  = 4
)

// A frame is one message; see the package documentation for its bytes.
type frame struct {
	id      uint32
	kind    uint16
	method  uint16
	timeout time.Duration
	body    []byte
}

// newMessage begins a message; what is appended to it is its body.
func newMessage(f frame) []byte {
	b := make([]byte, headerSize, 256)
	binary.LittleEndian.PutUint32(b[0:], f.id)
	binary.LittleEndian.PutUint16(b[4:], f.kind)
	binary.LittleEndian.PutUint16(b[6:], f.method)
	binary.LittleEndian.PutUint64(b[8:], uint64(f.timeout))
	return b
}

// parseFrame takes a message apart. The body is part of b.
func parseFrame(b []byte) (f frame, err error) {
	if len(b) < headerSize {
		return f, fmt.Errorf("message of %d bytes, at least %d", len(b), headerSize)
	}
	f = frame{
		id:      binary.LittleEndian.Uint32(b[0:]),
		kind:    binary.LittleEndian.Uint16(b[4:]),
		method:  binary.LittleEndian.Uint16(b[6:]),
		timeout: time.Duration(binary.LittleEndian.Uint64(b[8:])),
		body:    b[headerSize:],
	}
	if f.timeout < 0 {
		return f, fmt.Errorf("time left of %d ns", uint64(f.timeout))
	}
	return f, nil
}

var bytesType = reflect.TypeFor[[]byte]()

// appendValue appends one value with its length.
func appendValue(b []byte, v reflect.Value) ([]byte, error) {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	if v.Type() == bytesType {
		b = append(b, v.Bytes()...)
	} else {
		text, err := json.Marshal(v.Interface())
		if err != nil {
			return nil, err
		}
		b = append(b, text...)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b, nil
}

// errShort: the other side has not sent the values that the signature asks for.
var errShort = errors.New("a value is cut short or left over: worker and owner are not the same program: restart the worker")

// readValues reads exactly one value of each type from body. They share nothing
// with it.
func readValues(body []byte, types []reflect.Type, out []reflect.Value) ([]reflect.Value, error) {
	for i, t := range types {
		if len(body) < 4 {
			return nil, errShort
		}
		n := binary.LittleEndian.Uint32(body)
		if body = body[4:]; uint64(n) > uint64(len(body)) {
			return nil, errShort
		}
		v := reflect.New(t)
		if t == bytesType {
			v.Elem().SetBytes(append([]byte(nil), body[:n]...))
		} else if err := json.Unmarshal(body[:n], v.Interface()); err != nil {
			return nil, fmt.Errorf("value %d: %w", i+1, err)
		}
		body = body[n:]
		out = append(out, v.Elem())
	}
	if len(body) > 0 {
		return nil, errShort
	}
	return out, nil
}
