package cfgblob_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shmkit/cfgblob"
)

type Config struct {
	Level   string `json:"level"`
	Workers int    `json:"workers"`
	Log     struct {
		File string `json:"file"`
	} `json:"log"`
}

func (c *Config) Validate() error {
	if c.Workers < 1 {
		return errors.New("workers: at least 1 is needed")
	}
	return nil
}

// The owner publishes, a worker reads. Here both are one process; a worker
// server passes files and words on to another one.
func Example() {
	store, err := cfgblob.NewStore(cfgblob.StoreOptions{Name: "job", Validate: cfgblob.Strict[Config]()},
		[]byte(`{"level":"info","workers":4}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	files, words, lease, err := store.Donate("count", 0, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Close() // when the worker is dead

	reader, err := cfgblob.Attach(files, words)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	live, err := cfgblob.Bind[Config](reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(live.Load().Level)
	store.Set("cli", "level", "debug", 0)
	fmt.Println(live.Load().Level)

	version, err := store.Set("cli", "wrokers", 8, 0)
	fmt.Println(version, err)
	// Output:
	// info
	// debug
	// 2 cfgblob: "job": rejected, version 2 stays: unknown key "wrokers": did you mean "workers"?
}

func ExampleStore_Update() {
	store, _ := cfgblob.NewStore(cfgblob.StoreOptions{Name: "job"}, []byte(`{"hosts":["a"]}`))
	defer store.Close()

	// Whoever read a version can insist that nobody changed it since.
	seen := store.Snapshot()
	store.Set("somebody else", "level", "debug", 0)

	addHost := func(doc map[string]any) error {
		doc["hosts"] = append(doc["hosts"].([]any), "b")
		return nil
	}
	_, err := store.Update("me", seen.Version, addHost)
	var conflict *cfgblob.ConflictError
	if errors.As(err, &conflict) {
		fmt.Printf("%s published version %d\n", conflict.Author, conflict.Version)
		_, err = store.Update("me", conflict.Version, addHost)
	}
	fmt.Println(err, string(store.Snapshot().Doc))
	// Output:
	// somebody else published version 2
	// <nil> {"hosts":["a","b"],"level":"debug"}
}

func ExampleSnapshot_Get() {
	store, _ := cfgblob.NewStore(cfgblob.StoreOptions{}, []byte(`{"log":{"sinks":[{"path":"out"}],"size":1e6}}`))
	defer store.Close()
	snap := store.Snapshot()
	path, _ := snap.Get("log.sinks.0.path")
	size, _ := snap.Get("log.size")
	fmt.Println(path, size)
	_, err := snap.Get("log.snks")
	fmt.Println(err)
	fmt.Println(errors.Is(err, cfgblob.ErrNoKey))
	// Output:
	// out 1e6
	// cfgblob: no key "log.snks": did you mean "log.sinks"? "log" has sinks, size
	// true
}

func ExampleView_watch() {
	store, _ := cfgblob.NewStore(cfgblob.StoreOptions{}, []byte(`{"n":0}`))
	defer store.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for snap := range store.Watch(ctx) {
		fmt.Println(snap.Version, string(snap.Doc))
		if snap.Version == 3 {
			break
		}
		store.Set("cli", "n", snap.Version, 0)
	}
	// Output:
	// 1 {"n":0}
	// 2 {"n":1}
	// 3 {"n":2}
}

func ExampleStrict() {
	check := cfgblob.Strict[Config]()
	for _, doc := range []string{
		`{"level":"info","workers":4,"log":{"file":"out"}}`,
		`{"workers":4,"log":{"fiel":"out"}}`,
		`{"Workers":4}`,
		`{"workers":"four"}`,
		`{"workers":0}`,
	} {
		fmt.Println(check([]byte(doc)))
	}
	// Output:
	// <nil>
	// cfgblob: unknown key "log.fiel": did you mean "log.file"?
	// cfgblob: unknown key "Workers": did you mean "workers"?
	// cfgblob: key "workers": expects an integer, has a string
	// workers: at least 1 is needed
}

func ExampleMerge() {
	defaults, _ := cfgblob.TreeOf(Config{Level: "info", Workers: 4})
	file, _ := cfgblob.Parse([]byte(`{"workers": 8, "log": {"file": "/var/log/job"}}`))
	tree, err := cfgblob.Merge(
		cfgblob.Layer{Name: "defaults", Tree: defaults},
		cfgblob.Layer{Name: "job.json", Tree: file},
	)
	if err == nil {
		err = cfgblob.Assign(tree, "level=debug", `log.file=out.log`) // --set
	}
	fmt.Println(tree, err)
	// Output:
	// map[level:debug log:map[file:out.log] workers:8] <nil>
}

func ExampleParseAssignment() {
	for _, s := range []string{"log.level=debug", "workers=8", `hosts=["a","b"]`, `hosts.a\.b=true`, "level"} {
		path, value, err := cfgblob.ParseAssignment(s)
		fmt.Printf("%s %T %v %v\n", path, value, value, err)
	}
	// Output:
	// log.level string debug <nil>
	// workers json.Number 8 <nil>
	// hosts []interface {} [a b] <nil>
	// hosts.a\.b bool true <nil>
	//  <nil> <nil> cfgblob: assignment "level" has no '=': write KEY=VALUE
}

func ExampleFixed() {
	run := func(cfg *cfgblob.Live[Config]) { fmt.Println(cfg.Load().Level) }
	run(cfgblob.Fixed(Config{Level: "test"}))
	// Output: test
}

func ExampleStore_Explain() {
	store, err := cfgblob.NewStore(cfgblob.StoreOptions{
		Sources: []cfgblob.Source{
			cfgblob.Values("site.json", map[string]any{"level": "warn", "token": "s3cr3t"}),
			cfgblob.For(cfgblob.Audience{Group: "train"}, cfgblob.Values("train.json", map[string]any{"level": "debug"})),
		},
		Secrets: []string{"**.token"},
	}, []byte(`{"level":"info"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	store.Set("cli", "level", "error", 0)
	for _, path := range []string{"level", "token"} {
		origins, err := store.Explain(cfgblob.Audience{}, path)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, o := range origins {
			fmt.Println(path, "-", o)
		}
	}
	changes, err := store.Diff(1, 2)
	fmt.Println(changes, err)
	// Output:
	// level - runtime, version 2 by "cli": "error"
	// level - site.json: "warn"
	// level - defaults: "info"
	// token - site.json: "[redacted]"
	// [level: "warn" → "error"] <nil>
}

func ExampleDict() {
	store, err := cfgblob.NewStore(cfgblob.StoreOptions{}, []byte(`{"log":{"level":"info","flush":"1m30s"},"hosts":["a","b"]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	dict := store.Dict()
	flush, err := dict.Duration("log.flush")
	fmt.Println(flush, err)
	hosts, err := dict.Strings("hosts")
	fmt.Println(hosts, err)
	_, err = dict.Int("log.level")
	fmt.Println(err)
	for path, value := range dict.All() {
		fmt.Println(path, "=", value)
	}
	// Output:
	// 1m30s <nil>
	// [a b] <nil>
	// cfgblob: key "log.level": expects an integer, has a string
	// hosts.0 = a
	// hosts.1 = b
	// log.flush = 1m30s
	// log.level = info
}
