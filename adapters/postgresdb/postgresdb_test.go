//go:build linux

package postgresdb_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"shmkit/adapters/postgresdb"
	"shmkit/internal/pgtest"
	"shmkit/logring"
)

func open(t *testing.T, s *pgtest.Server) *sql.DB {
	t.Helper()
	db, err := postgresdb.Open(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// collect returns a collector that writes to table logs of db.
func collect(t *testing.T, db *sql.DB, o logring.SinkOptions) (*logring.Collector, *slog.Logger) {
	t.Helper()
	sink, err := logring.SQL(db, "logs")
	if err != nil {
		t.Fatal(err)
	}
	o.Name = "postgres"
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{logring.With(sink, o)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(t.Context()) })
	return c, slog.New(c.Handler())
}

// Whatever is logged is in the table, once, in order, as it was.
func TestRecords(t *testing.T) {
	db := open(t, pgtest.Start(t))
	c, l := collect(t, db, logring.SinkOptions{})
	const n = 5000
	hostile := "it's '); DROP TABLE logs; -- \x1b[31m \n \u202e $1 \\"
	for i := range n {
		l.Warn(hostile, "i", i, "nul", "a\x00b", "bad", "\xff")
	}
	c.Line("job", 3, 77, "stderr", []byte("bad \xff\x00 bytes"), false)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(`SELECT "time"::timestamptz, "level", "msg", "group", "worker", "stream", "attrs"::jsonb->'i', "attrs" FROM logs WHERE "group" = 'node'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	next := 0
	for ; rows.Next(); next++ {
		var at time.Time
		var level, msg, group, attrs string
		var worker, i int
		var stream sql.NullString
		if err := rows.Scan(&at, &level, &msg, &group, &worker, &stream, &i, &attrs); err != nil {
			t.Fatal(err)
		}
		if i != next || msg != hostile || level != "WARN" || worker != -1 || stream.Valid || time.Since(at) > time.Hour || !json.Valid([]byte(attrs)) {
			t.Fatalf("row %d: %d %v %s %q %d %v", next, i, at, level, msg, worker, stream)
		}
	}
	if err := rows.Err(); err != nil || next != n {
		t.Errorf("%d rows, %v", next, err)
	}
	var msg, stream string
	var pid int
	if err := db.QueryRow(`SELECT msg, stream, pid FROM logs WHERE "group" = 'job' AND worker = 3`).Scan(&msg, &stream, &pid); err != nil || msg != "bad \ufffd\ufffd bytes" || stream != "stderr" || pid != 77 {
		t.Errorf("the captured line: %q %q %d, %v", msg, stream, pid, err)
	}
}

// The server crashes again and again while records come, also between a commit and
// its answer: each record is there once.
func TestCrashesLoseNothing(t *testing.T) {
	s := pgtest.Start(t)
	db := open(t, s)
	c, l := collect(t, db, logring.SinkOptions{})
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		i := 0
		for ; ; i++ {
			select {
			case <-stop:
				stopped <- i
				return
			default:
				l.Info("x", "i", i)
				for i%100 == 99 && c.Stats().Sinks[0].Pending > 5000 { // a server may be long in coming back, and the queue is finite
					time.Sleep(time.Millisecond)
				}
			}
		}
	}()
	for range 4 {
		before := c.Stats().Sinks[0]
		for c.Stats().Sinks[0].Written < before.Written+1000 { // all bounded by the test's deadline
			time.Sleep(time.Millisecond)
		}
		s.Crash()
		for c.Stats().Sinks[0].Errors == before.Errors {
			time.Sleep(time.Millisecond)
		}
		s.Restart()
	}
	close(stop)
	n := <-stopped
	c.Flush(t.Context()) // tells of the crashes
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows, different int
	if err := db.QueryRow(`SELECT count(*), count(DISTINCT attrs) FROM logs WHERE msg = 'x'`).Scan(&rows, &different); err != nil {
		t.Fatal(err)
	}
	st := c.Stats().Sinks[0]
	if rows != n || different != n || len(st.Dropped) != 0 {
		t.Errorf("%d rows, %d different ones, of %d: %+v", rows, different, n, st)
	}
	t.Logf("%d records, %d errors, last: %s", n, st.Errors, st.LastError)
}

// An outage that lasts longer than the queue: what does not fit is counted, the rest
// is there.
func TestOutageBeyondTheQueue(t *testing.T) {
	s := pgtest.Start(t)
	db := open(t, s)
	c, l := collect(t, db, logring.SinkOptions{Queue: 256 << 10})
	l.Info("before")
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Crash()
	l.Info("into the outage")
	for c.Stats().Sinks[0].Errors == 0 { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	for i := range 20000 {
		l.Info("x", "i", i)
	}
	for c.Stats().Sinks[0].Dropped[logring.DropError] == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Restart()
	err := c.Flush(t.Context())
	var se *logring.SinkError
	if !errors.As(err, &se) || se.Sink != "postgres" || !strings.Contains(err.Error(), "table logs") {
		t.Errorf("Flush says %v", err)
	}
	l.Info("after")
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	var rows, edges int
	if err := db.QueryRow(`SELECT count(*), count(*) FILTER (WHERE msg <> 'x' AND msg NOT LIKE 'log sink%') FROM logs`).Scan(&rows, &edges); err != nil {
		t.Fatal(err)
	}
	all := c.Stats()
	st := all.Sinks[0]
	if uint64(rows) != st.Written || st.Written+st.Dropped[logring.DropError] != all.Delivered || edges != 3 {
		t.Errorf("%d rows, %d of them before, into and after it: %+v", rows, edges, all)
	}
}

func TestOpenErrors(t *testing.T) {
	s := pgtest.Start(t)
	for _, c := range []struct{ dsn, says string }{
		{"postgres://u:secret@", "is the server running"},
		{"postgres://u:secret@%zz/x", "write postgres://USER@HOST/DATABASE"},
		{"nonsense", "write postgres://"},
		{"host=" + t.TempDir() + " user=test password=secret", "is the server running"},
		{s.DSN() + " dbname=none password=secret", `database "none" does not exist`},
		{s.DSN() + " dbname=none", "create the database first"},
		{s.DSN() + " user=nobody-here", "check user and password"},
	} {
		t.Setenv("PGHOST", t.TempDir())
		db, err := postgresdb.Open(c.dsn)
		if err == nil {
			db.Close()
		}
		var e *postgresdb.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.dsn, err)
		}
	}
}
