package koanfsource

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"shmkit/cfgblob"
)

// Dotenv is a [cfgblob.Source] that holds the variables of a file of NAME=value
// lines, as the .env files of many tools are. Which variable is which key, and what is
// an error, is as with [cfgblob.Env], except that the environment has no part in it.
// It follows changes as [File] does.
func Dotenv(path, prefix string, keys []cfgblob.Key) cfgblob.Source {
	d := dotenvFile{Follower: cfgblob.File(path).(cfgblob.Follower), path: path}
	d.variables = cfgblob.Variables(path, prefix, keys, d.list)
	return d
}

type dotenvFile struct {
	cfgblob.Follower
	path      string
	variables cfgblob.Source
}

func (d dotenvFile) Read(ctx context.Context) (cfgblob.Layer, error) {
	return d.variables.Read(ctx)
}

func (d dotenvFile) list() ([]string, error) {
	data, err := readFile(d.path)
	if err != nil {
		return nil, err
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")) // as the parser does first
	vars, err := dotenvParser.Unmarshal(data)
	if err != nil {
		return nil, dotenvError(data, err)
	}
	var list []string
	for name, value := range vars {
		if name == "" {
			return nil, &FileError{Err: errors.New("there is a line without a NAME=")}
		}
		list = append(list, name+"="+value.(string))
	}
	slices.Sort(list) // always the same error first
	return list, nil
}

// dotenvError finds the line of what the parser complains about. Its own messages
// quote the rest of the file, passwords and all.
func dotenvError(data []byte, err error) *FileError {
	at, reason := -1, "not lines of NAME=value"
	if _, rest, ok := strings.Cut(err.Error(), "in variable name near "); ok {
		reason = "a name may hold letters, digits, '_' and '.' only"
		if rest, err := strconv.Unquote(rest); err == nil {
			at = len(data) - len(rest)
		}
	} else if value, ok := strings.CutPrefix(err.Error(), "unterminated quoted value "); ok {
		reason = "a quote is not closed"
		at = bytes.Index(data, []byte(value))
	}
	e := &FileError{Err: errors.New(reason)}
	if at >= 0 && at <= len(data) {
		e.Line = 1 + bytes.Count(data[:at], []byte("\n"))
	}
	return e
}
