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
