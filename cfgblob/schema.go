package cfgblob

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// SchemaOf returns a hash of the documents that T describes: keys, kinds and
// nesting, whatever T's own name and the order of its fields. As
// StoreOptions.Schema it tells a reader whether the owner's build means the same
// configuration.
func SchemaOf[T any]() uint64 { return schemaOf(reflect.TypeFor[T]()) }

func schemaOf(t reflect.Type) uint64 {
	var b strings.Builder
	describe(&b, t, map[reflect.Type]int{})
	return xxhash.Sum64String(b.String())
}

// describe writes the shape of t; within holds the structs around it, since
// types may be recursive.
func describe(b *strings.Builder, t reflect.Type, within map[reflect.Type]int) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Interface {
		switch reflect.New(t).Interface().(type) {
		case json.Unmarshaler, encoding.TextUnmarshaler:
			b.WriteString(t.String())
			return
		}
	}
	switch t.Kind() {
	case reflect.Struct:
		if up, ok := within[t]; ok {
			fmt.Fprintf(b, "^%d", len(within)-up)
			return
		}
		within[t] = len(within)
		b.WriteByte('{')
		for _, f := range fieldsOf(t) {
			fmt.Fprintf(b, "%q:", f.name)
			if f.quoted {
				b.WriteByte('s')
			}
			describe(b, f.typ, within)
			b.WriteByte(',')
		}
		b.WriteByte('}')
		delete(within, t)
	case reflect.Map:
		b.WriteByte('<')
		describe(b, t.Key(), within)
		b.WriteByte('>')
		describe(b, t.Elem(), within)
	case reflect.Slice:
		b.WriteString("[]")
		describe(b, t.Elem(), within)
	case reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		describe(b, t.Elem(), within)
	default:
		b.WriteString(t.Kind().String())
	}
}
