package sqlitedb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"shmkit/adapters/sqlitedb"
	"shmkit/dataio/sqlproxy"
	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// node serves the SQLite file at path to worker processes of a test: one writer, four
// readers.
type node struct {
	*sqlproxy.Server
	db, readers *sql.DB
}

func serve(t testing.TB, path string, p sqlproxy.Policy) *node {
	t.Helper()
	db, err := sqlitedb.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if p.Readers, err = sqlitedb.OpenReaders(path, 4); err != nil {
		t.Fatal(err)
	}
	s, err := sqlproxy.NewServer(map[string]*sql.DB{"main": db}, map[string]sqlproxy.Policy{"main": p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		p.Readers.Close()
		db.Close()
	})
	return &node{s, db, p.Readers}
}

// local gives a worker's side in this process.
func (n *node) local(t testing.TB) *sqlproxy.Client {
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
	return c
}

// start runs a helper as a worker process.
func (n *node) start(t testing.TB, helper string, rank int, args ...string) (wait func() string) {
	t.Helper()
	files, words, lease, err := n.Donate("test", rank, 1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(t, helper, append(words, args...)...)
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	return func() string {
		b, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if err := lease.Close(); err != nil {
			t.Error(err)
		}
		return string(b)
	}
}

// worker is the helper's end.
func worker(args []string) (*sql.DB, []string) {
	c, err := sqlproxy.Attach([]*os.File{os.NewFile(3, "line")}, args[:1])
	if err != nil {
		die(err)
	}
	return c.DB("main"), args[1:]
}

func die(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Statements of a worker see what SQLite sees: writes go to the one writer, reads to
// readers that do not wait for it, and a connection that has written reads what it wrote.
func TestWriterAndReaders(t *testing.T) {
	n := serve(t, filepath.Join(t.TempDir(), "f.db"), sqlproxy.Policy{})
	db := n.local(t).DB("main")
	if _, err := db.Exec("CREATE TABLE t(n INTEGER PRIMARY KEY, s TEXT, b BLOB, at DATETIME)"); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		res, err := tx.Exec("INSERT INTO t VALUES(?,?,?,?)", i, fmt.Sprint("row ", i), []byte{byte(i)}, at)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := res.LastInsertId(); err != nil || id != int64(i) {
			t.Fatal(id, err)
		}
	}
	count := func(q interface {
		QueryRow(string, ...any) *sql.Row
	}) (n int) {
		t.Helper()
		if err := q.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := count(tx); got != 3000 {
		t.Errorf("the transaction sees %d rows of its own", got)
	}
	if got := count(db); got != 0 {
		t.Errorf("others see %d rows of an open transaction", got)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT n, s, b, at FROM t ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for ; rows.Next(); i++ {
		var n int
		var s string
		var b []byte
		var when time.Time
		if err := rows.Scan(&n, &s, &b, &when); err != nil {
			t.Fatal(err)
		}
		if n != i || s != fmt.Sprint("row ", i) || len(b) != 1 || b[0] != byte(i) || !when.Equal(at) {
			t.Fatalf("row %d: %d %q %v %v", i, n, s, b, when)
		}
	}
	if err := rows.Err(); err != nil || i != 3000 {
		t.Fatalf("%d rows, %v", i, err)
	}
	ro, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := count(ro); got != 3000 {
		t.Errorf("%d rows", got)
	}
	if _, err := ro.Exec("DELETE FROM t"); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("a write in a read-only transaction: %v", err)
	}
	ro.Rollback()

	// A connection keeps what its statements left, as it does directly.
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var got int
	for _, q := range []string{"CREATE TEMP TABLE mine(n)", "INSERT INTO mine VALUES(42)"} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.QueryRowContext(t.Context(), "SELECT n FROM mine").Scan(&got); err != nil || got != 42 {
		t.Errorf("temporary table: %d, %v", got, err)
	}
}

// A worker finds the driver's error with its code.
func TestErrorsKeepTheirType(t *testing.T) {
	n := serve(t, filepath.Join(t.TempDir(), "e.db"), sqlproxy.Policy{})
	db := n.local(t).DB("main")
	for _, query := range []string{
		"CREATE TABLE u(k TEXT UNIQUE); INSERT INTO u VALUES('a')", "INSERT INTO u VALUES('a')", "SELECT nonsense", "SELECT * FROM missing",
	} {
		_, direct := n.db.Exec(query)
		_, err := db.Exec(query)
		if strings.HasPrefix(query, "CREATE") {
			continue // once is enough, and the second fails
		}
		var want, got *sqlite.Error
		if !errors.As(direct, &want) || !errors.As(err, &got) || got.Code() != want.Code() || err.Error() != direct.Error() {
			t.Errorf("%s: directly %v, forwarded %v", query, direct, err)
		}
	}
}

// The end of a context interrupts SQLite.
func TestCancel(t *testing.T) {
	n := serve(t, filepath.Join(t.TempDir(), "c.db"), sqlproxy.Policy{})
	db := n.local(t).DB("main")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"
	var got int
	if err := db.QueryRowContext(ctx, endless).Scan(&got); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := db.QueryRow("SELECT 7").Scan(&got); err != nil || got != 7 {
		t.Errorf("afterwards: %v", err)
	}
}

func TestReadersErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "x.db")
	var e *sqlitedb.Error
	db, err := sqlitedb.OpenReaders(missing, 2)
	if db != nil || !errors.As(err, &e) || e.Path != missing || !strings.Contains(err.Error(), "open it for writing first") {
		t.Errorf("%v", err)
	}
	if left := files(t, filepath.Dir(missing)); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
