package sqlitedb_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shmkit/adapters/sqlitedb"
	"shmkit/logring"
)

// A database that is full, as on a full disk: what was logged meanwhile is there, once
// and in order, when it has room again.
func TestFullDatabase(t *testing.T) {
	db, err := sqlitedb.Open(filepath.Join(t.TempDir(), "run.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sink, err := logring.SQL(db, "logs")
	if err != nil {
		t.Fatal(err)
	}
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{logring.With(sink, logring.SinkOptions{Name: "db"})}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := db.Exec("PRAGMA max_page_count=40"); err != nil {
		t.Fatal(err)
	}
	l := slog.New(c.Handler())
	const n = 5000
	for i := range n {
		l.Info(strings.Repeat("x", 100), "i", i)
	}
	for c.Stats().Sinks[0].Errors < 3 { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	if s := c.Stats().Sinks[0]; !strings.Contains(s.LastError, "table logs") || !strings.Contains(s.LastError, "full") {
		t.Errorf("%+v", s)
	}
	if _, err := db.Exec("PRAGMA max_page_count=1000000"); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "sink db: ") {
		t.Errorf("Flush says %v", err)
	}
	rows, err := db.Query(`SELECT attrs->>'i' FROM logs WHERE "group" = 'node' AND attrs->>'i' IS NOT NULL ORDER BY rowid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	next := 0
	for ; rows.Next(); next++ {
		var i int
		if err := rows.Scan(&i); err != nil || i != next {
			t.Fatalf("row %d: %d, %v", next, i, err)
		}
	}
	if s := c.Stats().Sinks[0]; next != n || len(s.Dropped) != 0 {
		t.Errorf("%d rows, %+v", next, s)
	}
}
