package sqlproxy_test

import (
	"bufio"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"shmkit/dataio/sqlproxy"
	"shmkit/internal/proctest"
)

// attached is the worker's side in a helper process: the line is descriptor 3.
func attached(words []string) *sql.DB {
	c, err := sqlproxy.Attach([]*os.File{os.NewFile(3, "line")}, words)
	if err != nil {
		die(err)
	}
	return c.DB("main")
}

func die(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process starts a helper as a worker process.
func (l *lab) process(t testing.TB, helper string, args ...string) (*exec.Cmd, *bufio.Reader, io.Closer) {
	t.Helper()
	files, words, lease, err := l.Donate("process", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(t, helper, append(args, words...)...)
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	return cmd, bufio.NewReader(out), lease
}

// victims are what a worker may be at when it dies.
var victims = []string{"transaction", "statement", "rows", "raw", "prepared", "idle"}

var _ = proctest.Helper("victim", func(args []string) {
	db, ctx := attached(args[1:]), context.Background()
	check := func(err error) {
		if err != nil {
			die(err)
		}
	}
	conn, err := db.Conn(ctx)
	check(err)
	tx, err := db.Begin()
	check(err)
	_, err = tx.Exec("note before")
	check(err)
	switch args[0] {
	case "statement":
		go tx.Exec("sleep")
	case "rows":
		rows, err := tx.Query("rows 100000")
		check(err)
		rows.Next()
	case "raw":
		_, err = conn.ExecContext(ctx, "BEGIN")
		check(err)
	case "prepared":
		_, err = conn.PrepareContext(ctx, "echo ?")
		check(err)
	case "idle":
		check(tx.Rollback())
	}
	fmt.Println("ready")
	select {}
})

// kill starts a worker, kills it at what it is at, and returns how long the database
// kept something of it.
func (l *lab) kill(t testing.TB, at string) time.Duration {
	t.Helper()
	cmd, out, lease := l.process(t, "victim", at)
	if s, err := out.ReadString('\n'); err != nil {
		t.Fatalf("%s: the worker said %q, %v", at, s, err)
	}
	if at == "statement" {
		until(t, "the statement runs", func() bool { return l.asleep.Load() > 0 })
	}
	if at != "idle" && l.txs.Load() == 0 {
		t.Fatalf("%s: no transaction to roll back", at)
	}
	start := time.Now()
	cmd.Process.Kill()
	left := func() bool { return l.txs.Load()+l.stmts.Load()+l.rows.Load() > 0 || l.db.Stats().InUse > 0 }
	for left() {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("%s: left after the death of the worker: %d transactions, %d statements, %d results, %d connections in use",
				at, l.txs.Load(), l.stmts.Load(), l.rows.Load(), l.db.Stats().InUse)
		}
		time.Sleep(50 * time.Microsecond)
	}
	took := time.Since(start)
	cmd.Wait()
	if err := lease.Close(); err != nil {
		t.Error(err)
	}
	return took
}

// A worker that is killed leaves no transaction, no statement, no result and no
// connection in use. Nobody has to tell the node.
func TestWorkerKilled(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	rounds := 2
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 10_000 / len(victims)
	}
	var took []time.Duration
	for range rounds {
		for _, at := range victims {
			took = append(took, l.kill(t, at))
		}
	}
	if l.cancelled.Load() != int64(rounds) {
		t.Errorf("%d statements cancelled, want %d", l.cancelled.Load(), rounds)
	}
	slices.Sort(took)
	t.Logf("%d kills: clean after %v (p50), %v (p99), %v (max)", len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

// BenchmarkRollback is the time from SIGKILL until the database has nothing left of the
// worker, process exit included.
func BenchmarkRollback(b *testing.B) {
	l := newLab(b, sqlproxy.Policy{})
	var took []time.Duration
	for i := range b.N {
		took = append(took, l.kill(b, victims[i%2]))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// Close of the lease does the same for a worker that lives, and waits for it.
func TestLeaseClosed(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	files, words, lease, err := l.Donate("w", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlproxy.Attach(files, words)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tx, err := c.DB("main").Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Close(); err != nil {
		t.Fatal(err)
	}
	if l.txs.Load() != 0 || l.db.Stats().InUse != 0 {
		t.Error("the transaction is still open")
	}
	if _, err := tx.Exec("note late"); err == nil {
		t.Error("executed after the lease was closed")
	}
	tx.Rollback()
	if err := lease.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// The end of a context ends the statement in the database.
func TestCancel(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	for i, run := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := c.DB("main").ExecContext(ctx, "sleep"); return err },
		func(ctx context.Context) error { _, err := c.DB("main").QueryContext(ctx, "sleep"); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- run(ctx) }()
		until(t, "the statement runs", func() bool { return l.asleep.Load() == 1 })
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Errorf("%v, want context.Canceled itself", err)
		}
		if n := l.cancelled.Load(); n != int64(i+1) {
			t.Errorf("%d statements cancelled in the database", n)
		}
	}
	// Late cancellations do not hit later statements.
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		c.DB("main").ExecContext(ctx, "note x")
		if _, err := c.DB("main").Exec("note y"); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkCancel is the time from the end of a worker's context until the database
// has ended the statement and the worker knows.
func BenchmarkCancel(b *testing.B) {
	l := newLab(b, sqlproxy.Policy{})
	cmd, out, lease := l.process(b, "canceller", strconv.Itoa(max(b.N, 100)))
	line, err := out.ReadString('\n')
	if err != nil {
		b.Fatal(line, err)
	}
	var p50, p99 float64
	fmt.Sscan(line, &p50, &p99)
	b.ReportMetric(p50, "p50-µs")
	b.ReportMetric(p99, "p99-µs")
	cmd.Wait()
	lease.Close()
}

var _ = proctest.Helper("canceller", func(args []string) {
	db := attached(args[1:])
	n, _ := strconv.Atoi(args[0])
	took := make([]time.Duration, n)
	for i := range took {
		ctx, cancel := context.WithCancel(context.Background())
		var start time.Time
		time.AfterFunc(2*time.Millisecond, func() { start = time.Now(); cancel() })
		if _, err := db.ExecContext(ctx, "sleep"); err != context.Canceled {
			die(err)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	fmt.Println(took[n/2].Microseconds(), took[n*99/100].Microseconds())
})

// TestBenchmarksRun keeps the benchmarks from rotting.
func TestBenchmarksRun(t *testing.T) {
	was := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", was)
	flag.Set("test.benchtime", "2x")
	for name, f := range map[string]func(*testing.B){"rollback": BenchmarkRollback, "cancel": BenchmarkCancel, "rows": BenchmarkRows} {
		if r := testing.Benchmark(f); r.N == 0 {
			t.Errorf("%s failed", name)
		}
	}
}
