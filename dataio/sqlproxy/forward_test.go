package sqlproxy_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"shmkit/dataio/sqlproxy"
)

// Everything a worker sends as an argument is what the driver gets, and everything the
// driver gives is what the worker gets.
func TestValues(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		berlin = time.FixedZone("CET", 3600)
	}
	str := "pointed at"
	type named string
	for _, v := range []struct{ in, out any }{
		{nil, nil}, {int64(math.MinInt64), int64(math.MinInt64)}, {1.5, 1.5}, {math.Inf(-1), math.Inf(-1)}, {true, true}, {false, false},
		{"", ""}, {"tëxt\x00", "tëxt\x00"}, {[]byte{0, 255}, []byte{0, 255}}, {[]byte{}, []byte{}},
		{7, 7}, {uint8(200), uint8(200)}, {uint64(math.MaxUint64), uint64(math.MaxUint64)}, {float32(2.5), float32(2.5)},
		{&str, str}, {(*string)(nil), nil}, {named("n"), "n"},
		{[]string{"a", ""}, []string{"a", ""}}, {[]int{1, -2}, []int{1, -2}}, {[][]byte{{1}, {}}, [][]byte{{1}, {}}},
		{sql.NullInt64{Int64: 5, Valid: true}, int64(5)}, {sql.NullString{}, nil},
		{time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)},
		{time.Date(2026, 7, 2, 3, 4, 5, 6, berlin), time.Date(2026, 7, 2, 3, 4, 5, 6, berlin)},
		{time.Date(-500, 7, 2, 3, 4, 5, 6, time.FixedZone("x", -7*3600-1)), time.Date(-500, 7, 2, 3, 4, 5, 6, time.FixedZone("x", -7*3600-1))},
	} {
		var got any
		err := c.DB("main").QueryRow("echo", v.in).Scan(&got)
		if w, ok := v.out.(time.Time); ok {
			g, _ := got.(time.Time)
			if err != nil || !g.Equal(w) || g.String() != w.String() {
				t.Errorf("%v came as %v, %v", w, got, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, v.out) {
			t.Errorf("%#v came as %#v, %v", v.in, got, err)
		}
	}
	for _, v := range []any{struct{ X int }{}, map[string]int{}, func() {}, sql.Out{Dest: new(int)}} {
		err := c.DB("main").QueryRow("echo", v).Scan(new(any))
		if err == nil || !strings.HasPrefix(err.Error(), "sql: converting argument $1 type: unsupported type") {
			t.Errorf("argument of type %T: %v", v, err)
		}
	}
}

// Results of all sizes around a page come whole and in order, also several at a time on
// one connection.
func TestPages(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	conn, err := c.DB("main").Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var open []*sql.Rows
	sizes := []int{0, 1, 100, 1500, 1600, 5000, 20000}
	for _, n := range sizes {
		rows, err := conn.QueryContext(t.Context(), fmt.Sprint("rows ", n))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, rows)
	}
	for i := 0; ; i++ { // in turn
		left := 0
		for k, rows := range open {
			if !rows.Next() {
				if err := rows.Err(); err != nil || i < sizes[k] {
					t.Fatalf("result of %d rows ended after %d: %v", sizes[k], i, err)
				}
				continue
			}
			left++
			var n int
			var s string
			if err := rows.Scan(&n, &s); err != nil || n != i || s != "some text" {
				t.Fatalf("row %d of %d: %d %q %v", i, sizes[k], n, s, err)
			}
		}
		if left == 0 {
			break
		}
	}
	for _, n := range []int{0, 1, 32 << 10, 64<<10 - 1, 64 << 10, 100_000, 20 << 20} {
		var b []byte
		if err := conn.QueryRowContext(t.Context(), fmt.Sprint("blob ", n)).Scan(&b); err != nil || len(b) != n {
			t.Fatalf("value of %d bytes: %d, %v", n, len(b), err)
		}
		for i := range b {
			if b[i] != byte(i*7) {
				t.Fatalf("value of %d bytes is damaged at %d", n, i)
			}
		}
	}
	big := bytes.Repeat([]byte("0123456789"), 1<<20)
	var back []byte
	if err := conn.QueryRowContext(t.Context(), "echo", big).Scan(&back); err != nil || !bytes.Equal(big, back) {
		t.Errorf("argument of 10 MiB: %v", err)
	}
}

// Rows that are not read to their end are closed in the node, and the connection stays
// of use.
func TestRowsLeftEarly(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	l.db.SetMaxOpenConns(1)
	c, _ := l.worker(t, "w")
	for _, read := range []int{0, 1, 2000, 9000} {
		rows, err := c.DB("main").Query("rows 100000")
		if err != nil {
			t.Fatal(err)
		}
		for range read {
			if !rows.Next() {
				t.Fatal(rows.Err())
			}
		}
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
		if err := c.DB("main").QueryRow("echo", 5).Scan(new(int)); err != nil {
			t.Errorf("after %d rows: %v", read, err)
		}
	}
	until(t, "results are closed", func() bool { return l.rows.Load() == 0 })
}

func TestResultSetsAndColumnTypes(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	rows, err := c.DB("main").Query("sets")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil || len(types) != 2 {
		t.Fatal(types, err)
	}
	n, s := types[0], types[1]
	p, scale, hasPrec := n.DecimalSize()
	length, hasLength := s.Length()
	null, known := s.Nullable()
	if n.Name() != "n" || n.DatabaseTypeName() != "INT" || p != 9 || scale != 2 || !hasPrec ||
		s.DatabaseTypeName() != "VARCHAR" || length != 40 || !hasLength || !null || !known {
		t.Errorf("column types %+v %+v", n, s)
	}
	var sets []int
	for more := true; more; more = rows.NextResultSet() {
		cols, _ := rows.Columns()
		sets = append(sets, len(cols))
		count := 0
		for rows.Next() {
			count++
		}
		if count != 1 {
			t.Errorf("%d rows", count)
		}
	}
	if err := rows.Err(); err != nil || !reflect.DeepEqual(sets, []int{2, 1}) {
		t.Errorf("result sets %v, %v", sets, err)
	}
}

func TestStatementsAndTransactions(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{Statements: 2})
	l.db.SetMaxOpenConns(1)
	c, _ := l.worker(t, "w")
	db := c.DB("main")
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	stmt, err := db.Prepare("echo ?")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if l.txs.Load() != 1 {
		t.Error("no transaction in the database")
	}
	for i := range 5 {
		var got int
		if err := tx.Stmt(stmt).QueryRow(i).Scan(&got); err != nil || got != i {
			t.Errorf("prepared: %d, %v", got, err)
		}
		if _, err := tx.Exec(fmt.Sprint("note ", i)); err != nil {
			t.Error(err)
		}
		if _, err := tx.Prepare(fmt.Sprint("rows ", i)); err != nil {
			t.Error(err)
		}
		if n := l.stmts.Load(); n > 2 {
			t.Errorf("%d statements are kept, at most 2", n)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	if l.txs.Load() != 0 {
		t.Error("the transaction was not rolled back")
	}
	if _, err := stmt.Exec(1, 2); err == nil || err.Error() != "sql: expected 1 arguments, got 2" {
		t.Errorf("wrong number of arguments: %v", err)
	}
	if _, err := db.Prepare("unpreparable"); err == nil || err.Error() != `near "unpreparable": syntax error` {
		t.Errorf("unpreparable: %v", err)
	}
	res, err := db.Exec("note x")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); n != 7 || err != nil {
		t.Error(n, err)
	}
	if _, err := res.LastInsertId(); err == nil || err.Error() != "no ids here" {
		t.Error(err)
	}
}

// The real connection is held from the first statement until database/sql has its end
// back, and not a moment longer.
func TestLease(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	conn, err := c.DB("main").Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := l.db.Stats().InUse; n != 0 {
		t.Errorf("%d connections in use before the first statement", n)
	}
	if _, err := conn.ExecContext(t.Context(), "note a"); err != nil {
		t.Fatal(err)
	}
	if n := l.db.Stats().InUse; n != 1 {
		t.Errorf("%d connections in use, want the leased one", n)
	}
	conn.Close()
	until(t, "the connection is given back", func() bool { return l.db.Stats().InUse == 0 })
}

// A panic of the driver is the worker's, and the node lives.
func TestDriverPanic(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	func() {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "the driver's own") {
				t.Errorf("recovered %v", p)
			}
		}()
		c.DB("main").Exec("panic")
	}()
	if _, err := c.DB("main").Exec("note on"); err != nil {
		t.Error(err)
	}
}

func TestErrorIdentity(t *testing.T) {
	l := newLab(t, sqlproxy.Policy{})
	c, _ := l.worker(t, "w")
	_, err := c.DB("main").Exec("fail with this text")
	var remote *sqlproxy.RemoteError
	if !errors.As(err, &remote) || err.Error() != "with this text" || remote.DB != "main" {
		t.Errorf("%v", err)
	}
	if _, err := c.DB("main").Exec("bad"); err == nil || err.Error() != "driver: bad connection" {
		t.Errorf("bad connection: %v", err)
	}
	_, err = c.DB("main").Exec("broken")
	if !errors.Is(err, sqlproxy.ErrOutcomeUnknown) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a connection that broke in the node: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err = c.DB("main").ExecContext(ctx, "sleep"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
}
