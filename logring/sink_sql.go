package logring

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SQL returns a sink that inserts records into a table, each batch in one
// transaction, every value as a bound parameter. The table is created if it is
// missing:
//
//	time TEXT     2006-01-02T15:04:05.000000000Z: UTC, so that text order is time order
//	level TEXT    as slog names it
//	msg TEXT
//	group TEXT, worker INTEGER, pid INTEGER
//	stream TEXT   stdout or stderr for a captured line, else NULL
//	attrs TEXT    a JSON object, with the marks source, continued, late, salvaged and truncated
//
// Statements are written for SQLite and PostgreSQL ($1 parameters, quoted
// names). NUL bytes and bytes that are not UTF-8, which databases refuse, are
// stored as U+FFFD; in attrs, too, so that PostgreSQL can take it as jsonb.
//
// A batch that fails before its commit is rolled back and offered again. When the
// commit itself fails, PostgreSQL is asked what came of it once it answers
// again, and SQLite has rolled back; with another database nobody knows, and the
// batch is counted as dropped: a row is never inserted twice.
//
// While the database is away, records wait in the queue of the sink, at most
// [SinkOptions.Queue] bytes; what comes when it is full is dropped and counted.
// SQL does not close db.
func SQL(db *sql.DB, table string) (Sink, error) {
	if db == nil {
		return nil, errors.New("logring: SQL sink: the database is nil")
	}
	if !tableName.MatchString(table) {
		return nil, fmt.Errorf("logring: SQL sink: table name %q: use letters, digits and _, at most 63, optionally SCHEMA.TABLE", table)
	}
	quoted := `"` + strings.ReplaceAll(table, ".", `"."`) + `"`
	s := &sqlSink{db: db, table: table, rows: 32}
	if strings.Contains(strings.ToLower(fmt.Sprintf("%T", db.Driver())), "sqlite") {
		s.sqlite, s.rows = true, 1 // no round trip to save, and Go's SQLite drivers bind in O(n²)
	}
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS ` + quoted + ` ("time" TEXT, "level" TEXT, "msg" TEXT, "group" TEXT, "worker" INTEGER, "pid" INTEGER, "stream" TEXT, "attrs" TEXT)`); err != nil {
		return nil, fmt.Errorf("logring: SQL sink: create table %s: %w", table, err)
	}
	s.one, s.many = insertInto(quoted, 1), insertInto(quoted, s.rows)
	if !s.sqlite {
		s.asks = s.hasTxidStatus()
	}
	return s, nil
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)

const sqlColumns = 8

// insertInto returns the statement that inserts rows rows.
func insertInto(table string, rows int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO ` + table + ` ("time","level","msg","group","worker","pid","stream","attrs") VALUES `)
	for i := range rows * sqlColumns {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%sqlColumns == 0:
			b.WriteString("),(")
		default:
			b.WriteString(",")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	return b.String() + ")"
}

type sqlSink struct {
	db        *sql.DB
	table     string
	rows      int // rows a statement inserts
	sqlite    bool
	asks      bool    // the database knows what came of a transaction
	unsure    *unsure // a commit that was not answered
	one, many string
	args      []any
	buf       []byte
}

func (s *sqlSink) String() string { return "sql:" + s.table }
func (s *sqlSink) Sync() error    { return nil } // a commit is as durable as the database makes it
func (s *sqlSink) Close() error   { return nil }
func (s *sqlSink) Patient()       {}

// sqlTimeout bounds one batch, so that a database that answers nothing is an
// error and not a hung sink.
const sqlTimeout = time.Minute

func (s *sqlSink) Write(batch []Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	if done, err := s.settle(ctx, batch); done || err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.failed(err, true)
	}
	var id int64
	if s.asks {
		err = tx.QueryRowContext(ctx, `SELECT txid_current()`).Scan(&id)
	}
	if err == nil {
		err = s.insert(ctx, tx, batch)
	}
	if err != nil {
		tx.Rollback()
		return s.failed(err, true)
	}
	if err := tx.Commit(); err != nil {
		switch {
		case s.sqlite:
			s.db.ExecContext(ctx, `ROLLBACK`) // if it has not done so itself
		case s.asks:
			s.unsure = &unsure{id, fingerprint(batch)}
		}
		return s.failed(err, s.sqlite || s.asks)
	}
	return nil
}

func (s *sqlSink) failed(err error, retry bool) error {
	return &WriteError{Retry: retry, Err: fmt.Errorf("logring: insert into table %s: %w", s.table, err)}
}

func (s *sqlSink) insert(ctx context.Context, tx *sql.Tx, batch []Record) error {
	for len(batch) > 0 {
		n, text := 1, s.one
		if len(batch) >= s.rows {
			n, text = s.rows, s.many
		}
		stmt, err := tx.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		for ; err == nil && len(batch) >= n; batch = batch[n:] {
			s.args = s.args[:0]
			for i := range n {
				s.bind(&batch[i])
			}
			_, err = stmt.ExecContext(ctx, s.args...)
		}
		if cerr := stmt.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bind appends the values of one row.
func (s *sqlSink) bind(r *Record) {
	var at, stream any
	if !r.Time.IsZero() {
		at = r.Time.UTC().Format("2006-01-02T15:04:05.000000000Z")
	}
	if r.Stream != "" {
		stream = sqlText(r.Stream)
	}
	s.args = append(s.args, at, r.Level.String(), sqlText(r.Message), sqlText(r.Group),
		int64(r.Worker), int64(r.PID), stream, s.attrs(r))
}

// attrs returns the attributes as a JSON object.
func (s *sqlSink) attrs(r *Record) string {
	b := append(s.buf[:0], '{')
	if r.Continued {
		b = append(b, `"continued":true,`...)
	}
	if r.Late {
		b = append(b, `"late":true,`...)
	}
	if r.Salvaged {
		b = append(b, `"salvaged":true,`...)
	}
	if r.Truncated > 0 {
		b = append(b, `"truncated":`...)
		b = append(strconv.AppendInt(b, int64(r.Truncated), 10), ',')
	}
	if src, ok := r.Source(); ok {
		b = append(b, `"source":`...)
		b = append(appendQuoted(b, []byte(src.File+":"+strconv.Itoa(src.Line))), ',')
	}
	b = appendJSONAttrs(b, r.attrs, true)
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	s.buf = withoutNUL(append(b, '}'))
	return string(s.buf)
}

// withoutNUL puts U+FFFD for the escape of NUL in JSON text, in place: PostgreSQL's
// jsonb has no such character.
func withoutNUL(b []byte) []byte {
	for i := bytes.IndexByte(b, '\\'); i >= 0 && i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(b[i:], []byte(`\u0000`)) {
			copy(b[i:], `\ufffd`)
		}
		i++ // what is escaped
	}
	return b
}

// sqlText returns a copy of s that every database takes.
func sqlText(s string) string {
	if utf8.ValidString(s) && !strings.Contains(s, "\x00") {
		return strings.Clone(s)
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
