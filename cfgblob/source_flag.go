package cfgblob

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"reflect"
	"sync"
	"unicode/utf8"
)

// Flags defines a flag for each key, as [KeysOf] lists them, and returns the
// Source of those that are given on the command line: -log.level=debug. Flags
// that are not given hold nothing, so that sources below show through; a flag given
// twice counts once, the last time. Call it before fs.Parse. It panics, as
// [flag.Var] does, if fs has a flag of that name already.
func Flags(fs *flag.FlagSet, keys []Key) Source {
	s := &flagSource{}
	for _, k := range keys {
		fs.Var(&flagValue{s, k}, k.Path, k.Usage)
	}
	return s
}

type flagSource struct {
	mu    sync.Mutex // Parse and Read may be in two goroutines
	given []flagGiven
}

type flagGiven struct {
	key   Key
	value any
}

func (s *flagSource) Name() string { return "command line" }

func (s *flagSource) Read(context.Context) (Layer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Layer{Name: s.Name(), Tree: map[string]any{}, Where: map[string]string{}}
	for _, g := range s.given {
		if err := setPath(l.Tree, g.key.Path, copyTree(g.value)); err != nil {
			return l, fmt.Errorf("-%s: %w", g.key.Path, err)
		}
		l.Where[g.key.Path] = "-" + g.key.Path
	}
	return l, nil
}

type flagValue struct {
	source *flagSource
	key    Key
}

// String is empty: what a key is without its flag, only the sources below know.
func (v *flagValue) String() string { return "" }

func (v *flagValue) IsBoolFlag() bool { return v.key.Type != nil && v.key.Type.Kind() == reflect.Bool }

func (v *flagValue) Set(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("not valid UTF-8")
	}
	v.source.mu.Lock()
	defer v.source.mu.Unlock()
	v.source.given = append(v.source.given, flagGiven{v.key, v.key.valueFor(text)})
	return nil
}
