package sqlproxy_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"shmkit/dataio/sqlproxy"
	"shmkit/internal/proctest"
)

var _ = proctest.Helper("reader", func(args []string) {
	db := attached(args[1:])
	start := time.Now()
	rows, err := db.Query("rows " + args[0])
	if err != nil {
		die(err)
	}
	count := 0
	var n int64
	var s string
	for rows.Next() {
		if err := rows.Scan(&n, &s); err != nil {
			die(err)
		}
		count++
	}
	if err := rows.Err(); err != nil {
		die(err)
	}
	if strconv.Itoa(count) != args[0] {
		fmt.Fprintln(os.Stderr, count, "rows")
		os.Exit(1)
	}
	fmt.Println(time.Since(start).Nanoseconds())
})

// BenchmarkRows streams rows of a number and a short text from a source that costs
// nothing to a worker process, which scans them.
func BenchmarkRows(b *testing.B) {
	l := newLab(b, sqlproxy.Policy{})
	n := max(b.N, 1000)
	cmd, out, lease := l.process(b, "reader", strconv.Itoa(n))
	line, err := out.ReadString('\n')
	if err != nil {
		b.Fatal(line, err)
	}
	var ns float64
	fmt.Sscan(line, &ns)
	b.ReportMetric(float64(n)/ns*1e3, "Mrows/s")
	cmd.Wait()
	lease.Close()
}
