package shmkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"shmkit/cfgblob"
)

// levelOf returns the log level that a configuration asks for: the value of key,
// or info where the configuration has no such key.
func levelOf(doc []byte, key string) (slog.Level, error) {
	v, err := cfgblob.Snapshot{Doc: doc}.Get(key)
	if errors.Is(err, cfgblob.ErrNoKey) {
		return slog.LevelInfo, nil
	}
	if err != nil {
		return 0, err
	}
	return parseLevel(key, v)
}

// levelsOf returns the levels of loggers that a configuration asks for: the object
// at key, or nothing where there is none.
func levelsOf(doc []byte, key string) (map[string]slog.Level, error) {
	v, err := cfgblob.Snapshot{Doc: doc}.Get(key)
	if errors.Is(err, cfgblob.ErrNoKey) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rules, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("config key %q is a %T: want an object of logger names and levels, as in {\"db.*\": \"debug\"}", key, v)
	}
	levels := map[string]slog.Level{}
	for name, v := range rules {
		l, err := parseLevel(key+"."+name, v)
		if err != nil {
			return nil, err
		}
		levels[name] = l
	}
	return levels, nil
}

func parseLevel(key string, v any) (slog.Level, error) {
	switch v := v.(type) {
	case string:
		var l slog.Level
		if err := l.UnmarshalText([]byte(v)); err != nil {
			return 0, fmt.Errorf("config key %q is %q, which is no log level: use debug, info, warn or error", key, v)
		}
		return l, nil
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0, fmt.Errorf("config key %q is %s, which is no log level: use debug, info, warn or error", key, v)
		}
		return slog.Level(n), nil
	default:
		return 0, fmt.Errorf("config key %q is a %T, which is no log level: use debug, info, warn or error", key, v)
	}
}
