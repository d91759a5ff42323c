package shmkit

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"time"

	"shmkit/cfgblob"
	"shmkit/dataio/recfile"
	"shmkit/dataio/sqlproxy"
	"shmkit/logring"
	"shmkit/spawn"
)

// Options says what a node is called, what its workers share, and where their
// records go. The zero value is a node with an empty configuration that writes
// its workers' records to standard error.
type Options struct {
	// Name of the run: letters, digits, '.', '_' and '-'. It is unique per user
	// and machine while the run lives. Default: the program's name and the pid.
	Name string

	// Dir is the runtime directory that holds the run's lock and socket.
	// Default: [spawn.RuntimeDir].
	Dir string

	// Config is the first configuration, published as version 1: a struct, a map,
	// or a JSON object as []byte or [json.RawMessage]. A struct is also the schema:
	// keys that it does not have, and values of another type, are refused for as
	// long as the node lives. Default: the empty object.
	Config any

	// Validate, if set, sees every configuration before it is published, after the
	// schema has been checked. An error refuses it: the version does not move.
	Validate func(doc []byte) error

	// Sinks receive the records. The node takes ownership: Close closes them, and
	// so does a failed Start. [logring.With] gives one a level or a filter of its
	// own. Default: the console sink on standard error.
	Sinks []logring.Sink

	// Sources are read over Config, in this order: files, the environment, flags, or
	// what adapters/koanfsource reads. Later ones win. Those that can change are
	// followed while the node lives: what they bring is validated like any other
	// change, and a source that fails leaves the configuration as it is.
	Sources []cfgblob.Source

	// Grants say which keys of the configuration workers may change with
	// [Worker.SetConfig]. Default: none.
	Grants []cfgblob.Grant

	// Store says how the configuration is kept: size, history, secrets, a state file.
	// Its Name, Author, Type, Sources, Grants and Validate are set from the fields
	// above.
	Store cfgblob.StoreOptions

	// Log says how records are collected: ring size, what a full ring does, a crash
	// directory. Its Name, Sinks and Level are set from the fields of this struct.
	Log logring.CollectorOptions

	// Databases are what workers reach by [Worker.DB] under these names. Their
	// connections are this process's. They stay the caller's, to be closed after the
	// node. Policies limit what workers may do with them, by name.
	Databases map[string]*sql.DB
	Policies  map[string]sqlproxy.Policy

	// Files are what workers append records to by [Worker.File] under these names. They
	// appear when the run is over, if it went well: see [Node.Shutdown].
	Files map[string]recfile.Options

	// AlwaysComplete gives Files their names also when the run has failed or was
	// cancelled: for files of which a part is as good as the whole, logs say.
	AlwaysComplete bool

	// LevelKey is the configuration key whose value ("debug", "info", "warn",
	// "error", or one of these with an offset as in "info+2") is the level of every
	// worker's logger. It acts on running workers at once. A configuration without
	// the key means info. Default: "level". "-" leaves the level alone.
	//
	// LevelKey with an "s" added, "levels" by default, may be an object of patterns of
	// logger names and their levels: {"db.*": "debug"}. See
	// [logring.Collector.SetLevels].
	LevelKey string

	// Resources are given to every worker beside its logger and configuration,
	// found there with [Worker.Resource]. The names "log" and "config", and those that
	// begin with "shmkit.", are taken.
	Resources map[string]spawn.Resource

	// Contain says by what means the processes of the run are kept together, so that
	// none outlives its worker or the node: grandchildren that left their process group,
	// and everything when the node is killed. Default: [spawn.ContainWell];
	// [spawn.ContainParentDeath] for no more than always is. [Node.Containment] says what
	// could be had.
	Contain spawn.Containment

	// OnStall is called when a worker with a Spec.Heartbeat has stalled, and when it
	// beats again. It must not block.
	OnStall func(spawn.Stall)

	// OnExit is called once for each worker that has ended, from a goroutine of
	// the node. It must not block.
	OnExit func(Exit)

	// StopTimeout is how long a worker may take from SIGTERM to its end before it
	// is killed, unless its Spec says otherwise, and how long processes that joined
	// may take to leave. Default: [DefaultStopTimeout].
	StopTimeout time.Duration

	joined func(spawn.Info) // of a node process of its own, see serve.go
}

const (
	resourceLog       = "log"
	resourceConfig    = "config"
	resourceDatabases = "shmkit.databases"
	resourceFiles     = "shmkit.files"

	defaultLevelKey = "level"
)

// DefaultStopTimeout is what [Options].StopTimeout is when it is not set.
const DefaultStopTimeout = 20 * time.Second

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = filepath.Base(os.Args[0]) + "-" + strconv.Itoa(os.Getpid())
	}
	switch o.LevelKey {
	case "":
		o.LevelKey = defaultLevelKey
	case "-":
		o.LevelKey = ""
	}
	if o.Contain == 0 {
		o.Contain = spawn.ContainWell
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = DefaultStopTimeout
	}
	if len(o.Sinks) == 0 {
		o.Sinks = []logring.Sink{logring.Console(os.Stderr)}
	}
	for _, taken := range []string{resourceLog, resourceConfig, resourceDatabases, resourceFiles} {
		if _, ok := o.Resources[taken]; ok {
			return o, fmt.Errorf("shmkit: start %q: the resource name %q is taken: choose another", o.Name, taken)
		}
	}
	return o, nil
}

func (o Options) levelsKey() string { return o.LevelKey + "s" }

// document returns the first configuration as a JSON object.
func (o Options) document() ([]byte, error) {
	switch c := o.Config.(type) {
	case nil:
		return []byte("{}"), nil
	case []byte:
		return c, nil
	case json.RawMessage:
		return c, nil
	}
	doc, err := json.Marshal(o.Config)
	if err != nil {
		return nil, fmt.Errorf("shmkit: start %q: config of type %T: %w", o.Name, o.Config, err)
	}
	return doc, nil
}

// configType is the struct that Config is, or nil.
func (o Options) configType() reflect.Type {
	t := reflect.TypeOf(o.Config)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

// validator chains what a configuration has to pass beside the schema: the level
// keys, and the caller's own check.
func (o Options) validator() func(doc []byte) error {
	checks := []func(doc []byte) error{}
	if o.LevelKey != "" {
		checks = append(checks, func(doc []byte) error {
			_, err1 := levelOf(doc, o.LevelKey)
			_, err2 := levelsOf(doc, o.levelsKey())
			return errors.Join(err1, err2)
		})
	}
	if o.Validate != nil {
		checks = append(checks, o.Validate)
	}
	return func(doc []byte) error {
		for _, check := range checks {
			if err := check(doc); err != nil {
				return err
			}
		}
		return nil
	}
}

// closeSinks closes what a failed Start has taken ownership of.
func (o Options) closeSinks() error {
	var errs []error
	for _, s := range o.Sinks {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
