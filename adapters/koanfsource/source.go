package koanfsource

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"shmkit/cfgblob"
)

// File is a [cfgblob.Source] that holds a YAML, TOML or JSON file, which the end of
// its name tells apart ([Extensions]), with the line of each key. It follows changes
// as [cfgblob.File] does: writes, replacement by rename, links that are turned to
// another folder. It is read whole and has to parse whole; until it does, what was
// read before stays in use.
func File(path string) cfgblob.Source {
	watch := cfgblob.File(path)
	if strings.EqualFold(filepath.Ext(path), ".json") {
		return watch
	}
	return file{watch.(cfgblob.Follower), path}
}

// file is a [cfgblob.File] that is read in another way.
type file struct {
	cfgblob.Follower
	path string
}

func (f file) Read(context.Context) (cfgblob.Layer, error) {
	ext := strings.ToLower(filepath.Ext(f.path))
	parser, ok := parsers[ext]
	if !ok {
		return cfgblob.Layer{}, &FileError{Err: ErrUnknownFormat}
	}
	data, err := readFile(f.path)
	if err != nil {
		return cfgblob.Layer{}, err
	}
	tree, err := checked{parser}.Unmarshal(data)
	if err != nil {
		return cfgblob.Layer{}, newParseError("", err)
	}
	return cfgblob.Layer{Name: f.path, Tree: tree, Where: places[ext](data)}, nil
}

// readFile reads a file whole. The error does not name it: what is around does.
func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return data, nil
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return nil, &FileError{Err: err}
}
