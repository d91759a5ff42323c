package cfgblob

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// A Dict is one version of a configuration as a dictionary: for keys that are not
// known when the program is written. It stays at its version, so that several
// lookups agree with each other.
//
// Each getter takes a path (see [Lookup]) and fails with a [*KeyError] (ErrNoKey)
// if it names nothing, or with a [*FieldError] if it names a value of another
// kind. Scalars are looked up without an allocation.
type Dict struct {
	snap *Snapshot
	at   string         // path of root
	root map[string]any // shared: look, do not touch
	err  error          // why there is no root
}

// Dict is the current version as a dictionary.
func (f *feed) Dict() Dict { return f.current().snap.dict() }

// Dict is the version as a dictionary.
func (s Snapshot) Dict() Dict { return s.dict() }

func (s *Snapshot) dict() Dict {
	root, err := s.root()
	return Dict{snap: s, root: root, err: err}
}

// Version is the version that the values are of.
func (v Dict) Version() uint64 { return v.snap.Version }

func (v Dict) look(path string) (any, error) {
	if v.err != nil {
		return nil, v.err
	}
	if v.at == "" && v.snap.tree != nil {
		return v.snap.look(path)
	}
	return Lookup(v.root, path)
}

func (v Dict) mismatch(path, expect string, have any) error {
	return &FieldError{Path: below(v.at, path), Expect: expect, Have: kindOf(have)}
}

// Has tells whether path names something.
func (v Dict) Has(path string) bool {
	_, err := v.look(path)
	return err == nil
}

// Get returns the value at path as [Snapshot.Get] does.
func (v Dict) Get(path string) (any, error) {
	x, err := v.look(path)
	if err != nil {
		return nil, err
	}
	return copyTree(x), nil
}

// String returns the string at path.
func (v Dict) String(path string) (string, error) {
	x, err := v.look(path)
	if s, ok := x.(string); ok || err != nil {
		return s, err
	}
	return "", v.mismatch(path, "a string", x)
}

// Bool returns the boolean at path.
func (v Dict) Bool(path string) (bool, error) {
	x, err := v.look(path)
	if b, ok := x.(bool); ok || err != nil {
		return b, err
	}
	return false, v.mismatch(path, "true or false", x)
}

// Int returns the integer at path; one that does not fit is an error.
func (v Dict) Int(path string) (int, error) {
	x, err := v.look(path)
	if err != nil {
		return 0, err
	}
	if n, ok := x.(json.Number); ok {
		if i, err := strconv.ParseInt(string(n), 10, strconv.IntSize); err == nil {
			return int(i), nil
		}
	}
	return 0, v.mismatch(path, "an integer", x)
}

// Float returns the number at path.
func (v Dict) Float(path string) (float64, error) {
	x, err := v.look(path)
	if err != nil {
		return 0, err
	}
	if n, ok := x.(json.Number); ok {
		if f, err := strconv.ParseFloat(string(n), 64); err == nil {
			return f, nil
		}
	}
	return 0, v.mismatch(path, "a number", x)
}

// Duration returns the duration at path: a string such as "1m30s", or an integer
// of nanoseconds.
func (v Dict) Duration(path string) (time.Duration, error) {
	x, err := v.look(path)
	if err != nil {
		return 0, err
	}
	if d, ok := durationOf(x); ok {
		return d, nil
	}
	return 0, v.mismatch(path, expected(reflect.TypeFor[time.Duration]()), x)
}

// Strings returns the array of strings at path. The slice is the caller's.
func (v Dict) Strings(path string) ([]string, error) {
	x, err := v.look(path)
	if err != nil {
		return nil, err
	}
	list, ok := x.([]any)
	out := make([]string, len(list))
	for i, e := range list {
		s, isString := e.(string)
		if !isString {
			return nil, v.mismatch(fmt.Sprintf("%s.%d", path, i), "a string", e)
		}
		out[i] = s
	}
	if !ok {
		return nil, v.mismatch(path, "an array of strings", x)
	}
	return out, nil
}

// Map returns the object at path as a dictionary of its own, whose paths begin
// there. Nothing is copied.
func (v Dict) Map(path string) (Dict, error) {
	x, err := v.look(path)
	if err != nil {
		return Dict{}, err
	}
	m, ok := x.(map[string]any)
	if !ok {
		return Dict{}, v.mismatch(path, "an object", x)
	}
	return Dict{snap: v.snap, at: below(v.at, path), root: m}, nil
}

// Keys returns the keys of the dictionary itself, sorted.
func (v Dict) Keys() []string { return slices.Sorted(maps.Keys(v.root)) }

// All yields the path and the value of everything that is neither an object nor
// an array, sorted by keys and, in arrays, by index. Empty objects and arrays are
// yielded as well. Dict may be nil, bool, string or [encoding/json.Number].
func (v Dict) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) { walk(nil, v.root, yield) }
}

func walk(at []string, node any, yield func(string, any) bool) bool {
	down := func(elem string, v any) bool { return walk(append(at[:len(at):len(at)], elem), v, yield) }
	switch n := node.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(n)) {
			if !down(key, n[key]) {
				return false
			}
		}
		if len(n) > 0 || len(at) == 0 {
			return true
		}
		node = map[string]any{}
	case []any:
		for i, e := range n {
			if !down(strconv.Itoa(i), e) {
				return false
			}
		}
		if len(n) > 0 {
			return true
		}
		node = []any{}
	}
	return yield(joinPath(at), node)
}

// At decodes what stands at path into a T, strictly, as [Strict] checks it: a
// struct, a slice of them, a type that decodes itself. For a single scalar the
// methods of [Dict] are faster.
func At[T any](v Dict, path string) (T, error) {
	var to T
	x, err := v.look(path)
	if err != nil {
		return to, err
	}
	if err = decodeTree(reflect.ValueOf(&to), x, nil, true); err == nil {
		return to, nil
	}
	if field, ok := errors.AsType[*FieldError](err); ok {
		field.Path = below(below(v.at, path), field.Path)
	}
	var zero T
	return zero, v.snap.secrets.clean(err, v.root)
}

// below is the path of something below another path.
func below(above, path string) string {
	if above == "" || path == "" {
		return above + path
	}
	return above + "." + path
}
