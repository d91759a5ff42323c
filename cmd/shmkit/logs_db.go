package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"shmkit/adapters/postgresdb"
)

func isPostgres(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://")
}

// redacted is a name without the password in it.
func redacted(name string) string {
	if u, err := url.Parse(name); err == nil && isPostgres(name) {
		return u.Redacted()
	} else if isPostgres(name) {
		return "postgres://…"
	}
	return name
}

// isSQLite looks for the words that such a file begins with.
func isSQLite(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [16]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "SQLite format 3\x00"
}

func (q *logQuery) openPostgres(ctx context.Context, dsn string) (logSource, error) {
	db, err := postgresdb.Open(dsn)
	if err != nil {
		return nil, errors.New(bare(err))
	}
	return q.selectFrom(ctx, db, `"time"`)
}

// openSQLite opens a database that others may be writing, for reading.
func (q *logQuery) openSQLite(ctx context.Context, path string) (logSource, error) {
	db, err := readSQLite(path)
	if err != nil {
		return nil, err
	}
	return q.selectFrom(ctx, db, `"time", rowid`)
}

// readSQLite opens a database for queries. Also a reader of a database with a
// write-ahead log needs two files beside it, and only one that may write removes them
// in the end; where this user may not write, they can be done without if nobody
// else has made them.
func readSQLite(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	mode := "mode=rw&_pragma=query_only(1)"
	if f, err := os.OpenFile(abs, os.O_RDWR, 0); err == nil {
		f.Close()
	} else if _, err := os.Stat(abs + "-wal"); err == nil {
		mode = "mode=ro"
	} else {
		mode = "mode=ro&immutable=1"
	}
	return sql.Open("sqlite", "file://"+(&url.URL{Path: abs}).EscapedPath()+"?_pragma=busy_timeout(10000)&"+mode)
}

const logColumns = `"time","level","msg","group","worker","pid","stream","attrs"`

// selectFrom begins a query; the source owns db.
func (q *logQuery) selectFrom(ctx context.Context, db *sql.DB, order string) (logSource, error) {
	where, args := q.filter.where()
	rows, err := db.QueryContext(ctx, `SELECT `+logColumns+` FROM `+q.quotedTable()+where+` ORDER BY `+order, args...)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("table %s: %w: is it a table that shmkit has written?", q.table, err)
	}
	return &rowSource{db: db, rows: rows}, nil
}

func (q *logQuery) quotedTable() string {
	return `"` + strings.ReplaceAll(string(q.table), ".", `"."`) + `"`
}

// where is what a database can find out better. The rest is up to wants.
func (f *logFilter) where() (string, []any) {
	var conds []string
	var args []any
	add := func(cond string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			cond = strings.Replace(cond, "?", fmt.Sprint("$", len(args)), 1)
		}
		conds = append(conds, cond)
	}
	const layout = "2006-01-02T15:04:05.000000000Z" // as the sink writes it: text order is time order
	if !f.since.IsZero() {
		add(`"time" >= ?`, f.since.UTC().Format(layout))
	}
	if !f.until.IsZero() {
		add(`"time" < ?`, f.until.UTC().Format(layout))
	}
	var any []any
	for _, g := range f.groups {
		any = append(any, g)
	}
	if len(any) > 0 {
		add(`"group" IN (?`+strings.Repeat(",?", len(any)-1)+`)`, any...)
	}
	any = nil
	for _, w := range f.workers {
		any = append(any, w)
	}
	if len(any) > 0 {
		add(`"worker" IN (?`+strings.Repeat(",?", len(any)-1)+`)`, any...)
	}
	if len(conds) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(conds, " AND "), args
}

// A rowSource reads the rows of a query.
type rowSource struct {
	db   *sql.DB
	rows *sql.Rows
}

func (s *rowSource) skipped() int { return 0 }
func (s *rowSource) Close() error { return errors.Join(s.rows.Close(), s.db.Close()) }

func (s *rowSource) next() (*logEntry, error) {
	if !s.rows.Next() {
		if err := s.rows.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	return scanEntry(s.rows)
}

// scanEntry reads one row; first are columns in front of the record's.
func scanEntry(rows *sql.Rows, first ...any) (*logEntry, error) {
	var at, level, msg, group, stream, attrs sql.NullString
	var worker, pid sql.NullInt64
	if err := rows.Scan(append(first, &at, &level, &msg, &group, &worker, &pid, &stream, &attrs)...); err != nil {
		return nil, err
	}
	e := &logEntry{msg: msg.String, group: group.String, worker: int(worker.Int64), pid: int(pid.Int64), stream: stream.String}
	if at.Valid {
		var err error
		if e.time, err = time.Parse(time.RFC3339Nano, at.String); err != nil {
			return nil, err
		}
	}
	if err := e.level.UnmarshalText([]byte(level.String)); err != nil {
		return nil, err
	}
	if e.object = attrs.String; e.object == "" {
		e.object = "{}"
	}
	if err := e.members([]byte(e.object), "."); err != nil {
		return nil, fmt.Errorf("attrs %.100q: %w", e.object, err)
	}
	for i := range e.attrs {
		e.attrs[i].key = strings.TrimPrefix(e.attrs[i].key, ".")
	}
	return e, nil
}
