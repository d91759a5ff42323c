package seqlock

import (
	"fmt"
	"hash/fnv"
	"io"
	"reflect"
)

// layout is what construction learns about T, once, by reflection.
type layout struct {
	size   int
	schema uint64
	bools  []uintptr // offsets of bools, which a load has to normalise
}

// Schema returns a hash of T's memory layout: kinds, offsets, sizes and field
// names, but not the name of T. Two builds that disagree about it would misread
// each other; a latch of the typed forms keeps it in its header, and it suits any
// other place that needs such a number.
//
// T may be made of bools, sized and unsized integers, floats, complex numbers,
// and arrays and structs of them, exported or not. Everything that holds an
// address (pointers, strings, slices, maps, interfaces, functions, channels,
// uintptr) is refused with a *[TypeError] that names the field: an address means
// nothing in another process.
func Schema[T any]() (uint64, error) {
	lay, err := layoutOf(reflect.TypeFor[T]())
	return lay.schema, err
}

func typed[T any](f form, slots int) (geometry, layout, error) {
	lay, err := layoutOf(reflect.TypeFor[T]())
	if err != nil {
		return geometry{}, layout{}, err
	}
	return geometry{form: f, payload: lay.size, slots: slotsOr(slots, lay.size), schema: lay.schema}, lay, nil
}

func layoutOf(t reflect.Type) (layout, error) {
	if t.Size() == 0 {
		return layout{}, &TypeError{Type: t.String(), Reason: "has no size, there is nothing to share"}
	}
	if t.Size() > MaxPayload {
		return layout{}, &TypeError{Type: t.String(), Reason: fmt.Sprintf("%d bytes, at most %d can be shared", t.Size(), MaxPayload)}
	}
	h := fnv.New64a()
	if path, reason := describe(h, t); reason != "" {
		return layout{}, &TypeError{Type: t.String(), Path: path, Reason: reason}
	}
	lay := layout{size: int(t.Size()), schema: h.Sum64()}
	lay.bools = boolsOf(lay.bools, t, 0)
	return lay, nil
}

// describe writes the layout of t to h, or says which part of t must not be
// shared and why.
func describe(h io.Writer, t reflect.Type) (path, reason string) {
	fmt.Fprintf(h, "%v %d;", t.Kind(), t.Size())
	switch t.Kind() {
	case reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return "", ""
	case reflect.Array:
		fmt.Fprintf(h, "[%d]", t.Len())
		path, reason = describe(h, t.Elem())
		return "[]" + path, reason
	case reflect.Struct:
		for f := range t.Fields() {
			fmt.Fprintf(h, "%s@%d:", f.Name, f.Offset)
			if path, reason = describe(h, f.Type); reason != "" {
				return "." + f.Name + path, reason
			}
		}
		return "", ""
	}
	return "", fmt.Sprintf("a %v holds an address, which means nothing in another process", t.Kind())
}

// boolsOf appends the offsets of t's bools, t being at offset at.
func boolsOf(list []uintptr, t reflect.Type, at uintptr) []uintptr {
	switch t.Kind() {
	case reflect.Bool:
		return append(list, at)
	case reflect.Array:
		if boolsOf(nil, t.Elem(), 0) == nil {
			return list // do not walk a large array of numbers
		}
		for i := range t.Len() {
			list = boolsOf(list, t.Elem(), at+uintptr(i)*t.Elem().Size())
		}
	case reflect.Struct:
		for f := range t.Fields() {
			list = boolsOf(list, f.Type, at+f.Offset)
		}
	}
	return list
}

// normalise makes each bool in a value that came from another process 0 or 1. The
// compiler relies on that, down to leaving out bounds checks.
func normalise(value []byte, bools []uintptr) {
	for _, off := range bools {
		if value[off] > 1 {
			value[off] = 1
		}
	}
}
