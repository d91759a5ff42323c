package cfgblob

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A checker walks a parsed document beside the type it is to be decoded into.
// It is there for what encoding/json leaves out: keys that no field takes, keys
// in the wrong case (which encoding/json takes), and errors that name the key.
type checker struct {
	strict bool       // unknown keys, nulls for values and surplus elements are errors
	path   []string   // of the value being looked at
	folded [][]string // not strict: paths of keys that only differ in case from a field
	times  []timeAt   // durations in words, which encoding/json does not know
}

// A timeAt is a duration, and where it stands.
type timeAt struct {
	path []string
	d    time.Duration
}

// value checks v, as parseValue returns it, against t. The error is a
// *FieldError.
func (c *checker) value(v any, t reflect.Type) error {
	for {
		if done, err := c.custom(v, t); done {
			return err
		}
		if t.Kind() != reflect.Pointer || v == nil {
			break
		}
		t = t.Elem()
	}
	if v == nil {
		switch t.Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
			return nil
		}
		if c.strict {
			return c.mismatch(v, t)
		}
		return nil // encoding/json leaves the field alone
	}
	switch t.Kind() {
	case reflect.Struct:
		return c.structure(v, t)
	case reflect.Map:
		return c.mapping(v, t)
	case reflect.Slice, reflect.Array:
		return c.list(v, t)
	case reflect.Interface:
		return nil
	case reflect.Bool:
		if _, ok := v.(bool); ok {
			return nil
		}
	case reflect.String:
		if _, ok := v.(string); ok {
			return nil
		}
	default:
		if n, ok := v.(json.Number); ok {
			return c.number(n, t)
		}
	}
	return c.mismatch(v, t)
}

// custom lets a type that decodes itself try v. Not done means that t does not.
func (c *checker) custom(v any, t reflect.Type) (done bool, err error) {
	if t == reflect.TypeFor[json.Number]() {
		if _, ok := v.(json.Number); ok {
			return true, nil
		}
		return true, c.mismatch(v, t)
	}
	if t.Kind() == reflect.Interface {
		return false, nil
	}
	if s, ok := v.(string); ok && t == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(s)
		if err != nil {
			return true, &FieldError{Path: joinPath(c.path), Expect: expected(t), Have: "a string that is none"}
		}
		c.times = append(c.times, timeAt{slices.Clone(c.path), d})
		return true, nil
	}
	switch p := reflect.New(t).Interface().(type) {
	case json.Unmarshaler:
		text, err := json.Marshal(v)
		if err == nil {
			err = p.UnmarshalJSON(text)
		}
		if err != nil {
			return true, c.refused(v, t, err)
		}
		return true, nil
	case encoding.TextUnmarshaler:
		s, ok := v.(string)
		if !ok {
			return v != nil, c.mismatchUnlessNull(v, t)
		}
		if err := p.UnmarshalText([]byte(s)); err != nil {
			return true, c.refused(v, t, err)
		}
		return true, nil
	}
	return false, nil
}

func (c *checker) mismatchUnlessNull(v any, t reflect.Type) error {
	if v == nil {
		return nil
	}
	return c.mismatch(v, t)
}

func (c *checker) structure(v any, t reflect.Type) error {
	m, ok := v.(map[string]any)
	if !ok {
		return c.mismatch(v, t)
	}
	fields := fieldsOf(t)
	for _, f := range fields {
		if f.mistake != nil {
			return fmt.Errorf("cfgblob: type %s: field of key %q: %w", t, f.name, f.mistake)
		}
		if _, there := m[f.name]; f.required && !there {
			return &FieldError{Path: joinPath(append(c.path, f.name)), Expect: expected(f.typ)}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) { // sorted: always the same error first
		c.path = append(c.path, key)
		i, known := slices.BinarySearchFunc(fields, key, func(f field, key string) int { return strings.Compare(f.name, key) })
		switch {
		case known:
			v, err := m[key], error(nil)
			if fields[i].quoted && v != nil {
				v, err = c.unquote(v, fields[i].typ)
			}
			if err == nil {
				err = c.value(v, fields[i].typ)
			}
			if err == nil {
				err = c.obeys(fields[i], v)
			}
			if err != nil {
				return err
			}
		case c.strict:
			return c.unknown(key, names(fields))
		case slices.ContainsFunc(fields, func(f field) bool { return strings.EqualFold(f.name, key) }):
			c.folded = append(c.folded, slices.Clone(c.path))
		}
		c.path = c.path[:len(c.path)-1]
	}
	return nil
}

// unquote returns the value written inside a string.
func (c *checker) unquote(v any, t reflect.Type) (any, error) {
	if s, ok := v.(string); ok {
		if inner, err := parseValue([]byte(s)); err == nil {
			return inner, nil
		}
	}
	return nil, &FieldError{Path: joinPath(c.path), Expect: expected(t) + " inside a string", Have: kindOf(v)}
}

func (c *checker) mapping(v any, t reflect.Type) error {
	m, ok := v.(map[string]any)
	if !ok {
		return c.mismatch(v, t)
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		c.path = append(c.path, key)
		if err := c.value(m[key], t.Elem()); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	return nil
}

func (c *checker) list(v any, t reflect.Type) error {
	if s, ok := v.(string); ok && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		if _, err := base64.StdEncoding.DecodeString(s); err != nil {
			return c.refused(v, t, err)
		}
		return nil
	}
	l, ok := v.([]any)
	if !ok || c.strict && t.Kind() == reflect.Array && len(l) > t.Len() {
		return c.mismatch(v, t)
	}
	for i, e := range l {
		c.path = append(c.path, strconv.Itoa(i))
		if err := c.value(e, t.Elem()); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	return nil
}

func (c *checker) number(n json.Number, t reflect.Type) error {
	var err error
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		_, err = strconv.ParseInt(string(n), 10, t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		_, err = strconv.ParseUint(string(n), 10, t.Bits())
	case reflect.Float32, reflect.Float64:
		_, err = strconv.ParseFloat(string(n), t.Bits())
	default:
		return c.mismatch(n, t)
	}
	if err == nil {
		return nil
	}
	have := "a number out of range"
	if t.Kind() != reflect.Float32 && t.Kind() != reflect.Float64 && strings.ContainsAny(string(n), ".eE") {
		have = "a number with a fraction or exponent"
	}
	return &FieldError{Path: joinPath(c.path), Expect: expected(t), Have: have}
}

func (c *checker) mismatch(v any, t reflect.Type) error {
	return &FieldError{Path: joinPath(c.path), Expect: expected(t), Have: kindOf(v)}
}

func (c *checker) refused(v any, t reflect.Type, err error) error {
	return &FieldError{Path: joinPath(c.path), Expect: expected(t), Have: kindOf(v) + " that is none", Err: err}
}

func (c *checker) unknown(key string, known []string) error {
	e := &FieldError{Path: joinPath(c.path)}
	if near := closest(key, known); near != "" {
		e.Near = joinPath(append(slices.Clone(c.path[:len(c.path)-1]), near))
	}
	e.Known, e.Other = someKeys(known)
	return e
}

// expected says what JSON a type wants, for people.
func expected(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[json.Number]():
		return "a number"
	case t == reflect.TypeFor[time.Duration]():
		return `a duration such as "1m30s", or an integer of nanoseconds`
	case t.Kind() == reflect.Interface:
		return "any value"
	}
	switch reflect.New(t).Interface().(type) {
	case json.Unmarshaler:
		return "a " + t.String()
	case encoding.TextUnmarshaler:
		return "a string (" + t.String() + ")"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return expected(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Array:
		return fmt.Sprintf("an array of at most %d", t.Len())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a string in base64"
		}
		return "an array"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int64:
		return "an integer"
	case reflect.Int8, reflect.Int16, reflect.Int32:
		limit := int64(1) << (t.Bits() - 1)
		return fmt.Sprintf("an integer from %d to %d", -limit, limit-1)
	case reflect.Uint, reflect.Uint64, reflect.Uintptr:
		return "an integer not below 0"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return fmt.Sprintf("an integer from 0 to %d", uint64(1)<<t.Bits()-1)
	}
	return "nothing (a " + t.String() + " has no JSON form)"
}
