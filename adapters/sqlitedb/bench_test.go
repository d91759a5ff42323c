package sqlitedb_test

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"shmkit/adapters/sqlitedb"
	"shmkit/dataio/sqlproxy"
	"shmkit/internal/proctest"
)

// The benchmarks compare workers of a node with what they replace: a handle in this
// process, or processes that open the file themselves. Both parties run in turn, in
// one run, with the same statements on the same settings (write-ahead log,
// synchronous=NORMAL).

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

var _ = proctest.Helper("stream", func(args []string) {
	db, args := worker(args)
	d, err := stream(db, args[0])
	if err != nil {
		die(err)
	}
	fmt.Print(int64(d))
})

// stream reads n small rows.
func stream(db *sql.DB, n string) (time.Duration, error) {
	start := time.Now()
	rows, err := db.Query("SELECT i, 'some text' FROM t LIMIT " + n)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var i int64
	var s string
	count := 0
	for ; rows.Next(); count++ {
		if err := rows.Scan(&i, &s); err != nil {
			return 0, err
		}
	}
	if strconv.Itoa(count) != n {
		return 0, fmt.Errorf("%d rows: %v", count, rows.Err())
	}
	return time.Since(start), rows.Err()
}

// BenchmarkRows streams small rows from a table: ratio is forwarded over direct.
func BenchmarkRows(b *testing.B) {
	n := serve(b, filepath.Join(b.TempDir(), "r.db"), sqlproxy.Policy{})
	count := strconv.Itoa(max(b.N, 1000))
	if _, err := n.db.Exec("CREATE TABLE t(i INTEGER); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT " + count + ") INSERT INTO t SELECT i FROM n"); err != nil {
		b.Fatal(err)
	}
	var direct, forwarded []float64
	for range 3 {
		d, err := stream(n.db, count)
		if err != nil {
			b.Fatal(err)
		}
		f, err := strconv.Atoi(n.start(b, "stream", 0, count)())
		if err != nil {
			b.Fatal(err)
		}
		rows, _ := strconv.ParseFloat(count, 64)
		direct, forwarded = append(direct, rows/d.Seconds()), append(forwarded, rows/time.Duration(f).Seconds())
	}
	slices.Sort(direct)
	slices.Sort(forwarded)
	b.ReportMetric(direct[1]/1e6, "direct-Mrows/s")
	b.ReportMetric(forwarded[1]/1e6, "forwarded-Mrows/s")
	b.ReportMetric(forwarded[1]/direct[1], "ratio")
}

const insert = "INSERT INTO t(worker, i, s) VALUES(?, ?, ?)"

// insertRows inserts n rows, one transaction each, and says how many times SQLite was
// busy and nothing but that.
func insertRows(db *sql.DB, rank string, n int) (busy int, err error) {
	for i := range n {
		for {
			_, err := db.Exec(insert, rank, i, "some text that is a little longer")
			if err == nil {
				break
			}
			if !strings.Contains(err.Error(), "SQLITE_BUSY") {
				return busy, err
			}
			busy++
		}
	}
	return busy, nil
}

var _ = proctest.Helper("inserter", func(args []string) {
	db, args := worker(args)
	inserter(db, args)
})

var _ = proctest.Helper("lone-inserter", func(args []string) {
	db, err := sqlitedb.Open(args[0])
	if err != nil {
		die(err)
	}
	inserter(db, args[1:])
	db.Close()
})

func inserter(db *sql.DB, args []string) {
	n, _ := strconv.Atoi(args[1])
	busy, err := insertRows(db, args[0], n)
	if err != nil {
		die(err)
	}
	fmt.Print(busy)
}

const inserters = 16

// insertAll runs all inserters and returns how long they took, and how often they were
// told that SQLite was busy.
func insertAll(t testing.TB, n int, forwarded bool) (took time.Duration, busy int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "i.db")
	s := serve(t, path, sqlproxy.Policy{})
	if _, err := s.db.Exec("CREATE TABLE t(worker TEXT, i INTEGER, s TEXT)"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var waits []func() string
	for rank := range inserters {
		if forwarded {
			waits = append(waits, s.start(t, "inserter", rank, strconv.Itoa(rank), strconv.Itoa(n)))
			continue
		}
		cmd := proctest.Command(t, "lone-inserter", path, strconv.Itoa(rank), strconv.Itoa(n))
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waits = append(waits, func() string {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			return out.String()
		})
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, wait := range waits {
		wg.Go(func() {
			b, err := strconv.Atoi(wait())
			mu.Lock()
			defer mu.Unlock()
			if busy += b; err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	took = time.Since(start)
	var rows, distinct int
	if err := s.db.QueryRow("SELECT count(*), count(DISTINCT worker || '/' || i) FROM t").Scan(&rows, &distinct); err != nil || rows != inserters*n || distinct != rows {
		t.Errorf("%d rows, %d distinct, %v; want %d", rows, distinct, err, inserters*n)
	}
	return took, busy
}

// 16 workers insert at the same time: each row is there once, and none is told that the
// database is busy.
func TestSixteenInserters(t *testing.T) {
	if _, busy := insertAll(t, 50, true); busy != 0 {
		t.Errorf("SQLITE_BUSY %d times", busy)
	}
}

// BenchmarkInserters is that against 16 processes that open the file themselves. ratio
// is forwarded over direct.
func BenchmarkInserters(b *testing.B) {
	n := max(b.N, 50)
	var direct, forwarded []float64
	var told int
	for range 3 {
		d, busy := insertAll(b, n, false)
		told += busy
		f, busy := insertAll(b, n, true)
		if busy != 0 {
			b.Errorf("SQLITE_BUSY %d times", busy)
		}
		direct, forwarded = append(direct, float64(inserters*n)/d.Seconds()), append(forwarded, float64(inserters*n)/f.Seconds())
	}
	slices.Sort(direct)
	slices.Sort(forwarded)
	b.ReportMetric(direct[1], "direct-rows/s")
	b.ReportMetric(forwarded[1], "forwarded-rows/s")
	b.ReportMetric(forwarded[1]/direct[1], "ratio")
	b.ReportMetric(float64(told), "direct-busy")
}

// TestBenchmarksRun keeps the benchmarks from rotting.
func TestBenchmarksRun(t *testing.T) {
	was := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", was)
	flag.Set("test.benchtime", "5x")
	for name, f := range map[string]func(*testing.B){"latency": BenchmarkLatency, "rows": BenchmarkRows, "inserters": BenchmarkInserters} {
		if r := testing.Benchmark(f); r.N == 0 {
			t.Errorf("%s failed", name)
		}
	}
}
