package sqlitedb

import (
	"encoding/binary"
	"errors"
	"reflect"

	"modernc.org/sqlite"

	"shmkit/dataio/sqlproxy"
)

// Importing this package lets *sqlite.Error travel from the node to its workers, so
// that errors.As finds it there, with its code.
func init() { sqlproxy.RegisterCodec("sqlite", codec{}) }

type codec struct{}

func (codec) Encode(err error) ([]byte, bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return nil, false
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(e.Code())), e.Error()...), true
}

func (codec) Decode(data []byte) (error, bool) {
	if len(data) < 8 {
		return nil, false
	}
	e := &sqlite.Error{}
	ok := set(e, "code", int(binary.LittleEndian.Uint64(data))) && set(e, "msg", string(data[8:]))
	return e, ok && e.Error() == string(data[8:])
}

// set stores v in a field of e, which the driver offers no way to make. It reports
// false in a version of the driver that has no such field.
func set[T any](e *sqlite.Error, field string, v T) bool {
	f := reflect.ValueOf(e).Elem().FieldByName(field)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return false
	}
	reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(v))
	return true
}
