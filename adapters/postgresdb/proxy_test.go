//go:build linux

package postgresdb_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"shmkit/adapters/postgresdb"
	"shmkit/dataio/sqlproxy"
	"shmkit/internal/pgtest"
	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// node serves a real PostgreSQL to workers.
type node struct {
	*sqlproxy.Server
	pg *pgtest.Server
	db *sql.DB
}

func serve(t testing.TB) *node {
	t.Helper()
	n := &node{pg: pgtest.Start(t)}
	var err error
	if n.db, err = postgresdb.Open(n.pg.DSN()); err != nil {
		t.Fatal(err)
	}
	n.db.SetMaxOpenConns(4)
	if n.Server, err = sqlproxy.NewServer(map[string]*sql.DB{"main": n.db}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Server.Close(); err != nil {
			t.Error(err)
		}
		n.db.Close()
	})
	return n
}

// local gives a worker's side in this process.
func (n *node) local(t testing.TB) *sql.DB {
	t.Helper()
	files, words, lease, err := n.Donate("local", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlproxy.Attach(files, words)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		lease.Close()
	})
	return c.DB("main")
}

// What a worker sees of PostgreSQL is what the node sees.
func TestForwarded(t *testing.T) {
	n := serve(t)
	db := n.local(t)
	for _, q := range []string{
		"CREATE TABLE t(id serial PRIMARY KEY, name text UNIQUE, at timestamptz, data bytea, price numeric(10,2))",
		"INSERT INTO t(name, at, data, price) VALUES('a', '2026-01-02 03:04:05.678901+02', '\\x00ff', 12.50), ('b', NULL, NULL, NULL)",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	read := func(db *sql.DB, query string, args ...any) (all [][]any, types []string, err error) {
		rows, err := db.Query(query, args...)
		if err != nil {
			return nil, nil, err
		}
		defer rows.Close()
		cols, err := rows.ColumnTypes()
		if err != nil {
			return nil, nil, err
		}
		for _, c := range cols {
			l, hasL := c.Length()
			p, s, hasP := c.DecimalSize()
			types = append(types, fmt.Sprint(c.Name(), c.DatabaseTypeName(), l, hasL, p, s, hasP, c.ScanType()))
		}
		for rows.Next() {
			row := make([]any, len(cols))
			into := make([]any, len(cols))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				return nil, nil, err
			}
			all = append(all, row)
		}
		return all, types, rows.Err()
	}
	for _, q := range []struct {
		text string
		args []any
	}{
		{"SELECT * FROM t ORDER BY id", nil},
		{"SELECT $1::text, $2::int8, $3::bool, $4::float8, $5::timestamptz, $6::bytea", []any{"ü", 7, true, 1.5, time.Unix(1, 2000), []byte{0, 1}}},
		{"SELECT name FROM t WHERE name = ANY($1)", []any{[]string{"a", "b", "c"}}},
		{"SELECT sum(i) FROM unnest($1::int8[]) AS i", []any{[]int64{1, 2, 3}}},
		{"SELECT i, repeat('x', i % 100) FROM generate_series(1, 20000) AS i", nil},
		{"SELECT repeat('y', 3000000)", nil},
		{"SELECT NULL, ''", nil},
		{"SELECT nonsense", nil},
		{"SELECT $1::int", []any{"not a number"}},
		{"SELECT 1/$1::int", []any{0}},
		{"SELECT 1", []any{"too many"}},
	} {
		want, wantTypes, wantErr := read(n.db, q.text, q.args...)
		got, types, err := read(db, q.text, q.args...)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(types, wantTypes) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: %d rows %v %v; directly %d rows %v %v", q.text, len(got), types, err, len(want), wantTypes, wantErr)
		}
	}
	_, err := db.Exec("INSERT INTO t(name) VALUES($1)", "a")
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "23505" || pgErr.ConstraintName != "t_name_key" {
		t.Errorf("unique violation: %v", err)
	}
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var level, readOnly string
	if err := tx.QueryRow("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')").Scan(&level, &readOnly); err != nil || level != "serializable" || readOnly != "on" {
		t.Errorf("transaction: %q %q %v", level, readOnly, err)
	}
	tx.Rollback()
}

// active counts what runs in the server beside the question itself.
func (n *node) active(t testing.TB, where string) (count int) {
	t.Helper()
	if err := n.db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND " + where).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

func (n *node) until(t testing.TB, what, where string, want int) time.Duration {
	t.Helper()
	start := time.Now()
	for n.active(t, where) != want {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("waited in vain: %s", what)
		}
	}
	return time.Since(start)
}

const (
	sleeping = "state = 'active' AND query LIKE '%pg_sleep%'"
	inTx     = "state LIKE 'idle in transaction%'"
)

// The end of a worker's context ends the statement in the server.
func TestCancel(t *testing.T) {
	n := serve(t)
	db := n.local(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := db.ExecContext(ctx, "SELECT pg_sleep(600)"); ended <- err }()
	n.until(t, "it sleeps", sleeping, 1)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	t.Logf("ended in the server after %v", n.until(t, "it has ended", sleeping, 0))
}

var _ = proctest.Helper("pg-victim", func(args []string) {
	c, err := sqlproxy.Attach([]*os.File{os.NewFile(3, "line")}, args[1:])
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	check(err)
	tx, err := c.DB("main").Begin()
	check(err)
	_, err = tx.Exec("INSERT INTO t VALUES(1)")
	check(err)
	if args[0] == "statement" {
		go tx.Exec("SELECT pg_sleep(600)")
	}
	fmt.Println("ready")
	select {}
})

// A worker that is killed leaves no transaction and no statement in the server.
func TestWorkerKilled(t *testing.T) {
	n := serve(t)
	if _, err := n.db.Exec("CREATE TABLE t(i int)"); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"transaction", "statement"} {
		files, words, lease, err := n.Donate("w", 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		cmd := proctest.Command(t, "pg-victim", append([]string{at}, words...)...)
		cmd.ExtraFiles = files
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		files[0].Close()
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(line, err)
		}
		if at == "statement" {
			n.until(t, "it sleeps", sleeping, 1)
		} else {
			n.until(t, "the transaction is open", inTx, 1)
		}
		cmd.Process.Kill()
		took := n.until(t, "nothing is left", "("+sleeping+" OR "+inTx+")", 0)
		cmd.Wait()
		if err := lease.Close(); err != nil {
			t.Error(err)
		}
		var rows int
		if err := n.db.QueryRow("SELECT count(*) FROM t").Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%s: %d rows, %v", at, rows, err)
		}
		t.Logf("%s: clean after %v", at, took)
	}
}

// A database that dies is an error, of unknown outcome for what was under way, and
// workers go on when it is back.
func TestDatabaseKilled(t *testing.T) {
	n := serve(t)
	db := n.local(t)
	ended := make(chan error)
	go func() { _, err := db.Exec("SELECT pg_sleep(600)"); ended <- err }()
	n.until(t, "it sleeps", sleeping, 1)
	n.pg.Crash()
	err := <-ended
	var pgErr *pgconn.PgError
	if err == nil || !errors.Is(err, sqlproxy.ErrOutcomeUnknown) && !(errors.As(err, &pgErr) && strings.HasPrefix(pgErr.Code, "57P")) {
		t.Errorf("under way: %v", err)
	}
	if err := db.Ping(); err == nil {
		t.Error("a dead database answers")
	}
	n.pg.Restart()
	var one int
	if err := db.QueryRow("SELECT 1").Scan(&one); err != nil || one != 1 {
		t.Errorf("afterwards: %v", err)
	}
}
