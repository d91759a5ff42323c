package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"shmkit/adapters/sqlitedb"
	"shmkit/logring"
)

// outputFiles are the files of one run in the out folder. A run replaces those
// of the run before.
type outputFiles struct {
	dir   string
	db    *sql.DB
	jsonl logring.Sink
	logs  logring.Sink
}

func createOutputs(dir string) (_ *outputFiles, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("out folder: %w: name another with -out", err)
	}
	o := &outputFiles{dir: dir}
	for _, name := range []string{"run.jsonl", "run.db", "run.db-wal", "run.db-shm", "summary.json"} {
		if err := os.Remove(o.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("out folder: %w", err)
		}
	}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	if o.jsonl, err = logring.OpenJSON(o.path("run.jsonl")); err != nil {
		return nil, err
	}
	if o.db, err = sqlitedb.Open(o.path("run.db")); err != nil {
		return nil, err
	}
	if o.logs, err = logring.SQL(o.db, "logs"); err != nil {
		return nil, err
	}
	_, err = o.db.Exec(`CREATE TABLE files(
		path  TEXT PRIMARY KEY,
		lines INTEGER NOT NULL,
		words INTEGER NOT NULL,
		bytes INTEGER NOT NULL,
		rank  INTEGER NOT NULL)`)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.path("run.db"), err)
	}
	return o, nil
}

func (o *outputFiles) path(name string) string { return filepath.Join(o.dir, name) }

// sinks hands the two log sinks over to the node, which closes them.
func (o *outputFiles) sinks() []logring.Sink {
	s := []logring.Sink{o.jsonl, o.logs}
	o.jsonl, o.logs = nil, nil
	return s
}

func (o *outputFiles) saveSummary(s *summary) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.path("summary.json"), append(b, '\n'), 0o666)
}

// Close closes what is still open.
func (o *outputFiles) Close() error {
	var errs []error
	for _, s := range []logring.Sink{o.jsonl, o.logs} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if o.db != nil {
		errs = append(errs, o.db.Close())
	}
	return errors.Join(errs...)
}
