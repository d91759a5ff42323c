package shmkit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shmkit"
	"shmkit/cfgblob"
	"shmkit/dataio/recfile"
	"shmkit/logring"
)

// oneRow is a database that answers each query with the process that executes it.
type oneRow struct{}

func (d oneRow) Open(string) (driver.Conn, error)             { return d, nil }
func (d oneRow) Connect(context.Context) (driver.Conn, error) { return d, nil }
func (d oneRow) Driver() driver.Driver                        { return d }
func (d oneRow) Prepare(string) (driver.Stmt, error)          { return nil, errors.New("no statements") }
func (d oneRow) Begin() (driver.Tx, error)                    { return nil, errors.New("no transactions") }
func (d oneRow) Close() error                                 { return nil }
func (d oneRow) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return &pidRow{}, nil
}

type pidRow struct{ done bool }

func (r *pidRow) Columns() []string { return []string{"pid"} }
func (r *pidRow) Close() error      { return nil }
func (r *pidRow) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done = true
	dest[0] = int64(os.Getpid())
	return nil
}

var sharer = shmkit.Func("sharer", func(ctx context.Context, w *shmkit.Worker) error {
	var pid int
	if err := w.DB("main").QueryRowContext(ctx, "select pid").Scan(&pid); err != nil {
		return err
	}
	if pid != os.Getppid() {
		return fmt.Errorf("the query ran in process %d, the node is %d", pid, os.Getppid())
	}
	for i := range 10 {
		if err := w.File("results.csv").Append(fmt.Appendf(nil, "%d,%d", w.Rank, i)); err != nil {
			return err
		}
	}
	if w.Rank > 0 {
		return nil
	}
	if _, err := w.SetConfig(ctx, "limit", 42, 0); err != nil {
		return err
	}
	if _, err := w.SetConfig(ctx, "level", "debug", 0); !errors.Is(err, cfgblob.ErrDenied) {
		return fmt.Errorf("a key that was not granted: %v", err)
	}
	w.Log.Info("shared", "limit", shmkit.Config[config](w).Load().Limit)
	return nil
})

// Workers use the node's database and file as if they were their own, and change what
// they were granted.
func TestShared(t *testing.T) {
	dir := t.TempDir()
	db := sql.OpenDB(oneRow{})
	defer db.Close()
	n, out := start(t, shmkit.Options{
		Config:    config{Level: "info", Limit: 1},
		Grants:    []cfgblob.Grant{{Keys: []string{"limit"}}},
		Databases: map[string]*sql.DB{"main": db},
		Files:     map[string]recfile.Options{"results.csv": {Path: filepath.Join(dir, "results.csv"), Header: []byte("rank,i")}},
	})
	if given := n.Given(); fmt.Sprint(given.Databases, given.Files, given.Resources) != "[main] [results.csv] map[]" {
		t.Error(given)
	}
	g, err := n.Start(shmkit.Spec{Func: sharer, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "results.csv"))
	if lines := strings.Split(strings.TrimSpace(string(b)), "\n"); err != nil || len(lines) != 31 || lines[0] != "rank,i" {
		t.Errorf("%v: %q", err, b)
	}
	limit := 0
	for _, r := range out.records(t) {
		if r.Msg == "shared" {
			limit = r.Limit
		}
	}
	if limit != 42 {
		t.Errorf("after SetConfig the worker saw %d", limit)
	}
}

var lonely = shmkit.Func("lonely", func(ctx context.Context, w *shmkit.Worker) error {
	return errors.Join(w.DB("main").PingContext(ctx), w.File("x").Append(nil))
})

// What the node does not have is an error that says so, at the first use.
func TestNothingShared(t *testing.T) {
	n, _ := start(t, shmkit.Options{})
	g, err := n.Start(shmkit.Spec{Func: lonely, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = g.Wait()
	for _, want := range []string{"the node has no databases: set Options.Databases", "unknown file", "the node has: none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

var named = shmkit.Func("named", func(ctx context.Context, w *shmkit.Worker) error {
	w.Log.Debug("unnamed")
	if db := w.Log.With(logring.LoggerKey, "db.pool"); !db.Enabled(ctx, slog.LevelDebug) || w.Log.Enabled(ctx, slog.LevelDebug) {
		return errors.New("the logger's own level is not obeyed")
	}
	return nil
})

// The levels of loggers are configuration.
func TestLevels(t *testing.T) {
	n, _ := start(t, shmkit.Options{Config: map[string]any{"level": "info", "levels": map[string]any{"db.*": "debug"}}})
	g, err := n.Start(shmkit.Spec{Func: named, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := n.Config().Set("test", "levels", "debug", 0); err == nil || !strings.Contains(err.Error(), `config key "levels"`) {
		t.Errorf("levels that are none: %v", err)
	}
	_, err = n.Config().Set("test", "levels", map[string]any{"x": "loud"}, 0)
	if err == nil || !strings.Contains(err.Error(), `"levels.x" is "loud"`) {
		t.Errorf("a level that is none: %v", err)
	}
}
