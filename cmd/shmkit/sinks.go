package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"shmkit/adapters/otelsink"
	"shmkit/adapters/postgresdb"
	"shmkit/adapters/rotatefile"
	"shmkit/adapters/sqlitedb"
	"shmkit/logring"
)

// logTable is the table of a database sink.
const logTable = "logs"

// sinkSpec is one SINK of the command line.
type sinkSpec struct {
	kind string // what is in front of the first colon
	path string // what is behind it
}

func (s sinkSpec) String() string {
	if s.path == "" {
		return s.kind
	}
	return s.kind + ":" + s.path
}

// file is the path of the file that the sink creates, "" if it creates none.
func (s sinkSpec) file() string {
	switch s.kind {
	case "text", "json", "sqlite":
		return s.path
	case "rotate":
		path, _, _ := strings.Cut(s.path, "?")
		return path
	}
	return ""
}

const sinkForms = "console, text:PATH, json:PATH, rotate:PATH, sqlite:PATH, postgres://USER@HOST/DB, syslog:ADDRESS, journald or otlp://HOST:PORT"

// parseSink reads one SINK.
func parseSink(s string) (sinkSpec, error) {
	kind, path, hasPath := strings.Cut(s, ":")
	switch kind {
	case "console", "journald":
		if hasPath {
			return sinkSpec{}, fmt.Errorf("%s takes no path", kind)
		}
	case "text", "json", "sqlite":
		if path == "" {
			return sinkSpec{}, fmt.Errorf("the path is missing: write %s:PATH", kind)
		}
	case "rotate":
		if _, _, err := parseRotate(path); err != nil {
			return sinkSpec{}, err
		}
	case "syslog":
		if hasPath && path == "" {
			return sinkSpec{}, errors.New("the address is missing: write syslog:unix:PATH, syslog:udp:HOST:PORT or syslog:tcp:HOST:PORT")
		}
	case "postgres", "postgresql":
		if !strings.HasPrefix(path, "//") {
			return sinkSpec{}, fmt.Errorf("write %s://USER@HOST/DATABASE", kind)
		}
	case "otlp", "otlps":
		if u, err := url.Parse(s); err != nil || u.Host == "" {
			return sinkSpec{}, fmt.Errorf("write %s://HOST:PORT", kind)
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
		if sameTarget(spec, other) {
			return errors.New("two sinks cannot write to the same place")
		}
	}
	*f = append(*f, spec)
	return nil
}

// sameTarget reports whether two sinks would write to one place.
func sameTarget(a, b sinkSpec) bool {
	if a.file() == "" || b.file() == "" {
		return a == b
	}
	absA, errA := filepath.Abs(a.file())
	absB, errB := filepath.Abs(b.file())
	return errA == nil && errB == nil && absA == absB
}

// A place is what opening a sink depends on beside its spec.
type place struct {
	console io.Writer // where console records go
	noLock  bool      // log files are not locked
	service string    // the name of the run, for services that ask who logs
}

// openSinks opens what the specs name, or nothing.
func openSinks(specs []sinkSpec, at place) (*sinks, error) {
	opened := &sinks{}
	for _, spec := range specs {
		fresh := false
		if path := spec.file(); path != "" {
			_, err := os.Lstat(path)
			fresh = errors.Is(err, os.ErrNotExist)
		}
		sink, err := spec.open(at)
		if err != nil {
			opened.close()
			opened.discard()
			return nil, fmt.Errorf("log sink %q: %s", redacted(spec.String()), bare(err))
		}
		opened.all = append(opened.all, logring.With(sink, logring.SinkOptions{Name: redacted(spec.String())}))
		if fresh {
			opened.created = append(opened.created, spec)
		}
	}
	return opened, nil
}

func (s sinkSpec) open(at place) (logring.Sink, error) {
	switch s.kind {
	case "text", "json":
		return logring.OpenFile(s.path, logring.FileOptions{Format: logring.Format(s.kind), NoLock: at.noLock})
	case "rotate":
		path, o, err := parseRotate(s.path)
		if err != nil {
			return nil, err
		}
		return rotatefile.Open(path, o)
	case "sqlite":
		return openDatabase(sqlitedb.Open, s.path)
	case "postgres", "postgresql":
		return openDatabase(postgresdb.Open, s.String())
	case "syslog":
		return logring.Syslog(s.path, logring.SyslogOptions{App: at.service})
	case "journald":
		return logring.Journald(logring.JournaldOptions{Identifier: at.service})
	case "otlp", "otlps":
		scheme := map[string]string{"otlp": "http:", "otlps": "https:"}[s.kind]
		return otelsink.Open(context.Background(), otelsink.Options{Endpoint: scheme + s.path, Service: at.service})
	}
	return logring.Console(at.console), nil
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
		} else if st, err := os.Stat(spec.file()); err == nil && st.Mode().IsRegular() && st.Size() == 0 {
			os.Remove(spec.file())
		}
	}
}

// openDatabase opens a database sink that closes its database, too.
func openDatabase(open func(string) (*sql.DB, error), name string) (logring.Sink, error) {
	db, err := open(name)
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

// Patient tells logring that an outage is waited for, see [logring.SinkOptions].
func (s databaseSink) Patient() {}

func (s databaseSink) Close() error { return errors.Join(s.Sink.Close(), s.db.Close()) }
