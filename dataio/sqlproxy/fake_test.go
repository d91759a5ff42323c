package sqlproxy_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shmkit/dataio/sqlproxy"
	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// fake is a database that counts what is open and does what a statement says:
//
//	rows N        N rows of a number and a text
//	blob N        one row with N bytes
//	echo          one row with the arguments
//	sleep         until the context ends
//	deaf MS       that long, whatever the context says
//	fail TEXT     an error
//	broken        io.ErrUnexpectedEOF, as when the database's connection breaks
//	bad           driver.ErrBadConn
//	panic         a panic
//	note TEXT     an execution that is remembered
//	sets          two result sets
type fake struct {
	conns, maxConns, txs, stmts, rows atomic.Int64
	cancelled                         atomic.Int64
	asleep                            atomic.Int64

	mu    sync.Mutex
	notes []string
}

func (f *fake) Connect(context.Context) (driver.Conn, error) {
	n := f.conns.Add(1)
	for m := f.maxConns.Load(); n > m && !f.maxConns.CompareAndSwap(m, n); m = f.maxConns.Load() {
	}
	return &fakeConn{f: f}, nil
}
func (f *fake) Driver() driver.Driver { return nil }

type fakeConn struct {
	f  *fake
	tx bool
}

func (c *fakeConn) Prepare(q string) (driver.Stmt, error) {
	if strings.HasPrefix(q, "unpreparable") {
		return nil, errors.New("near \"unpreparable\": syntax error")
	}
	c.f.stmts.Add(1)
	return &fakeStmt{c, q}, nil
}
func (c *fakeConn) Close() error {
	c.f.conns.Add(-1)
	if c.tx {
		c.f.txs.Add(-1)
	}
	return nil
}
func (c *fakeConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}
func (c *fakeConn) BeginTx(_ context.Context, o driver.TxOptions) (driver.Tx, error) {
	if c.tx {
		return nil, errors.New("nested transaction")
	}
	c.tx = true
	c.f.txs.Add(1)
	return c, nil
}
func (c *fakeConn) end() error {
	if !c.tx {
		return errors.New("no transaction")
	}
	c.tx = false
	c.f.txs.Add(-1)
	return nil
}
func (c *fakeConn) Commit() error   { return c.end() }
func (c *fakeConn) Rollback() error { return c.end() }

func (c *fakeConn) run(ctx context.Context, q string) error {
	verb, arg, _ := strings.Cut(q, " ")
	switch verb {
	case "sleep":
		c.f.asleep.Add(1)
		defer c.f.asleep.Add(-1)
		<-ctx.Done()
		c.f.cancelled.Add(1)
		return ctx.Err()
	case "deaf":
		ms, _ := strconv.Atoi(arg)
		time.Sleep(time.Duration(ms) * time.Millisecond)
	case "fail":
		return errors.New(arg)
	case "broken":
		return fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
	case "bad":
		return driver.ErrBadConn
	case "panic":
		panic("the driver's own")
	case "note":
		c.f.mu.Lock()
		c.f.notes = append(c.f.notes, arg)
		c.f.mu.Unlock()
	}
	return ctx.Err()
}

func (c *fakeConn) ExecContext(ctx context.Context, q string, _ []driver.NamedValue) (driver.Result, error) {
	if err := c.run(ctx, q); err != nil {
		return nil, err
	}
	return fakeResult{}, nil
}

type fakeResult struct{}

func (fakeResult) LastInsertId() (int64, error) { return 0, errors.New("no ids here") }
func (fakeResult) RowsAffected() (int64, error) { return 7, nil }

func (c *fakeConn) CheckNamedValue(*driver.NamedValue) error { return nil } // takes anything

func (c *fakeConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.HasPrefix(q, "panic") {
		return nil, errors.New("only an unprepared Exec panics") // else database/sql itself loses the connection
	}
	if err := c.run(ctx, q); err != nil {
		return nil, err
	}
	verb, arg, _ := strings.Cut(q, " ")
	n, _ := strconv.Atoi(arg)
	n = min(max(n, 0), 64<<20)
	c.f.rows.Add(1)
	r := &fakeRows{f: c.f, ctx: ctx, n: n, verb: verb}
	for _, a := range args {
		r.args = append(r.args, a.Value)
	}
	return r, nil
}

type fakeStmt struct {
	c *fakeConn
	q string
}

func (s *fakeStmt) Close() error  { s.c.f.stmts.Add(-1); return nil }
func (s *fakeStmt) NumInput() int { return strings.Count(s.q, "?") }
func (s *fakeStmt) Exec([]driver.Value) (driver.Result, error) {
	if strings.HasPrefix(s.q, "panic") {
		return nil, errors.New("only an unprepared Exec panics")
	}
	return s.c.ExecContext(context.Background(), s.q, nil)
}
func (s *fakeStmt) Query(args []driver.Value) (driver.Rows, error) {
	var named []driver.NamedValue
	for i, a := range args {
		named = append(named, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return s.c.QueryContext(context.Background(), s.q, named)
}

type fakeRows struct {
	f    *fake
	ctx  context.Context
	verb string
	n, i int
	set  int
	args []driver.Value
}

func (r *fakeRows) Columns() []string {
	switch r.verb {
	case "rows", "sets":
		return []string{"n", "s"}[:2-r.set]
	case "echo":
		names := make([]string, len(r.args))
		for i := range names {
			names[i] = fmt.Sprint("c", i)
		}
		return names
	}
	return []string{"b"}
}
func (r *fakeRows) Close() error { r.f.rows.Add(-1); return nil }
func (r *fakeRows) Next(dest []driver.Value) error {
	n := r.n
	if r.verb != "rows" {
		n = 1
	}
	if r.i >= n {
		return io.EOF
	}
	switch r.verb {
	case "rows", "sets":
		dest[0] = int64(r.i)
		if len(dest) > 1 {
			dest[1] = "some text"
		}
	case "blob":
		b := make([]byte, r.n)
		for i := range b {
			b[i] = byte(i * 7)
		}
		dest[0] = b
	case "echo":
		copy(dest, r.args)
	}
	r.i++
	return nil
}
func (r *fakeRows) HasNextResultSet() bool { return r.verb == "sets" && r.set == 0 }
func (r *fakeRows) NextResultSet() error {
	if !r.HasNextResultSet() {
		return io.EOF
	}
	r.set, r.i = 1, 0
	return nil
}

func (r *fakeRows) ColumnTypeDatabaseTypeName(i int) string { return []string{"INT", "VARCHAR"}[i%2] }
func (r *fakeRows) ColumnTypeLength(i int) (int64, bool)    { return 40, i == 1 }
func (r *fakeRows) ColumnTypeNullable(i int) (bool, bool)   { return i == 1, true }
func (r *fakeRows) ColumnTypePrecisionScale(i int) (int64, int64, bool) {
	return 9, 2, i == 0
}

// lab is a node with one fake database called main.
type lab struct {
	*sqlproxy.Server
	*fake
	db *sql.DB
}

func newLab(t testing.TB, p sqlproxy.Policy) *lab {
	t.Helper()
	l := &lab{fake: &fake{}}
	l.db = sql.OpenDB(l.fake)
	var err error
	l.Server, err = sqlproxy.NewServer(map[string]*sql.DB{"main": l.db}, map[string]sqlproxy.Policy{"main": p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Server.Close(); err != nil {
			t.Error(err)
		}
		l.db.Close()
		l.nothingOpen(t)
	})
	return l
}

// nothingOpen checks that the database has no connection, transaction, statement or
// result left.
func (l *lab) nothingOpen(t testing.TB) {
	t.Helper()
	if c, x, s, r := l.conns.Load(), l.txs.Load(), l.stmts.Load(), l.rows.Load(); c != 0 || x != 0 || s != 0 || r != 0 {
		t.Errorf("left open: %d connections, %d transactions, %d statements, %d results", c, x, s, r)
	}
}

// worker gives a worker's side in this process, and what ends it as its death would.
func (l *lab) worker(t testing.TB, group string) (*sqlproxy.Client, func()) {
	t.Helper()
	files, words, lease, err := l.Donate(group, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlproxy.Attach(files, words)
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		c.Close()
		if err := lease.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return c, end
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
