package logring

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeDB is a database/sql driver with one table: transactions, prepared
// statements, and a fault at an operation of choice. The same sink on the real
// SQLite is tested in the modules that depend on it.
type fakeDB struct {
	mu      sync.Mutex
	rows    [][]driver.Value // committed
	texts   map[string]bool  // statements seen
	ops     int
	failAt  func(op int) bool
	commits int
	unsaid  int // rows committed with an error
}

type (
	fakeConn struct {
		db      *fakeDB
		pending [][]driver.Value
	}
	fakeStmt struct {
		c    *fakeConn
		text string
	}
	sqliteLike struct{ *fakeDB } // its type's name says SQLite
)

func (d *fakeDB) Open(string) (driver.Conn, error)             { return &fakeConn{db: d}, d.op() }
func (d *fakeDB) Connect(context.Context) (driver.Conn, error) { return d.Open("") }
func (d *fakeDB) Driver() driver.Driver                        { return d }
func (d sqliteLike) Driver() driver.Driver                     { return d }
func (c *fakeConn) Close() error                               { return nil }
func (c *fakeConn) Begin() (driver.Tx, error)                  { c.pending = nil; return c, c.db.op() }
func (c *fakeConn) Prepare(text string) (driver.Stmt, error) {
	return &fakeStmt{c, text}, c.db.see(text)
}
func (c *fakeConn) Rollback() error                           { c.pending = nil; return c.db.op() }
func (s *fakeStmt) Close() error                              { return nil }
func (s *fakeStmt) NumInput() int                             { return strings.Count(s.text, "$") }
func (s *fakeStmt) Query([]driver.Value) (driver.Rows, error) { return nil, errors.ErrUnsupported }

func (d *fakeDB) op() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops++
	if d.failAt != nil && d.failAt(d.ops) {
		return errors.New("connection reset")
	}
	return nil
}

func (d *fakeDB) see(text string) error {
	d.mu.Lock()
	d.texts[text] = true
	d.mu.Unlock()
	return d.op()
}

func (s *fakeStmt) Exec(args []driver.Value) (driver.Result, error) {
	if strings.HasPrefix(s.text, "INSERT") {
		for ; len(args) >= sqlColumns; args = args[sqlColumns:] {
			s.c.pending = append(s.c.pending, append([]driver.Value(nil), args[:sqlColumns]...))
		}
	}
	return driver.RowsAffected(1), s.c.db.op()
}

// Commit does its work even when it fails: the answer was lost, the rows are there.
func (c *fakeConn) Commit() error {
	err := c.db.op()
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	c.db.rows = append(c.db.rows, c.pending...)
	c.db.commits++
	if err != nil {
		c.db.unsaid += len(c.pending)
	}
	return err
}

func newFakeDB(t testing.TB) (*fakeDB, *sql.DB) {
	d := &fakeDB{texts: map[string]bool{}}
	db := sql.OpenDB(d)
	t.Cleanup(func() { db.Close() })
	return d, db
}

func TestSQL(t *testing.T) {
	for _, like := range []string{"postgres", "sqlite"} {
		d := &fakeDB{texts: map[string]bool{}}
		connector := map[string]driver.Connector{"postgres": d, "sqlite": sqliteLike{d}}[like]
		db := sql.OpenDB(connector)
		defer db.Close()
		s, err := SQL(db, "logs")
		if err != nil {
			t.Fatal(err)
		}
		c := newCollector(t, CollectorOptions{Sinks: []Sink{s}})
		w, _ := onHeap(t, c, "count", 3)
		l := slog.New(w.Handler(nil))
		const n = 1000
		for i := range n {
			l.Warn("it's '); DROP TABLE logs; --", "i", i, "nul", "a\x00b", "esc", `\u0000`, "msg", "mine")
		}
		c.Line("count", 3, 77, "stderr", []byte("bad \xff\x00 bytes"), false)
		flushAll(t, c)
		if len(d.rows) != n+1 {
			t.Fatalf("%s: %d rows, want %d", like, len(d.rows), n+1)
		}
		if d.commits > n/10 {
			t.Errorf("%s: %d transactions for %d records", like, d.commits, n)
		}
		for text := range d.texts {
			if strings.Contains(text, "it's") {
				t.Errorf("a value is in a statement: %s", text)
			}
			if rows := strings.Count(text, "("); like == "sqlite" && strings.HasPrefix(text, "INSERT") && rows != 2 {
				t.Errorf("SQLite statement with %d rows", rows-1)
			}
		}
		next := 0
		for _, row := range d.rows {
			if row[6] != nil { // the captured line
				if row[2] != "bad \ufffd\ufffd bytes" || row[4] != int64(3) || row[5] != int64(77) || row[6] != "stderr" || row[7] != "{}" {
					t.Errorf("%s: line %v", like, row)
				}
				continue
			}
			var attrs struct {
				I   int
				Nul string
				Esc string
				Msg string `json:"attr.msg"`
			}
			if err := json.Unmarshal([]byte(row[7].(string)), &attrs); err != nil {
				t.Fatal(err)
			}
			if _, err := time.Parse("2006-01-02T15:04:05.000000000Z", row[0].(string)); err != nil {
				t.Error(err)
			}
			if attrs.I != next || attrs.Nul != "a\ufffdb" || attrs.Msg != "mine" || attrs.Esc != `\u0000` || row[1] != "WARN" || row[3] != "count" || row[4] != int64(3) {
				t.Fatalf("%s: row %d: %v", like, next, row)
			}
			next++
		}
	}
}

// The database fails at its Nth operation, for every N, once or for ever: no row is
// there twice, a fault before the commit loses nothing once it has passed, and the
// account is exact. Shown to fail by offering a batch again after its commit.
func TestSQLFaults(t *testing.T) {
	for nth := 2; nth < 60; nth += 3 {
		for _, forever := range []bool{false, true} {
			d, db := newFakeDB(t)
			s, err := SQL(db, "main.logs")
			if err != nil {
				t.Fatal(err)
			}
			d.ops, d.failAt = 0, func(op int) bool { return op == nth || forever && op > nth }
			retry := time.Minute
			if forever {
				retry = -1
			}
			r := startRunner(With(s, SinkOptions{Retry: retry}), nil, nil)
			total := feed(t, r, 5)
			st := r.finish()
			seen := map[string]bool{}
			for _, row := range d.rows {
				if seen[row[7].(string)] {
					t.Fatalf("nth %d: row twice: %v", nth, row)
				}
				seen[row[7].(string)] = true
			}
			if uint64(len(d.rows)-d.unsaid) != st.Written || st.accounted() != uint64(total) {
				t.Errorf("nth %d forever %v: %d rows, %+v", nth, forever, len(d.rows), st)
			}
			if lost := st.Dropped[DropError]; !forever && lost != uint64(d.unsaid) {
				t.Errorf("nth %d: lost %d, %d by an unknown commit", nth, lost, d.unsaid)
			}
		}
	}
}

func TestSQLBadInput(t *testing.T) {
	_, db := newFakeDB(t)
	for _, name := range []string{"", "a b", `x"; DROP TABLE y; --`, "1a", "a.b.c", "ü", strings.Repeat("a", 64), "a;", "a'"} {
		if _, err := SQL(db, name); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("table %q: %v", name, err)
		}
	}
	if _, err := SQL(nil, "logs"); err == nil {
		t.Error("a nil database was accepted")
	}
	d, db := newFakeDB(t)
	d.failAt = func(int) bool { return true }
	if _, err := SQL(db, "logs"); err == nil || !strings.Contains(err.Error(), "create table logs") {
		t.Errorf("database down: %v", err)
	}
}
