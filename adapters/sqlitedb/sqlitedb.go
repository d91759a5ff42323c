// Package sqlitedb opens SQLite files for one writing process, without cgo.
//
//	db, err := sqlitedb.Open("out/run.db")
//	if err != nil {
//		return err // sqlitedb: open "out/run.db": folder "out" does not exist: create it first
//	}
//	defer db.Close()
//	sink, err := logring.SQL(db, "logs")
//
// What a caller can rely on:
//
//   - [Open] returns a database that was written to in a test transaction: a
//     folder, a file of another kind, a read-only place are errors at once.
//   - Other processes can read while this one writes (write-ahead log), and a
//     transaction waits up to [BusyTimeout] for another writer.
//   - After a Close there is one file: the write-ahead log is folded in and
//     removed, unless another process still has the database open.
//   - A crash loses no committed transaction of an earlier process; a power
//     failure may lose the last ones but never damages the file
//     (synchronous=NORMAL).
//
// The write-ahead log needs a file system of this machine: do not put the file
// on NFS or Lustre when processes of several machines open it.
package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// BusyTimeout is how long a statement waits for a lock of another process.
const BusyTimeout = 10 * time.Second

// Error names the database file that could not be opened, and why.
type Error struct {
	Path   string
	Err    error
	Advice string // what to do
}

func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Error() string {
	return fmt.Sprintf("sqlitedb: open %q: %v: %s", e.Path, e.Err, e.Advice)
}

// Open opens the SQLite database at path for reading and writing and creates it
// if it does not exist; the folder must. The handle uses one connection, since
// SQLite has one writer at a time anyway: statements of several goroutines queue
// up instead of failing with SQLITE_BUSY, and a transaction that is left open
// blocks them all. The caller closes it.
func Open(path string) (*sql.DB, error) {
	abs, err := check(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(abs))
	if err != nil {
		return nil, &Error{path, err, "check the path"}
	}
	db.SetMaxOpenConns(1)
	if err := tryWrite(db); err != nil {
		db.Close()
		return nil, &Error{path, explain(abs, err), "give the path of a writable SQLite file, or of a new one"}
	}
	return db, nil
}

// check finds out with the system's own words what SQLite would only call
// "unable to open database file". The path is made absolute, so that later
// connections do not depend on the working directory.
func check(path string) (string, error) {
	if path == "" {
		return "", &Error{path, fs.ErrInvalid, "give a path"}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", &Error{path, err, "give an absolute path"}
	}
	if st, err := os.Stat(abs); err == nil && st.IsDir() {
		return "", &Error{path, errors.New("it is a folder"), "give the path of a file in it"}
	}
	dir := filepath.Dir(abs)
	switch st, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return "", &Error{path, fmt.Errorf("folder %q does not exist%w", filepath.Dir(path), quiet{err}), "create it first"}
	case err != nil:
		return "", &Error{path, err, "check the path"}
	case !st.IsDir():
		return "", &Error{path, fmt.Errorf("%q is not a folder", filepath.Dir(path)), "check the path"}
	}
	return abs, nil
}

// explain replaces SQLite's "unable to open database file" by what the system
// says when the same file is opened.
func explain(abs string, err error) error {
	_, missing := os.Lstat(abs)
	f, openErr := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if openErr == nil {
		f.Close()
		if missing != nil {
			os.Remove(abs)
		}
		return err // not a matter of access
	}
	var pathErr *fs.PathError
	if errors.As(openErr, &pathErr) {
		openErr = pathErr.Err
	}
	return openErr
}

// quiet keeps a cause for errors.Is without repeating its text.
type quiet struct{ error }

func (quiet) Error() string   { return "" }
func (q quiet) Unwrap() error { return q.error }

// dsn spells an absolute path as SQLite's URI form, so that ?, # and % in a file
// name are just characters, and lists the pragmas that every connection gets.
// The order counts: the busy timeout must hold when the journal mode is changed.
func dsn(abs string) string {
	q := url.Values{}
	q.Add("_pragma", "busy_timeout("+strconv.FormatInt(BusyTimeout.Milliseconds(), 10)+")")
	q.Add("_pragma", "journal_mode(WAL)")
	q.Add("_pragma", "synchronous(NORMAL)")
	q.Set("_txlock", "immediate")   // a transaction waits at its begin, not in its middle
	q.Set("_time_format", "sqlite") // what SQLite's own date functions understand
	return "file://" + (&url.URL{Path: abs}).EscapedPath() + "?" + q.Encode()
}

// tryWrite makes the file a database in a transaction that is rolled back.
func tryWrite(db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*BusyTimeout)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "ROLLBACK")
	return err
}
