package cfgblob

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// SecretsOf lists the paths of T's secrets as patterns (see
// StoreOptions.Secrets): fields with the tag `secret:"true"` and those of type
// [Secret], with everything below them.
func SecretsOf[T any]() []string { return SecretsOfType(reflect.TypeFor[T]()) }

// SecretsOfType is [SecretsOf] for a type that is only known while the program
// runs.
func SecretsOfType(t reflect.Type) []string {
	list := appendSecrets(nil, t, nil, nil)
	slices.Sort(list)
	return slices.Compact(list)
}

// appendSecrets appends the secrets of t, which stands at path; above holds the
// types around it.
func appendSecrets(list []string, t reflect.Type, path []string, above []reflect.Type) []string {
	down := func(elem string) []string { return append(path[:len(path):len(path)], elem) }
	switch t.Kind() {
	case reflect.Pointer:
		return appendSecrets(list, t.Elem(), path, above)
	case reflect.Map, reflect.Slice, reflect.Array:
		if t.Elem() == reflect.TypeFor[Secret]() {
			return append(list, joinPath(down("*")))
		}
		return appendSecrets(list, t.Elem(), down("*"), above)
	case reflect.Struct:
	default:
		return list
	}
	if slices.Contains(above, t) { // a recursive type: what is secret in it is so at any depth
		deep := down("**")
		for _, name := range secretNames(t) {
			list = append(list, joinPath(append(deep[:len(deep):len(deep)], name)))
		}
		return list
	}
	above = append(above[:len(above):len(above)], t)
	for _, f := range fieldsOf(t) {
		if f.secret {
			list = append(list, joinPath(down(f.name)))
			continue
		}
		if !decodesItself(f.typ) {
			list = appendSecrets(list, f.typ, down(f.name), above)
		}
	}
	return list
}

// secretNames lists the keys of all secret fields in t and in whatever t is made
// of.
func secretNames(t reflect.Type) []string {
	var names []string
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Array:
			walk(t.Elem())
		case reflect.Struct:
			if seen[t] {
				return
			}
			seen[t] = true
			for _, f := range fieldsOf(t) {
				if f.secret {
					names = append(names, f.name)
				} else {
					walk(f.typ)
				}
			}
		}
	}
	walk(t)
	return names
}

// secrets says what of a document is not shown. The zero value shows all.
type secrets struct {
	text  []string // the patterns, as they travel
	match patterns
}

func newSecrets(list []string) (secrets, error) {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	match, err := parsePatterns(list, true) // better one too many than one too few
	return secrets{list, match}, err
}

func lowered(elems []string) []string {
	out := make([]string, len(elems))
	for i, e := range elems {
		out[i] = strings.ToLower(e)
	}
	return out
}

// cover tells whether the value at a path is secret, as a part of a secret is.
func (s secrets) cover(elems []string) bool {
	return len(s.match) > 0 && s.match.cover(lowered(elems))
}

// coverBelow tells whether a path leads into a secret, beyond the place where it
// begins.
func (s secrets) coverBelow(elems []string) bool {
	return len(elems) > 1 && s.cover(elems[:len(elems)-1])
}

// shown returns a value that stands at a path as people may see it. It shares
// what is not secret with v.
func (s secrets) shown(elems []string, v any) any {
	if len(s.match) == 0 {
		return v
	}
	match := s.match
	for _, e := range elems {
		var whole bool
		if match, whole = match.below(strings.ToLower(e)); whole {
			return Redacted
		}
	}
	return redact(match, v)
}

func redact(match patterns, v any) any {
	if len(match) == 0 {
		return v
	}
	each := func(elem string, v any) any {
		below, whole := match.below(strings.ToLower(elem))
		if whole {
			return Redacted
		}
		return redact(below, v)
	}
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			m[key] = each(key, e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = each(strconv.Itoa(i), e)
		}
		return list
	}
	return v
}

// values calls f with the text of each secret in a tree.
func (s secrets) values(tree map[string]any, f func(text string)) {
	if len(s.match) > 0 {
		secretValues(s.match, false, tree, f)
	}
}

func secretValues(match patterns, secret bool, v any, f func(string)) {
	each := func(elem string, v any) {
		below, whole := match.below(strings.ToLower(elem))
		secretValues(below, secret || whole, v, f)
	}
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			each(key, e)
		}
	case []any:
		for i, e := range v {
			each(strconv.Itoa(i), e)
		}
	case string:
		if secret && v != "" {
			f(v)
		}
	case json.Number:
		if secret {
			f(string(v))
		}
	}
}

// clean returns err, or if its text quotes a secret of one of the trees, an
// error that is the same to errors.Is but keeps the text to itself. The text may
// come from anywhere: a Validate method, a type that decodes itself.
func (s secrets) clean(err error, trees ...map[string]any) error {
	if err == nil || len(s.match) == 0 {
		return err
	}
	text, quotes := err.Error(), false
	for _, tree := range trees {
		s.values(tree, func(v string) {
			quotes = quotes || slices.ContainsFunc(spellings(v), func(s string) bool { return strings.Contains(text, s) })
		})
	}
	if !quotes {
		return err
	}
	w := &withheldError{err: err}
	var field *FieldError
	if errors.As(err, &field) {
		w.path = field.Path
	}
	return w
}

// spellings are the ways in which a text may quote a string.
func spellings(v string) []string {
	list := []string{v, inside(strconv.Quote(v)), inside(strconv.QuoteToASCII(v))}
	for _, f := range []func(any) ([]byte, error){canonicalValue, json.Marshal} {
		if b, err := f(v); err == nil {
			list = append(list, inside(string(b)))
		}
	}
	return list
}

func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

// A withheldError keeps to itself a text that quotes a secret.
type withheldError struct {
	path string
	err  error
}

func (e *withheldError) Error() string {
	if e.path != "" {
		return fmt.Sprintf("key %q is refused for a reason that is not shown, since it quotes a secret", e.path)
	}
	return "refused for a reason that is not shown, since it quotes a secret"
}

// Is compares the error behind the text. There is no Unwrap: what it would
// return could be printed.
func (e *withheldError) Is(target error) bool { return errors.Is(e.err, target) }

// cleanKey is the error of a path that names nothing. Below a secret it does not
// say what there is.
func (s secrets) cleanKey(err error, elems []string) error {
	if k, ok := errors.AsType[*KeyError](err); ok && s.coverBelow(elems) {
		return &KeyError{Path: k.Path, Where: joinPath(elems[:len(elems)-1]), Kind: "secret"}
	}
	return err
}
