package sqlitedb_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"shmkit/adapters/sqlitedb"
	"shmkit/dataio/sqlproxy"
	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// node serves the SQLite file at path to worker processes of a test.
type node struct {
	*sqlproxy.Server
	db *sql.DB
}

func serve(t testing.TB, path string, p sqlproxy.Policy) *node {
	t.Helper()
	db, err := sqlitedb.Open(path)
	if err != nil {
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
		db.Close()
	})
	return &node{s, db}
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

// selectOnce is what the latency is measured with.
func selectOnce(db *sql.DB, n int64) error {
	var got int64
	err := db.QueryRow("select ?", n).Scan(&got)
	if err == nil && got != n {
		err = fmt.Errorf("got %d instead of %d", got, n)
	}
	return err
}

func p50(n int, f func() error) (time.Duration, error) {
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[n/2], nil
}

var _ = proctest.Helper("latency", func(args []string) {
	db, args := worker(args)
	n, _ := strconv.Atoi(args[0])
	d, err := p50(n, func() error { return selectOnce(db, int64(n)) })
	if err != nil {
		die(err)
	}
	fmt.Print(int64(d))
})

// BenchmarkLatency is a query of one row: directly, and by a worker process. added-ns
// is the difference of the medians of one run.
func BenchmarkLatency(b *testing.B) {
	n := serve(b, filepath.Join(b.TempDir(), "l.db"), sqlproxy.Policy{})
	count := max(b.N, 200)
	var direct, forwarded []time.Duration
	for range 5 { // in turn, so that a busy machine is busy for both
		d, err := p50(count, func() error { return selectOnce(n.db, int64(count)) })
		if err != nil {
			b.Fatal(err)
		}
		direct = append(direct, d)
		f, err := strconv.Atoi(n.start(b, "latency", 0, strconv.Itoa(count))())
		if err != nil {
			b.Fatal(err)
		}
		forwarded = append(forwarded, time.Duration(f))
	}
	slices.Sort(direct)
	slices.Sort(forwarded)
	b.ReportMetric(float64(direct[2]), "direct-ns")
	b.ReportMetric(float64(forwarded[2]), "forwarded-ns")
	b.ReportMetric(float64(forwarded[2]-direct[2]), "added-ns")
}

func TestForwarded(t *testing.T) {
	n := serve(t, filepath.Join(t.TempDir(), "f.db"), sqlproxy.Policy{})
	db := n.local(t).DB("main")
	if _, err := db.Exec("CREATE TABLE t(n INTEGER, s TEXT, b BLOB)"); err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if _, err := tx.Exec("INSERT INTO t VALUES(?,?,?)", i, fmt.Sprint("row ", i), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT n, s, b FROM t ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for rows.Next() {
		var i int
		var s string
		var b []byte
		if err := rows.Scan(&i, &s, &b); err != nil {
			t.Fatal(err)
		}
		if i != count || s != fmt.Sprint("row ", i) || len(b) != 1 || b[0] != byte(i) {
			t.Fatalf("row %d: %d %q %v", count, i, s, b)
		}
		count++
	}
	if err := rows.Err(); err != nil || count != 3000 {
		t.Fatalf("%d rows, %v", count, err)
	}
}
