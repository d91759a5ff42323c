package main

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"shmkit/adapters/sqlitedb"
	"shmkit/logring"
)

// logTable is the table of a sqlite sink.
const logTable = "logs"

// sinkSpec is one SINK of the command line.
type sinkSpec struct {
	kind string // key of sinkKinds
	path string // "" for the console
}

func (s sinkSpec) String() string {
	if s.path == "" {
		return s.kind
	}
	return s.kind + ":" + s.path
}

const sinkForms = "console, text:PATH, json:PATH or sqlite:PATH"

// parseSink reads one SINK.
func parseSink(s string) (sinkSpec, error) {
	kind, path, hasPath := strings.Cut(s, ":")
	switch kind {
	case "console":
		if hasPath {
			return sinkSpec{}, errors.New("console takes no path")
		}
	case "text", "json", "sqlite":
		if path == "" {
			return sinkSpec{}, fmt.Errorf("the path is missing: write %s:PATH", kind)
		}
	default:
		return sinkSpec{}, fmt.Errorf("unknown sink %q: use %s", kind, sinkForms)
	}
	return sinkSpec{kind, path}, nil
}

// sinksFlag collects the SINKs of --log.
type sinksFlag []sinkSpec

func (f *sinksFlag) Type() string { return "SINK" }
func (f *sinksFlag) String() string {
	var names []string
	for _, s := range *f {
		names = append(names, s.String())
	}
	return strings.Join(names, " ")
}

func (f *sinksFlag) Set(s string) error {
	spec, err := parseSink(s)
	if err != nil {
		return err
	}
	for _, other := range *f {
		if sameTarget(spec.path, other.path) {
			return errors.New("two sinks cannot write to the same place")
		}
	}
	*f = append(*f, spec)
	return nil
}

// sameTarget compares two paths, "" being the console.
func sameTarget(a, b string) bool {
	if a == "" || b == "" {
		return a == b
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}

// openSinks opens what the specs name, or nothing. Console records go to
// console.
func openSinks(specs []sinkSpec, console io.Writer) (*sinks, error) {
	opened := &sinks{}
	for _, spec := range specs {
		fresh := false
		if spec.path != "" {
			_, err := os.Lstat(spec.path)
			fresh = errors.Is(err, os.ErrNotExist)
		}
		sink, err := spec.open(console)
		if err != nil {
			opened.close()
			opened.discard()
			return nil, fmt.Errorf("log sink %q: %s", spec, bare(err))
		}
		opened.all = append(opened.all, logring.With(sink, logring.SinkOptions{Name: spec.String()}))
		if fresh {
			opened.created = append(opened.created, spec)
		}
	}
	return opened, nil
}

func (s sinkSpec) open(console io.Writer) (logring.Sink, error) {
	switch s.kind {
	case "text":
		return logring.OpenText(s.path)
	case "json":
		return logring.OpenJSON(s.path)
	case "sqlite":
		return openSQLite(s.path)
	}
	return logring.Console(console), nil
}

// sinks are the open sinks of a run. Their owner is the node, once it started.
type sinks struct {
	all     []logring.Sink
	created []sinkSpec // those whose file did not exist before
}

func (s *sinks) close() {
	for _, sink := range s.all {
		sink.Close()
	}
}

// discard removes the files that this command created and did not write a
// record to: a run that cannot start leaves no trace. The sinks are closed.
func (s *sinks) discard() {
	for _, spec := range s.created {
		if spec.kind == "sqlite" {
			os.Remove(spec.path)
		} else if st, err := os.Stat(spec.path); err == nil && st.Mode().IsRegular() && st.Size() == 0 {
			os.Remove(spec.path)
		}
	}
}

// openSQLite opens a database sink that closes its database, too.
func openSQLite(path string) (logring.Sink, error) {
	db, err := sqlitedb.Open(path)
	if err != nil {
		return nil, err
	}
	sink, err := logring.SQL(db, logTable)
	if err != nil {
		db.Close()
		return nil, err
	}
	return databaseSink{sink, db}, nil
}

type databaseSink struct {
	logring.Sink
	db *sql.DB
}

func (s databaseSink) Close() error { return errors.Join(s.Sink.Close(), s.db.Close()) }
