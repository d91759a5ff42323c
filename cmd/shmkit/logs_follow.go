package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// followPause is the time between two looks.
const followPause = 100 * time.Millisecond

// follow prints the last records, then those that come.
func (q *logQuery) follow(ctx context.Context, names []string, stdout, stderr io.Writer) error {
	var open []namedSource
	defer func() { closeAll(open) }()
	for _, name := range names {
		var s logSource
		var err error
		switch {
		case isPostgres(name) || name == "-":
			err = errors.New("--follow reads files and SQLite databases: leave it out")
		case isSQLite(name):
			s, err = q.followSQLite(ctx, name)
		default:
			s, err = followFile(name)
		}
		if err != nil {
			return fmt.Errorf("log source %q: %w", redacted(name), unpath(err))
		}
		open = append(open, namedSource{s, name})
	}
	out := newLogPrinter(stdout, q.asJSON)
	if err := q.print(open, out, stderr); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPause):
		}
		for e, err := range mergeSources(open) {
			if err != nil {
				return err
			}
			if q.filter.wants(e) {
				if err := out.print(e); err != nil {
					return err
				}
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
	}
}

// A followedFile is a file that grows, is moved away, and is there again.
type followedFile struct {
	path  string
	known map[string]bool // old files that were seen, by their names when not compressed
	old   chain           // to be read before now
	now   *lineSource
	f     *os.File // that of now
	fresh *os.File // what the path names since f was moved away
	done  int      // lines skipped in files that were read to their end
}

func followFile(path string) (logSource, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errors.New("it is not a regular file: leave --follow out"))
	}
	s := &followedFile{path: path, known: map[string]bool{}, f: f, now: newLineSource(f)}
	s.old = s.unseen()
	return s, nil
}

// unseen opens the files that the path was rotated into since the last look.
func (s *followedFile) unseen() (c chain) {
	files, err := fileNames(s.path)
	if err != nil {
		return nil
	}
	for _, name := range files[:max(len(files)-1, 0)] {
		plain := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
		if s.known[plain] {
			continue
		}
		s.known[plain] = true
		if r, err := openPlain(name); err == nil { // else it has just been removed
			c = append(c, newLineSource(r))
		}
	}
	return c
}

func (s *followedFile) next() (*logEntry, error) {
	for {
		if len(s.old) > 0 {
			if e, err := s.old.next(); err != io.EOF {
				return e, err
			}
			s.done += s.old.skipped()
			s.old.Close()
			s.old = nil
		}
		e, err := s.now.next()
		switch {
		case err != io.EOF:
			return e, err
		case s.fresh == nil:
			if s.fresh = s.moved(); s.fresh == nil {
				return nil, io.EOF
			}
			// Once more: it may have grown until it was moved away.
		default:
			s.done += s.now.skips
			s.now.Close()
			if s.old = s.unseen(); len(s.old) > 0 {
				s.old[0].Close() // the one just read
				s.old = s.old[1:]
			}
			s.f, s.now, s.fresh = s.fresh, newLineSource(s.fresh), nil
		}
	}
}

// moved returns the file that the path names, if it is not the open one, or the open
// one has become shorter than what was read of it.
func (s *followedFile) moved() *os.File {
	now, err := os.Stat(s.path)
	if err != nil {
		return nil // will be there again
	}
	st, err := s.f.Stat()
	if err != nil {
		return nil
	}
	if os.SameFile(now, st) {
		at, err := s.f.Seek(0, io.SeekCurrent)
		if err != nil || st.Size() >= at {
			return nil
		}
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil
	}
	return f
}

func (s *followedFile) skipped() int { return s.done + s.old.skipped() + s.now.skips }

func (s *followedFile) Close() error {
	s.old.Close()
	if s.fresh != nil {
		s.fresh.Close()
	}
	return s.now.Close()
}

// A followedDB asks for the rows behind the last one, again and again.
type followedDB struct {
	q    *logQuery
	ctx  context.Context
	db   *sql.DB
	rows *sql.Rows
	last int64
}

func (q *logQuery) followSQLite(ctx context.Context, path string) (logSource, error) {
	db, err := readSQLite(path)
	if err != nil {
		return nil, err
	}
	return &followedDB{q: q, ctx: ctx, db: db}, nil
}

func (s *followedDB) next() (*logEntry, error) {
	if s.rows == nil {
		rows, err := s.db.QueryContext(s.ctx, `SELECT rowid,`+logColumns+` FROM `+s.q.quotedTable()+` WHERE rowid > $1 ORDER BY rowid`, s.last)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w: is it a table that shmkit has written?", s.q.table, err)
		}
		s.rows = rows
	}
	if !s.rows.Next() {
		err := errors.Join(s.rows.Err(), s.rows.Close())
		if s.rows = nil; err == nil {
			err = io.EOF
		}
		return nil, err
	}
	return scanEntry(s.rows, &s.last)
}

func (s *followedDB) skipped() int { return 0 }

func (s *followedDB) Close() error {
	if s.rows != nil {
		s.rows.Close()
	}
	return s.db.Close()
}
