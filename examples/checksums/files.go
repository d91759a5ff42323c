package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"shmkit/call"
)

// Files is what a worker can do with the owner's list: take the next file, and give
// its sum. It cannot see the others, nor change them.
type Files struct {
	Next func(ctx context.Context) (path string, err error)
	Done func(ctx context.Context, path, sum string) error
}

// errNoMore is how Next ends. It is the same error in the worker.
var errNoMore = errors.New("no more files")

func init() { call.RegisterError("checksums.errNoMore", errNoMore) }

// list is the owner's list of files, in the order of their names.
type list struct {
	dir string

	mu    sync.Mutex
	paths []string
	next  int
	by    map[string]call.Caller // who has a file
	sums  map[string]string
}

func newList(dir string) (*list, error) {
	l := &list{dir: dir, by: map[string]call.Caller{}, sums: map[string]string{}}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			l.paths = append(l.paths, path)
		}
		return err
	})
	return l, err
}

// offer is the part of it that workers may call.
func (l *list) offer() Files { return Files{Next: l.take, Done: l.done} }

func (l *list) take(ctx context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == len(l.paths) {
		return "", errNoMore
	}
	path := l.paths[l.next]
	l.next++
	l.by[path], _ = call.CallerOf(ctx)
	return path, nil
}

// done believes nobody but the worker that has the file.
func (l *list) done(ctx context.Context, path, sum string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	caller, _ := call.CallerOf(ctx)
	if has, ok := l.by[path]; !ok || has != caller {
		return fmt.Errorf("%q is not with %v: take it first", path, caller)
	}
	l.sums[path] = sum
	return nil
}

func (l *list) print(w io.Writer) error {
	for _, path := range l.paths {
		name, err := filepath.Rel(l.dir, path)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s  %s\n", l.sums[path], name); err != nil {
			return err
		}
	}
	return nil
}
