package sqlproxy

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"
)

// A value is one byte that says what it is, and its bytes. The kinds below are the
// driver.Value types; any other argument of a basic kind travels as kindBasic with
// its reflect.Kind, and as kindSlice when it is a slice of these, so that the
// driver in the node sees what it would have been given directly.
const (
	kindNil = iota
	kindInt64
	kindFloat64
	kindFalse
	kindTrue
	kindString
	kindBytes
	kindTime
	kindBasic // u8 reflect.Kind, u64
	kindSlice // u8 reflect.Kind or kindString/kindBytes-like element, uvarint n, values
	kindNamed // name, value
)

// maxDepth bounds slices of slices.
const maxDepth = 4

// appendValue appends v. ok is false if v is of a type that does not travel.
func appendValue(b []byte, v any) (_ []byte, ok bool) {
	switch v := v.(type) {
	case nil:
		return append(b, kindNil), true
	case int64:
		return binary.LittleEndian.AppendUint64(append(b, kindInt64), uint64(v)), true
	case string:
		return appendBytes(append(b, kindString), v), true
	case []byte:
		if v == nil {
			return append(b, kindSlice, byte(reflect.Uint8), 0), true // a nil slice is NULL for some drivers
		}
		return appendBytes(append(b, kindBytes), v), true
	case float64:
		return binary.LittleEndian.AppendUint64(append(b, kindFloat64), math.Float64bits(v)), true
	case bool:
		if v {
			return append(b, kindTrue), true
		}
		return append(b, kindFalse), true
	case time.Time:
		return appendTime(append(b, kindTime), v), true
	case sql.NamedArg:
		return appendValue(appendBytes(append(b, kindNamed), v.Name), v.Value)
	}
	return appendReflect(b, reflect.ValueOf(v), maxDepth)
}

func appendReflect(b []byte, v reflect.Value, depth int) (_ []byte, ok bool) {
	basic := func(x uint64) ([]byte, bool) {
		return binary.LittleEndian.AppendUint64(append(b, kindBasic, byte(v.Kind())), x), true
	}
	switch k := v.Kind(); k {
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, kindNil), true
		}
		return appendReflect(b, v.Elem(), depth-1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return basic(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return basic(v.Uint())
	case reflect.Float32, reflect.Float64:
		return basic(math.Float64bits(v.Float()))
	case reflect.Bool, reflect.String:
		if k == reflect.Bool {
			return appendValue(b, v.Bool())
		}
		return appendValue(b, v.String())
	case reflect.Slice:
		if depth <= 0 {
			return b, false
		}
		if v.Type().Elem().Kind() == reflect.Uint8 && !v.IsNil() {
			return appendBytes(append(b, kindBytes), v.Bytes()), true
		}
		if elemType(v.Type().Elem().Kind()) == nil {
			return b, false
		}
		b = binary.AppendUvarint(append(b, kindSlice, byte(v.Type().Elem().Kind())), uint64(v.Len()))
		for i := range v.Len() {
			if b, ok = appendReflect(b, v.Index(i), depth-1); !ok {
				return b, false
			}
		}
		return b, true
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			return appendTime(append(b, kindTime), t), true
		}
	}
	return b, false
}

var basicTypes = map[reflect.Kind]reflect.Type{
	reflect.Int: reflect.TypeFor[int](), reflect.Int8: reflect.TypeFor[int8](), reflect.Int16: reflect.TypeFor[int16](),
	reflect.Int32: reflect.TypeFor[int32](), reflect.Int64: reflect.TypeFor[int64](),
	reflect.Uint: reflect.TypeFor[uint](), reflect.Uint8: reflect.TypeFor[uint8](), reflect.Uint16: reflect.TypeFor[uint16](),
	reflect.Uint32: reflect.TypeFor[uint32](), reflect.Uint64: reflect.TypeFor[uint64](),
	reflect.Float32: reflect.TypeFor[float32](), reflect.Float64: reflect.TypeFor[float64](),
	reflect.Bool: reflect.TypeFor[bool](), reflect.String: reflect.TypeFor[string](),
}

// elemType is the type of the elements of a slice that travels; nil if there is none.
func elemType(k reflect.Kind) reflect.Type {
	if t, ok := basicTypes[k]; ok {
		return t
	}
	switch k {
	case reflect.Slice:
		return reflect.TypeFor[[]byte]() // [][]byte is the one slice of slices that drivers take
	case reflect.Struct:
		return reflect.TypeFor[time.Time]()
	}
	return nil
}

// value reads one value. With alias, []byte values point into the input.
func (d *decoder) value(alias bool) any { return d.valueDepth(alias, maxDepth) }

func (d *decoder) valueDepth(alias bool, depth int) any {
	switch d.u8() {
	case kindNil:
		return nil
	case kindInt64:
		return int64(d.u64())
	case kindString:
		return d.string()
	case kindBytes:
		v := d.bytes()
		if alias && v != nil {
			return v
		}
		return append([]byte{}, v...)
	case kindFloat64:
		return math.Float64frombits(d.u64())
	case kindFalse:
		return false
	case kindTrue:
		return true
	case kindTime:
		return d.time()
	case kindBasic:
		return d.basic()
	case kindSlice:
		if depth > 0 {
			return d.slice(depth)
		}
	case kindNamed:
		name := d.string()
		if depth == maxDepth {
			return sql.NamedArg{Name: name, Value: d.valueDepth(alias, depth-1)}
		}
	}
	d.bad, d.b = true, nil
	return nil
}

func (d *decoder) basic() any {
	k, x := reflect.Kind(d.u8()), d.u64()
	t, ok := basicTypes[k]
	if !ok || k == reflect.Bool || k == reflect.String {
		d.bad, d.b = true, nil
		return nil
	}
	v := reflect.New(t).Elem()
	switch {
	case v.CanInt():
		v.SetInt(int64(x))
	case v.CanUint():
		v.SetUint(x)
	default:
		v.SetFloat(math.Float64frombits(x))
	}
	return v.Interface()
}

func (d *decoder) slice(depth int) any {
	t, n := elemType(reflect.Kind(d.u8())), d.uvarint()
	if t == nil || n > uint64(len(d.b)) { // each element takes a byte at least
		d.bad, d.b = true, nil
		return nil
	}
	if t.Kind() == reflect.Uint8 && n == 0 {
		return []byte(nil)
	}
	s := reflect.Zero(reflect.SliceOf(t))
	for range n {
		v := reflect.ValueOf(d.valueDepth(false, depth-1))
		if d.bad || !v.IsValid() || v.Type() != t {
			d.bad, d.b = true, nil
			return nil
		}
		s = reflect.Append(s, v)
	}
	return s.Interface()
}

// A time keeps its location: by name, and by offset where the name means nothing.
func appendTime(b []byte, t time.Time) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
	_, offset := t.Zone()
	b = binary.LittleEndian.AppendUint32(b, uint32(int32(offset)))
	return appendBytes(b, t.Location().String())
}

func (d *decoder) time() time.Time {
	sec, nsec, offset := int64(d.u64()), d.u32(), int32(d.u32())
	name := d.bytes()
	if d.bad || nsec >= 1e9 {
		d.bad, d.b = true, nil
		return time.Time{}
	}
	t := time.Unix(sec, int64(nsec))
	switch string(name) {
	case "UTC":
		return t.UTC()
	case "Local":
		return t
	}
	return t.In(zoneOf(string(name), int(offset)))
}

type zoneKey struct {
	name   string
	offset int
}

// zones holds the locations that have been seen, up to maxZones.
var zones struct {
	sync.Mutex
	m map[zoneKey]*time.Location
}

const maxZones = 1024

func zoneOf(name string, offset int) *time.Location {
	k := zoneKey{name, offset}
	zones.Lock()
	defer zones.Unlock()
	if l, ok := zones.m[k]; ok {
		return l
	}
	l := time.FixedZone(name, offset)
	if len(name) < 64 && name != "" {
		if named, err := time.LoadLocation(name); err == nil {
			l = named
		}
	}
	if zones.m == nil || len(zones.m) >= maxZones {
		zones.m = map[zoneKey]*time.Location{}
	}
	zones.m[k] = l
	return l
}

// appendArgs encodes arguments: those with a name as sql.NamedArg.
func appendArgs(b []byte, args []any) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(args)))
	for i, a := range args {
		var ok bool
		if b, ok = appendValue(b, a); !ok {
			return b, fmt.Errorf("sql: converting argument $%d type: unsupported type %T, a %s", i+1, a, reflect.TypeOf(a).Kind())
		}
	}
	return b, nil
}

func (d *decoder) args() []any {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	if n == 0 {
		return nil
	}
	args := make([]any, 0, min(n, 64))
	for range n {
		args = append(args, d.value(false))
		if d.bad {
			return nil
		}
	}
	return args
}
