package sqlitedb

import (
	"context"
	"database/sql"
	"net/url"
)

// OpenReaders opens an existing SQLite database for up to n readers at the same
// time. They see what was committed, never wait for the writer and never make it wait.
// What would write fails. Together with [Open] in the same process it is what many
// workers want:
//
//	db, err := sqlitedb.Open(path)               // one writer, in turn
//	readers, err := sqlitedb.OpenReaders(path, 8)
//	policy := sqlproxy.Policy{Readers: readers}
//
// The caller closes the handle, before that of the writer.
func OpenReaders(path string, n int) (*sql.DB, error) {
	abs, err := check(path)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(dsn(abs))
	if err != nil {
		return nil, &Error{path, err, "check the path"}
	}
	q := u.Query()
	q.Set("mode", "rw") // readers of a write-ahead log write to its index; but they create nothing
	q.Add("_pragma", "query_only(1)")
	u.RawQuery = q.Encode()
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, &Error{path, err, "check the path"}
	}
	db.SetMaxOpenConns(max(n, 1))
	db.SetMaxIdleConns(max(n, 1))
	var version int
	if err := db.QueryRowContext(context.Background(), "PRAGMA schema_version").Scan(&version); err != nil {
		db.Close()
		return nil, &Error{path, explain(abs, err), "open it for writing first"}
	}
	return db, nil
}
