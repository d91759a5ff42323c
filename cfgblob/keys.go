package cfgblob

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// A Key is one value that a configuration type has room for.
type Key struct {
	Path   string       // see [Lookup]
	Type   reflect.Type // never a pointer
	Secret bool         // see [Secret]
	Usage  string       // the field's `usage` tag, for help texts
}

// KeysOf lists the values that T has room for, sorted by path: its fields, and
// those of structs in it. Maps, slices and types that decode themselves are one
// value each. What lies below a recursive type is left out.
func KeysOf[T any]() []Key { return KeysOfType(reflect.TypeFor[T]()) }

// KeysOfType is [KeysOf] for a type that is only known while the program runs.
func KeysOfType(t reflect.Type) []Key {
	return appendKeys(nil, Key{Type: t}, nil, map[reflect.Type]bool{})
}

func appendKeys(list []Key, k Key, at []string, above map[reflect.Type]bool) []Key {
	for k.Type.Kind() == reflect.Pointer {
		k.Type = k.Type.Elem()
	}
	if k.Type.Kind() != reflect.Struct || decodesItself(k.Type) {
		k.Path = joinPath(at)
		return append(list, k)
	}
	if above[k.Type] {
		return list
	}
	above[k.Type] = true
	defer delete(above, k.Type)
	for _, f := range fieldsOf(k.Type) {
		below := Key{Type: f.typ, Secret: k.Secret || f.secret, Usage: f.usage}
		list = appendKeys(list, below, append(at[:len(at):len(at)], f.name), above)
	}
	return list
}

func decodesItself(t reflect.Type) bool {
	switch reflect.New(t).Interface().(type) {
	case json.Unmarshaler, encoding.TextUnmarshaler:
		return true
	}
	return false
}

// valueFor reads the text of a variable or a flag. A field that takes a string is
// given the text as it is; any other is given the JSON value that the text is, or
// else the text, about which the check of the document then complains.
func (k Key) valueFor(text string) any {
	if k.Type.Kind() == reflect.String || decodesItself(k.Type) && !strings.HasPrefix(text, `"`) {
		return text
	}
	if v, err := parseValue([]byte(text)); err == nil {
		return v
	}
	return text
}
