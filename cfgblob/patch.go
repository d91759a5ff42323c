package cfgblob

import (
	"encoding/json"
	"reflect"
	"slices"
)

// A patch is a tree that is laid over another: objects are merged key by key,
// gone removes a key, everything else replaces what it finds. A document is a
// patch without gone. Patches and documents that the store holds are never
// modified, so that versions can share what they have in common.
type patch = map[string]any

// gone stands in a patch where a key is to be removed.
type gone struct{}

// apply returns base with p laid over it, sharing what it can with both.
func apply(base, p patch) map[string]any {
	if len(p) == 0 && base != nil {
		return base
	}
	out := make(map[string]any, max(len(base), len(p)))
	for key, v := range base {
		out[key] = v
	}
	for key, v := range p {
		switch v := v.(type) {
		case gone:
			delete(out, key)
		case map[string]any:
			below, _ := out[key].(map[string]any)
			out[key] = apply(below, v)
		default:
			out[key] = v
		}
	}
	return out
}

// compose returns the patch that does what first and then second do, wherever
// first leaves an object where second expects one.
func compose(first, second patch) patch {
	out := make(patch, max(len(first), len(second)))
	for key, v := range first {
		out[key] = v
	}
	for key, v := range second {
		above, ok := v.(map[string]any)
		below, isObject := out[key].(map[string]any)
		if ok && isObject {
			v = compose(below, above)
		}
		out[key] = v
	}
	return out
}

// diff returns the patch that makes to of from.
func diff(from, to map[string]any) patch {
	p := patch{}
	for key, v := range to {
		was, had := from[key]
		if had && sameTree(was, v) {
			continue
		}
		a, wasObject := was.(map[string]any)
		b, isObject := v.(map[string]any)
		if wasObject && isObject {
			v = diff(a, b)
		}
		p[key] = v
	}
	for key := range from {
		if _, kept := to[key]; !kept {
			p[key] = gone{}
		}
	}
	return p
}

// sameTree compares two trees; numbers are the same when they are spelled so.
func sameTree(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		if reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() {
			return true // shared by two versions
		}
		for key, v := range a {
			if w, ok := b[key]; !ok || !sameTree(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameTree)
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

// without returns p without what it says of the path, and whether it said
// anything.
func without(p patch, elems []string) (patch, bool) {
	v, ok := p[elems[0]]
	if !ok {
		return p, false
	}
	out := make(patch, len(p))
	for key, v := range p {
		out[key] = v
	}
	if len(elems) == 1 {
		delete(out, elems[0])
		return out, true
	}
	below, isObject := v.(map[string]any)
	if !isObject {
		return p, false
	}
	below, ok = without(below, elems[1:])
	if out[elems[0]] = below; len(below) == 0 {
		delete(out, elems[0])
	}
	return out, ok
}

// leaves calls f with the path of everything in a patch that is no object, or
// an empty one.
func leaves(p patch, at []string, f func(path []string, v any)) {
	for key, v := range p {
		path := append(at[:len(at):len(at)], key)
		if below, ok := v.(map[string]any); ok && len(below) > 0 {
			leaves(below, path, f)
			continue
		}
		f(path, v)
	}
}

// A patchFile is a patch in JSON.
type patchFile struct {
	Set   map[string]any `json:"set,omitempty"`
	Unset []string       `json:"unset,omitempty"`
}

func toFile(p patch) patchFile {
	var f patchFile
	leaves(p, nil, func(path []string, v any) {
		if v == (gone{}) {
			f.Unset = append(f.Unset, joinPath(path))
		}
	})
	slices.Sort(f.Unset)
	f.Set = apply(nil, p)
	return f
}

func (f patchFile) patch() (patch, error) {
	p := patch{}
	if f.Set != nil { // nothing but removals otherwise
		var err error
		if p, err = TreeOf(f.Set); err != nil {
			return nil, err
		}
	}
	for _, path := range f.Unset {
		if err := setPath(p, path, gone{}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

var _ json.Marshaler = gone{}

// MarshalJSON is never called for a document, which holds no gone.
func (gone) MarshalJSON() ([]byte, error) { return []byte(`null`), nil }
