package koanfsource

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"
)

// normalize returns v with everything that the parsers may produce reduced to
// what JSON has: YAML's maps with keys of any type, dates, and so on. What JSON
// cannot express is an error that names the key.
func normalize(v any, key string) (any, error) {
	var err error
	switch v := v.(type) {
	case nil, bool, json.Number, int, int64, uint64:
		return v, nil
	case string:
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("key %q is not UTF-8 text", key)
		}
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("key %q is %v, which a configuration cannot hold", key, v)
		}
		return v, nil
	case map[string]any:
		for k, e := range v {
			if v[k], err = normalize(e, key+"."+k); err != nil {
				return nil, err
			}
		}
		return v, nil
	case map[any]any:
		doc := make(map[string]any, len(v))
		for k, e := range v {
			name := fmt.Sprint(k)
			if _, twice := doc[name]; twice {
				return nil, fmt.Errorf("key %q stands twice", key+"."+name)
			}
			if doc[name], err = normalize(e, key+"."+name); err != nil {
				return nil, err
			}
		}
		return doc, nil
	case []any:
		for i, e := range v {
			if v[i], err = normalize(e, fmt.Sprintf("%s.%d", key, i)); err != nil {
				return nil, err
			}
		}
		return v, nil
	case encoding.TextMarshaler: // time.Time, and TOML's local dates and times
		text, err := v.MarshalText()
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		return string(text), nil
	}
	return nil, fmt.Errorf("key %q has a value of type %T, which a configuration cannot hold", key, v)
}
