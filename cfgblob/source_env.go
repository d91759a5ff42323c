package cfgblob

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// Env is a Source that holds the environment variables of some keys, as
// [KeysOf] lists them: prefix and path in capitals, with '_' for whatever is
// neither a letter nor a digit. With prefix "JOB_" the key log.level is
// JOB_LOG_LEVEL, and so is log_level; if there are both, that is an error. Values
// of keys that take a string are taken as they are; others are JSON.
//
// A variable that begins with prefix and is that of no key is an error, so that a
// mistyped one is not overlooked. An empty prefix matches only the keys' own.
func Env(prefix string, keys []Key) Source {
	return env{"environment", prefix, keys, func() ([]string, error) { return os.Environ(), nil }}
}

// Variables is [Env] for variables from elsewhere, a file of them for instance: list
// returns them as "NAME=value", and is called at each Read.
func Variables(name, prefix string, keys []Key, list func() ([]string, error)) Source {
	return env{name, prefix, keys, list}
}

type env struct {
	name, prefix string
	keys         []Key
	environ      func() ([]string, error)
}

func (e env) Name() string { return e.name }

func (e env) Read(context.Context) (Layer, error) {
	l := Layer{Name: e.Name(), Tree: map[string]any{}, Where: map[string]string{}}
	byName := map[string]Key{}
	for _, k := range e.keys {
		name := e.variable(k.Path)
		if other, dup := byName[name]; dup {
			return l, fmt.Errorf("$%s stands for key %q and for key %q: rename one", name, other.Path, k.Path)
		}
		byName[name] = k
	}
	environ, err := e.environ()
	if err != nil {
		return l, err
	}
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		k, known := byName[name]
		switch {
		case !known && (e.prefix == "" || !strings.HasPrefix(name, e.prefix)):
			continue
		case !known:
			names := slices.Sorted(maps.Keys(byName))
			if near := closest(name, names); near != "" {
				return l, fmt.Errorf("$%s stands for no key: did you mean $%s?", name, near)
			}
			return l, fmt.Errorf("$%s stands for no key: unset it", name)
		case !utf8.ValidString(text):
			return l, fmt.Errorf("$%s is not valid UTF-8", name)
		}
		if err := setPath(l.Tree, k.Path, k.valueFor(text)); err != nil {
			return l, fmt.Errorf("$%s: %w", name, err)
		}
		l.Where[k.Path] = "$" + name
	}
	return l, nil
}

func (e env) variable(path string) string {
	return e.prefix + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, path)
}
