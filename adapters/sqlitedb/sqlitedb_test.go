package sqlitedb_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shmkit/adapters/sqlitedb"
)

// files lists a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Guarantees:
//  1. what was committed is there after Close and a new Open,
//  2. Close leaves one file, although the write-ahead log was in use,
//  3. characters that mean something in a URI are just a file name.
func TestOneFileIsLeft(t *testing.T) {
	for _, name := range []string{"run.db", "odd ?name%20#&=.db", "-x.db", "ünï.db"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		db, err := sqlitedb.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (1), (2), (3)"); err != nil {
			t.Fatal(err)
		}
		if got := files(t, dir); !slices.Contains(got, name+"-wal") {
			t.Errorf("%s: while open there is %q: the check below would prove nothing", name, got)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if got := files(t, dir); !slices.Equal(got, []string{name}) {
			t.Errorf("%s: left are %q", name, got)
		}

		if db, err = sqlitedb.Open(path); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow("SELECT sum(n) FROM t").Scan(&n); err != nil || n != 6 {
			t.Errorf("%s: sum %d, %v", name, n, err)
		}
		db.Close()
	}
}

func TestPragmas(t *testing.T) {
	db, err := sqlitedb.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for pragma, want := range map[string]string{
		"journal_mode": "wal",
		"busy_timeout": fmt.Sprint(sqlitedb.BusyTimeout.Milliseconds()),
		"synchronous":  "1",
	} {
		var got string
		if err := db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
	if n := db.Stats().MaxOpenConnections; n != 1 {
		t.Errorf("%d connections", n)
	}
	// A time is stored in the form that SQLite's own functions read.
	var year string
	if err := db.QueryRow("SELECT strftime('%Y', ?)", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)).Scan(&year); err != nil || year != "2026" {
		t.Errorf("year %q, %v", year, err)
	}
}

// Two handles write at the same time: each waits for the other, none fails.
func TestWritersWaitForEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	first, err := sqlitedb.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := first.Exec("CREATE TABLE t(n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := sqlitedb.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			for i := range 20 {
				if _, err := db.Exec("INSERT INTO t VALUES (?)", i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := first.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil || n != 80 {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, says string }{
		{"", "give a path"},
		{dir, "it is a folder"},
		{filepath.Join(dir, "no", "x.db"), "does not exist: create it first"},
		{filepath.Join(text, "x.db"), "is not a folder"},
		{text, "not a database"},
	} {
		db, err := sqlitedb.Open(c.path)
		var e *sqlitedb.Error
		if db != nil || !errors.As(err, &e) || e.Path != c.path || !strings.Contains(err.Error(), c.says) ||
			!strings.Contains(err.Error(), fmt.Sprintf("%q", c.path)) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", c.path, err)
		}
	}
	if _, err := sqlitedb.Open(filepath.Join(dir, "no", "x.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder is not fs.ErrNotExist: %v", err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"text.db"}) {
		t.Errorf("failed opens left %q", got)
	}
}

func TestReadOnlyPlace(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	if _, err := sqlitedb.Open(filepath.Join(dir, "x.db")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("in a folder that cannot be written: %v", err)
	}
}
