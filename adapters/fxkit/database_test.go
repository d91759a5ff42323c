package fxkit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/adapters/sqlitedb"
	"shmkit/dataio/recfile"
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
}, fxkit.DB("main"))

// openNumbers is the owner's database. fxkit closes it.
func openNumbers(path string) (*sql.DB, error) {
	db, err := sqlitedb.Open(path)
	if err == nil {
		_, err = db.Exec("CREATE TABLE IF NOT EXISTS numbers (rank INTEGER, n INTEGER)")
	}
	return db, err
}

// The owner has the one real connection; it is closed after the last worker has ended.
func TestWorkersShareADatabase(t *testing.T) {
	o, _ := options(t)
	path := filepath.Join(t.TempDir(), "numbers.db")
	var owners *sql.DB
	code := run(t, o, shmkit.Spec{Func: inserts, Workers: 3},
		fx.Supply(path), fxkit.Database("main", sqlproxy.Policy{}, openNumbers),
		fx.Invoke(fx.Annotate(func(db *sql.DB) { owners = db }, fx.ParamTags(`name:"main"`))))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := owners.Ping(); !says(err, "database is closed") {
		t.Errorf("not closed: %v", err)
	}
	db, err := openNumbers(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	if err := db.QueryRow("SELECT count(*) || ' ' || count(DISTINCT rank) || ' ' || sum(n) FROM numbers").Scan(&got); err != nil || got != fmt.Sprint(30, 3, 135) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTwoDatabasesOfOneName(t *testing.T) {
	db, err := openNumbers(filepath.Join(t.TempDir(), "numbers.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o, _ := options(t)
	o.Databases = map[string]*sql.DB{"main": db}
	app := fx.New(fxkit.Node(o), fx.NopLogger, fxkit.Database("main", sqlproxy.Policy{}, func() *sql.DB { return db }))
	if !says(app.Err(), `two databases are called "main": give one of them another name`) {
		t.Error(app.Err())
	}
}

var appends = fxkit.Func("appends", func(ctx context.Context, rank fxkit.Rank, in struct {
	fx.In
	File *recfile.File
	Same *recfile.File `name:"results"`
}) error {
	if in.File != in.Same {
		return errors.New("two files of one name")
	}
	return in.File.Append([]byte(fmt.Sprintf("rank %d", int(rank))))
}, fxkit.File("results"))

func TestWorkersShareAFile(t *testing.T) {
	o, _ := options(t)
	path := filepath.Join(t.TempDir(), "results.txt")
	o.Files = map[string]recfile.Options{"results": {Path: path}}
	if code := run(t, o, shmkit.Spec{Func: appends, Workers: 2}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	got, err := os.ReadFile(path)
	if lines := slices.Sorted(strings.Lines(string(got))); err != nil || !slices.Equal(lines, []string{"rank 0\n", "rank 1\n"}) {
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
