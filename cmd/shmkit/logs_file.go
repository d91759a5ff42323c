package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"shmkit/adapters/rotatefile"
)

// open opens all sources.
func (q *logQuery) open(ctx context.Context, names []string) (open []namedSource, err error) {
	for _, name := range names {
		s, err := q.openSource(ctx, name)
		if err != nil {
			return open, fmt.Errorf("log source %q: %w", redacted(name), unpath(err))
		}
		open = append(open, namedSource{s, redacted(name)})
	}
	return open, nil
}

func (q *logQuery) openSource(ctx context.Context, name string) (logSource, error) {
	switch {
	case isPostgres(name):
		return q.openPostgres(ctx, name)
	case name == "-":
		return &chain{newLineSource(io.NopCloser(os.Stdin))}, nil
	case isSQLite(name):
		return q.openSQLite(ctx, name)
	}
	return openFiles(name)
}

// unpath leaves the path out of an error that will name it.
func unpath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// openFiles opens a file with what it was rotated into. A file that is compressed
// in the meantime is looked for again.
func openFiles(path string) (logSource, error) {
	for try := 0; ; try++ {
		files, err := fileNames(path)
		if err != nil {
			return nil, err
		}
		var open chain
		for _, name := range files {
			var r io.ReadCloser
			if r, err = openPlain(name); err != nil {
				break
			}
			open = append(open, newLineSource(r))
		}
		if err == nil {
			return &open, nil
		}
		open.Close()
		if try == 10 || !errors.Is(err, fs.ErrNotExist) || len(files) == 1 {
			return nil, err
		}
	}
}

// fileNames lists what path was rotated into, the oldest first, and path.
func fileNames(path string) ([]string, error) {
	old, err := rotatefile.Old(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err == nil || len(old) == 0 {
		old = append(numbered(path), append(old, path)...)
	}
	return old, nil
}

// numbered lists path.N, as logrotate names old files, with the largest N first.
func numbered(path string) (found []string) {
	number := map[string]int{}
	all, _ := filepath.Glob(escapeGlob(path) + ".*")
	for _, name := range all {
		s := strings.TrimSuffix(strings.TrimSuffix(name[len(path)+1:], ".gz"), ".zst")
		if n, err := strconv.Atoi(s); err == nil && n >= 0 {
			number[name] = n
			found = append(found, name)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return number[b] - number[a] })
	return found
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// openPlain opens a file, decompressed if its name says that it is compressed.
func openPlain(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		f.Close()
		return nil, errors.New("it is a folder: name a file in it")
	}
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		return reader{z, f}, nil
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			f.Close()
			return nil, err
		}
		return reader{z, f}, nil
	}
	return f, nil
}

type reader struct {
	io.Reader
	io.Closer
}

// A chain is one source after the other.
type chain []*lineSource

func (c *chain) next() (*logEntry, error) {
	for _, s := range *c {
		e, err := s.next()
		if err == io.EOF {
			e, err = s.last()
		}
		if err != io.EOF {
			return e, err
		}
	}
	return nil, io.EOF
}

func (c *chain) skipped() (n int) {
	for _, s := range *c {
		n += s.skips
	}
	return n
}

func (c *chain) Close() error {
	for _, s := range *c {
		s.Close()
	}
	return nil
}

// A lineSource reads lines. At the end of what is there it may be asked again, for
// what has come since.
type lineSource struct {
	io.Closer
	r     *bufio.Reader
	part  string // of a line whose end is not there yet
	skips int
}

func newLineSource(r io.ReadCloser) *lineSource {
	return &lineSource{Closer: r, r: bufio.NewReaderSize(r, 64<<10)}
}

func (s *lineSource) skipped() int { return s.skips }

func (s *lineSource) next() (*logEntry, error) {
	for {
		piece, err := s.r.ReadString('\n')
		s.part += piece
		if err != nil {
			return nil, err
		}
		line := strings.TrimSuffix(s.part, "\n")
		s.part = ""
		e, err := parseLine(line)
		if err == nil {
			return e, nil
		}
		if line != "" {
			s.skips++
		}
	}
}

// last is next for a line without an end, once no more will come.
func (s *lineSource) last() (*logEntry, error) {
	line := s.part
	if s.part = ""; line == "" {
		return nil, io.EOF
	}
	e, err := parseLine(line)
	if err != nil {
		s.skips++
		return nil, io.EOF
	}
	return e, nil
}
