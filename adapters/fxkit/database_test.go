package fxkit_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/adapters/sqlitedb"
	"shmkit/dataio/sqlproxy"
)

// inserts asks for a database and does not care where it is.
var inserts = fxkit.Func("inserts", func(ctx context.Context, db *sql.DB, rank fxkit.Rank) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for n := range 10 {
		if _, err := tx.ExecContext(ctx, "INSERT INTO numbers VALUES (?, ?)", int(rank), n); err != nil {
			return err
		}
	}
	return tx.Commit()
}, fxkit.Shared("databases", sqlproxy.Attach), fx.Provide(func(c *sqlproxy.Client) *sql.DB { return c.DB("main") }))

// The owner has the one real connection; what it opened is closed after the last
// worker has ended.
func TestWorkersShareADatabase(t *testing.T) {
	o, _ := options(t)
	path := filepath.Join(t.TempDir(), "numbers.db")
	open := func(lc fx.Lifecycle) (*sql.DB, error) {
		db, err := sqlitedb.Open(path)
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StopHook(db.Close))
		_, err = db.Exec("CREATE TABLE numbers (rank INTEGER, n INTEGER)")
		return db, err
	}
	code := run(t, o, shmkit.Spec{Func: inserts, Workers: 3}, fx.Provide(open),
		fxkit.Share[*sqlproxy.Server]("databases", func(db *sql.DB) (*sqlproxy.Server, error) {
			return sqlproxy.NewServer(map[string]*sql.DB{"main": db}, nil)
		}))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	db, err := sqlitedb.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	if err := db.QueryRow("SELECT count(*) || ' ' || count(DISTINCT rank) || ' ' || sum(n) FROM numbers").Scan(&got); err != nil || got != fmt.Sprint(30, 3, 135) {
		t.Errorf("%q, %v", got, err)
	}
}

// In a test the database is a local one, and the node is not asked for any.
func TestDatabaseIsOverridden(t *testing.T) {
	o, _ := options(t)
	if code := run(t, o, shmkit.Spec{Func: inserts, Workers: 2, Env: fxkit.With(localDatabase)}); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

var localDatabase = fxkit.Override("local-database", fx.Decorate(func(lc fx.Lifecycle) (*sql.DB, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // each would have a memory of its own
	lc.Append(fx.StopHook(db.Close))
	_, err = db.Exec("CREATE TABLE numbers (rank INTEGER, n INTEGER)")
	return db, err
}))
