package cfgblob

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// TreeOf returns the JSON object form of a Go value (a struct of defaults, a
// map) as [Parse] would: what encoding/json makes of it, with [json.Number]
// for numbers. The result shares nothing with v. A value without a JSON form
// (a channel, a function, NaN) is a [*ValueError] that names its key where the
// tree is made of maps and slices.
func TreeOf(v any) (map[string]any, error) {
	n, err := normalize(v, nil)
	if err != nil {
		return nil, err
	}
	m, ok := n.(map[string]any)
	if !ok {
		return nil, &ValueError{Err: fmt.Errorf("a configuration is an object, this is %s", kindOf(n))}
	}
	return m, nil
}

// normalize rebuilds v from the six kinds of value that parseValue returns.
func normalize(v any, path []string) (any, error) {
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		if err := depth(path); err != nil {
			return nil, err
		}
		m := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) { // sorted: always the same error first
			n, err := normalize(v[key], append(path, key))
			if err != nil {
				return nil, err
			}
			m[key] = n
		}
		return m, nil
	case []any:
		if v == nil {
			return nil, nil
		}
		if err := depth(path); err != nil {
			return nil, err
		}
		list := make([]any, len(v))
		for i, e := range v {
			n, err := normalize(e, append(path, strconv.Itoa(i)))
			if err != nil {
				return nil, err
			}
			list[i] = n
		}
		return list, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, &ValueError{joinPath(path), err}
	}
	n, err := parseValue(text)
	if err != nil {
		return nil, &ValueError{joinPath(path), err}
	}
	return n, nil
}

// depth refuses a container at path that Parse would refuse.
func depth(path []string) error {
	if len(path) >= MaxDepth {
		return &ValueError{joinPath(path), fmt.Errorf("nested deeper than %d", MaxDepth)}
	}
	return nil
}

// copyTree returns a copy of a parsed value that shares no map or slice.
func copyTree(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			m[key] = copyTree(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = copyTree(e)
		}
		return list
	}
	return v
}
