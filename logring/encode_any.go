package logring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// any appends a value of a type that slog has no kind for, in the form that
// slog's JSONHandler gives it: an error as its text, anything else as
// encoding/json has it. Where encoding/json cannot (a channel, a function, a
// cycle), a Stringer is asked, and else the error is the value. All of it runs
// in the worker, and a panic in the value's own code is caught.
func (e *encoder) any(key string, v any) {
	mark, cut, depth := len(e.buf), e.cut, e.depth
	defer func() {
		if r := recover(); r != nil {
			e.buf, e.cut, e.depth = e.buf[:mark], cut, depth
			e.text(key, panicText(v, r))
		}
	}()
	if err, ok := v.(error); ok {
		if _, isJSON := v.(json.Marshaler); !isJSON {
			e.text(key, err.Error())
			return
		}
	}
	j := jsonEncoders.Get().(*jsonEncoder)
	j.buf.Reset()
	if err := j.enc.Encode(v); err == nil {
		e.json(key, bytes.TrimSuffix(j.buf.Bytes(), []byte("\n")))
		if j.buf.Cap() <= 64<<10 {
			jsonEncoders.Put(j)
		}
	} else if s, ok := v.(fmt.Stringer); ok {
		e.text(key, s.String())
	} else {
		e.text(key, "!ERROR:"+err.Error())
	}
}

// panicText is what slog's own handlers say. A nil pointer whose method does not
// expect one is the usual cause, and no news.
func panicText(v, r any) string {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
		return "<nil>"
	}
	return fmt.Sprintf("!PANIC: %v", r)
}

// A jsonEncoder is used again only after a success: one that failed may keep
// the error.
type jsonEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var jsonEncoders = sync.Pool{New: func() any {
	j := &jsonEncoder{}
	j.enc = json.NewEncoder(&j.buf)
	j.enc.SetEscapeHTML(false)
	return j
}}
