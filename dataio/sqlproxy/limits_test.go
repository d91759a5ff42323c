package sqlproxy_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shmkit/dataio/sqlproxy"
)

// says checks that an error has a cause and a text.
func says(t *testing.T, err, is error, texts ...string) {
	t.Helper()
	if err == nil || is != nil && !errors.Is(err, is) {
		t.Errorf("%v, want one that is %v", err, is)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nlacks %q", err, text)
		}
	}
}

// readAll reads a result to its end.
func readAll(db *sql.DB, query string, args ...any) (n int, err error) {
	rows, err := db.Query(query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

func TestLimits(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{MaxRows: 3000, MaxBytes: 100_000, MaxConns: 2})
	c, _ := l.worker(t, "w")
	db := c.DB("main")

	n, err := readAll(db, "rows 3000")
	if n != 3000 || err != nil {
		t.Errorf("at the limit: %d rows, %v", n, err)
	}
	n, err = readAll(db, "rows 3001")
	says(t, err, sqlproxy.ErrLimit, `"main"`, "more than 3000 rows", "Policy.MaxRows")
	if n != 3000 {
		t.Errorf("%d rows before the limit", n)
	}
	_, err = readAll(db, "blob 100001")
	says(t, err, sqlproxy.ErrLimit, `"main"`, "more than 100000 bytes", "Policy.MaxBytes")
	if _, err := db.Exec("note after all of it"); err != nil {
		t.Error(err)
	}

	// A handle that does not wait by itself is told by the node.
	own := sql.OpenDB(c.Connector("main"))
	defer own.Close()
	var held []*sql.Conn
	db.Close()
	until(t, "the sessions are gone", func() bool { return l.db.Stats().InUse == 0 })
	until(t, "two sessions are free", func() bool {
		for _, c := range held {
			c.Close()
		}
		held = nil
		for range 2 {
			conn, err := own.Conn(t.Context())
			if err != nil {
				return false
			}
			held = append(held, conn)
		}
		return true
	})
	_, err = own.Conn(t.Context())
	says(t, err, sqlproxy.ErrLimit, `"main"`, "this worker has 2", "Policy.MaxConns")
	for _, c := range held {
		c.Close()
	}
}

func TestMaxTime(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{MaxTime: 50 * time.Millisecond})
	c, _ := l.worker(t, "w")
	_, err := c.DB("main").Exec("sleep")
	says(t, err, sqlproxy.ErrLimit, `"main"`, "longer than 50ms", "Policy.MaxTime")
	_, err = readAll(c.DB("main"), "sleep")
	says(t, err, sqlproxy.ErrLimit, `"main"`, "longer than 50ms", "Policy.MaxTime")
}

func TestRefused(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{ReadOnly: true, Allow: func(q string) error {
		if strings.Contains(q, "secret") {
			return errors.New("the table secret is not for workers")
		}
		return nil
	}})
	c, _ := l.worker(t, "w")
	_, err := c.DB("main").Exec("note x")
	says(t, err, sqlproxy.ErrRefused, `"main"`, "read-only")
	_, err = c.DB("main").Prepare("UPDATE t SET x = 1")
	says(t, err, sqlproxy.ErrRefused, "read-only")
	_, err = c.DB("main").Query("SELECT * FROM secret")
	says(t, err, sqlproxy.ErrRefused, "the table secret is not for workers")
	for _, q := range []string{"SELECT 1; DROP TABLE t", "SELECT * INTO u FROM t", "/* SELECT */ DELETE FROM t", "EXPLAIN ANALYZE DELETE FROM t", "SELECT 1 FOR UPDATE", "(DELETE FROM t)", ""} {
		if _, err = c.DB("main").Exec(q); !errors.Is(err, sqlproxy.ErrRefused) {
			t.Errorf("%q was not refused: %v", q, err)
		}
	}
	for _, q := range []string{"SELECT 1", " -- why\n /* what */ select 2;", "VALUES (1)", "(SELECT 1)"} {
		if _, err = c.DB("main").Exec(q); err != nil {
			t.Errorf("%q: %v", q, err)
		}
	}
}

// Who waits too long is told who has the connection and what it is at.
func TestHolderIsNamed(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	l.db.SetMaxOpenConns(1)
	holder, _ := l.worker(t, "hoarder")
	waiter, _ := l.worker(t, "patient")
	tx, err := holder.DB("main").Begin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = waiter.DB("main").ExecContext(ctx, "note x")
	says(t, err, context.DeadlineExceeded, `"main"`, "waited", "held by hoarder/0 for")

	sleeping, stop := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() { tx.ExecContext(sleeping, "sleep"); close(done) }()
	until(t, "it sleeps", func() bool { return l.asleep.Load() == 1 })
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = waiter.DB("main").ExecContext(ctx, "note x")
	says(t, err, context.DeadlineExceeded, `hoarder/0`, `in "sleep"`)
	stop()
	<-done
	tx.Rollback()
	if _, err := waiter.DB("main").Exec("note x"); err != nil {
		t.Error(err)
	}
}

func TestMaxWait(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{MaxWait: 10 * time.Millisecond})
	l.db.SetMaxOpenConns(1)
	c, _ := l.worker(t, "w")
	tx, err := c.DB("main").Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	_, err = c.DB("main").Exec("note x")
	says(t, err, context.DeadlineExceeded, "held by w/0")
}

func TestBadUse(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	says(t, c.DB("mian").Ping(), nil, `"mian"`, "unknown database", "the node has: main")
	db := c.DB("main")
	db.Close()
	if err := db.Ping(); err == nil || err.Error() != "sql: database is closed" {
		t.Errorf("closed: %v", err)
	}
	l.db.Close()
	other, _ := l.worker(t, "v")
	if err := other.DB("main").Ping(); err == nil || err.Error() != "sql: database is closed" {
		t.Errorf("closed in the node: %v", err)
	}
	for name, dbs := range map[string]map[string]*sql.DB{"bad name": {"a b": l.db}, "nil": {"a": nil}, "no database": {}} {
		_, err := sqlproxy.NewServer(dbs, map[string]sqlproxy.Policy{"policy": {}})
		says(t, err, nil, "serve")
		if name == "no database" {
			says(t, err, nil, `"policy"`, "correct the name")
		}
	}
	if _, err := sqlproxy.Attach(nil, []string{"main=1"}); err == nil || !strings.Contains(err.Error(), "restart the run") {
		t.Error(err)
	}
	if _, err := sqlproxy.Attach(nil, []string{"main"}); err == nil || !strings.Contains(err.Error(), "restart the run") {
		t.Error(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlproxy.Attach([]*os.File{f}, nil); err == nil || !strings.Contains(err.Error(), "attach") {
		t.Error(err)
	}
	if c, err := c.DB("main").Driver().Open("x"); c != nil || err == nil || !strings.Contains(err.Error(), "Client.DB") {
		t.Error(err)
	}
}

// deadDB is a database that cannot be reached.
type deadDB struct{}

func (deadDB) Connect(context.Context) (driver.Conn, error) {
	return nil, errors.New("dial unix /run/db: connection refused")
}
func (deadDB) Driver() driver.Driver { return nil }

func TestDeadDatabase(t *testing.T) {
	db := sql.OpenDB(deadDB{})
	defer db.Close()
	s, err := sqlproxy.NewServer(map[string]*sql.DB{"main": db}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, _ := (&lab{Server: s}).worker(t, "w")
	if err := c.DB("main").Ping(); err == nil || err.Error() != "dial unix /run/db: connection refused" {
		t.Errorf("%v", err)
	}
}

// The node's end is a typed error in the worker: unknown for what was under way, known
// for what had not been sent.
func TestNodeGone(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	result := make(chan error)
	go func() { _, err := c.DB("main").Exec("sleep"); result <- err }()
	until(t, "it runs", func() bool { return l.asleep.Load() == 1 })
	if err := l.Server.Close(); err != nil {
		t.Error(err)
	}
	err := <-result
	says(t, err, sqlproxy.ErrOutcomeUnknown, `"main"`)
	if errors.Is(err, driver.ErrBadConn) {
		t.Error("database/sql would execute it again")
	}
	_, err = c.DB("main").Exec("note x")
	says(t, err, sqlproxy.ErrNodeGone, `"main"`)
	if errors.Is(err, sqlproxy.ErrOutcomeUnknown) {
		t.Error("nothing was sent")
	}
	if _, _, _, err := l.Donate("w", 0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Donate after Close: %v", err)
	}
}

// 100 workers share 4 connections: never more are open, and each gets its share.
func TestFairness(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	l.db.SetMaxOpenConns(4)
	const workers = 100
	counts := make([]atomic.Int64, workers)
	var total atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		c, _ := l.worker(t, fmt.Sprint("w", i))
		for range 1 + i%3 { // a worker with more goroutines gets no larger share
			wg.Go(func() {
				for total.Add(1) < 6000 {
					if _, err := c.DB("main").Exec("deaf 1"); err != nil {
						t.Error(err)
						return
					}
					counts[i].Add(1)
				}
			})
		}
	}
	wg.Wait()
	var sum, squares float64
	for i := range counts {
		n := float64(counts[i].Load())
		sum += n
		squares += n * n
	}
	jain := sum * sum / (workers * squares)
	if jain < 0.95 {
		t.Errorf("Jain's index of fairness is %.3f, want 0.95", jain)
	}
	if n := l.maxConns.Load(); n > 4 {
		t.Errorf("%d connections were open, at most 4 are allowed", n)
	}
	t.Logf("Jain's index %.4f, at most %d connections", jain, l.maxConns.Load())
}
