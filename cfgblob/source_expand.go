package cfgblob

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Expand returns src with environment variables put into its strings: ${NAME}
// stands for the value of NAME, and ${NAME:default} for that or, if NAME is not set,
// for what follows the colon up to the brace. "$${" stands for "${". A variable that
// is not set and has no default is an error of reading, which names the key.
//
// keys, as [KeysOf] lists them, tell what is no string: the key "port", where an
// integer belongs, may be "${PORT:8080}". The text of any key that is not among
// them stays a string. Names of keys are not expanded.
func Expand(src Source, keys []Key) Source {
	types := make(map[string]Key, len(keys))
	for _, k := range keys {
		types[k.Path] = k
	}
	return Transform(src, func(tree map[string]any) error {
		_, err := expander{types, os.LookupEnv}.value(tree, nil)
		return err
	})
}

type expander struct {
	types  map[string]Key
	lookup func(name string) (value string, ok bool)
}

// value returns v expanded. Maps and slices are changed in place.
func (e expander) value(v any, path []string) (_ any, err error) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) { // sorted: always the same error first
			if v[key], err = e.value(v[key], append(path, key)); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = e.value(v[i], append(path, strconv.Itoa(i))); err != nil {
				return nil, err
			}
		}
	case string:
		if !strings.Contains(v, "${") {
			return v, nil
		}
		at := joinPath(path)
		text, err := e.text(v)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", at, err)
		}
		if k, ok := e.types[at]; ok {
			return k.valueFor(text), nil
		}
		return text, nil
	}
	return v, nil
}

// text expands one string. Errors do not quote it: it may be a secret.
func (e expander) text(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			return b.String(), nil
		}
		if plain, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(plain + "${")
			s = rest
			continue
		}
		b.WriteString(before)
		inside, rest, found := strings.Cut(rest, "}")
		if !found {
			return "", errors.New("${ without a }: close it, or write $${ for the characters")
		}
		name, def, hasDef := strings.Cut(inside, ":")
		if !isVariable(name) {
			return "", errors.New("${ without the name of a variable: write ${NAME} or ${NAME:default}, or $${ for the characters")
		}
		value, ok := e.lookup(name)
		switch {
		case ok:
			b.WriteString(value)
		case hasDef:
			b.WriteString(def)
		default:
			return "", fmt.Errorf("$%s is not set: set it, or write ${%s:default}", name, name)
		}
		s = rest
	}
}

func isVariable(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
