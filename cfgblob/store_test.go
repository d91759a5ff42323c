package cfgblob

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFirstVersion(t *testing.T) {
	before := time.Now().Add(-time.Second)
	s := newStore(t, StoreOptions{Name: "job.config", Schema: 5}, " { \"b\" : 2.50 , \"a\" : \"<\" }\n")
	r := attach(t, s)
	for name, got := range map[string]Snapshot{"store": s.Snapshot(), "reader": r.Snapshot()} {
		if got.Version != 1 || got.Author != "owner" || got.Schema != 5 || string(got.Doc) != `{"a":"<","b":2.50}` ||
			got.Time.Before(before) || got.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !s.Snapshot().Time.Equal(r.Snapshot().Time) || s.Name() != "job.config" || r.Name() != "job.config" {
		t.Errorf("store %q %v, reader %q %v", s.Name(), s.Snapshot().Time, r.Name(), r.Snapshot().Time)
	}
	if s, err := NewStore(StoreOptions{}, nil); err != nil || string(s.Snapshot().Doc) != "{}" || s.Name() != "config" {
		t.Errorf("zero options: %v", err)
	} else {
		s.Close()
	}
}

func TestNewStoreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		o    StoreOptions
		doc  string
		want string
	}{
		"bad JSON":  {StoreOptions{Name: "job"}, `{"a":`, `"job": rejected, nothing is published: line 1, column 6, at key "a": the document ends`},
		"empty":     {StoreOptions{Name: "job"}, ``, `nothing is published: line 1, column 1`},
		"array":     {StoreOptions{Name: "job"}, `[]`, `a configuration is an object`},
		"too large": {StoreOptions{Name: "job", MaxSize: 8}, `{"a":123}`, `"job": document needs 9 bytes, limit is 8: raise StoreOptions.MaxSize`},
		"negative":  {StoreOptions{Name: "job", MaxSize: -1}, `{}`, `MaxSize of -1 bytes: choose from 2 to`},
		"enormous":  {StoreOptions{Name: "job", MaxSize: math.MaxInt}, `{}`, `MaxSize of 9223372036854775807 bytes`},
		"strict":    {StoreOptions{Name: "job", Validate: Strict[logConfig]()}, `{"lvel":"x"}`, `"job": rejected, nothing is published: unknown key "lvel": did you mean "level"?`},
	} {
		_, err := NewStore(c.o, []byte(c.doc))
		if err == nil || !strings.HasPrefix(err.Error(), "cfgblob: ") || !strings.Contains(err.Error(), c.want) ||
			strings.Count(err.Error(), "cfgblob: ") > 1 {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
}

func TestPublish(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"a":1}`)
	r := attach(t, s)
	v, err := s.Publish("cli", []byte(`{"a": 2}`))
	if err != nil || v != 2 {
		t.Fatalf("Publish = %d, %v", v, err)
	}
	for _, src := range []View{s, r} {
		if got := src.Snapshot(); got.Version != 2 || got.Author != "cli" || string(got.Doc) != `{"a":2}` || src.Version() != 2 || src.Err() != nil {
			t.Errorf("%T: %v", src, got)
		}
	}
	// The same document in other words is no new version.
	v, err = s.Publish("other", []byte("{\n\t\"a\":2 }"))
	if err != nil || v != 2 || s.Snapshot().Author != "cli" {
		t.Errorf("unchanged document: version %d, %v, %v", v, err, s.Snapshot())
	}
	if v, err = s.Set("other", "a", 2, 2); err != nil || v != 2 {
		t.Errorf("Set to the same value: version %d, %v", v, err)
	}
	// Another spelling of a number is a change: digits are kept.
	if v, err = s.Publish("", []byte(`{"a":2.0}`)); err != nil || v != 3 || s.Snapshot().Author != "owner" {
		t.Errorf("another spelling: version %d, %v", v, err)
	}
	if n, err := s.Get("a"); n != json.Number("2.0") || err != nil {
		t.Errorf("Get = %v, %v", n, err)
	}
}

func TestRejectedNeverMovesTheVersion(t *testing.T) {
	refuse := errors.New("no debug at night")
	s := newStore(t, StoreOptions{Name: "job", MaxSize: 64, Validate: func(doc []byte) error {
		if strings.Contains(string(doc), "debug") {
			return refuse
		}
		return nil
	}}, `{"level":"info","list":[1]}`)
	r := attach(t, s)
	deep := any(1)
	for range 70 {
		deep = []any{deep}
	}
	publish := func(doc string) func() (uint64, error) {
		return func() (uint64, error) { return s.Publish("x", []byte(doc)) }
	}
	set := func(path string, v any) func() (uint64, error) {
		return func() (uint64, error) { return s.Set("x", path, v, 0) }
	}
	for name, c := range map[string]struct {
		do   func() (uint64, error)
		is   error
		want string
	}{
		"validate":      {publish(`{"level":"debug"}`), refuse, `cfgblob: "job": rejected, version 1 stays: no debug at night`},
		"validate set":  {set("level", "debug"), ErrRejected, `version 1 stays: no debug`},
		"bad JSON":      {publish(`{"level":}`), ErrRejected, `version 1 stays: line 1, column 10, at key "level"`},
		"NaN literal":   {publish(`{"level":NaN}`), ErrRejected, `'N' where a value should be`},
		"twice":         {publish(`{"level":1,"level":2}`), ErrRejected, `key "level" appears twice`},
		"deep":          {publish(`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`), ErrRejected, "nested deeper than 64"},
		"no UTF-8":      {publish("{\"a\":\"\xff\"}"), ErrRejected, "not valid UTF-8"},
		"not an object": {publish(`[1]`), ErrRejected, "a configuration is an object"},
		"too large":     {publish(`{"a":"` + strings.Repeat("x", 57) + `"}`), ErrTooLarge, `"job": document needs 65 bytes, limit is 64`},
		"set too large": {set("a", strings.Repeat("x", 64)), ErrTooLarge, `limit is 64`},
		"set NaN":       {set("a.b", math.NaN()), nil, `value for key "a.b": json: unsupported value: NaN`},
		"set channel":   {set("a", make(chan int)), nil, `value for key "a": json: unsupported type: chan int`},
		"set deep":      {set("a", deep), nil, `nested deeper than 64`},
		"set path":      {set("a..b", 1), nil, `path "a..b": has an empty element`},
		"set through":   {set("level.x", 1), nil, `"level" is a string, not an object`},
		"set index":     {set("list.5", 1), nil, `"list" is an array of 1: use an index from 0 to 1`},
		"unset":         {func() (uint64, error) { return s.Unset("x", "lvel", 0) }, ErrNoKey, `no key "lvel": did you mean "level"?`},
		"conflict":      {func() (uint64, error) { return s.Set("x", "level", 1, 9) }, ErrConflict, `cfgblob: "job": change made for version 9, but version 1 (by "owner" at `},
		"edit": {func() (uint64, error) {
			return s.Update("x", 0, func(doc map[string]any) error { doc["level"] = "gone"; return os.ErrInvalid })
		}, os.ErrInvalid, os.ErrInvalid.Error()},
		"edit channel": {func() (uint64, error) {
			return s.Update("x", 0, func(doc map[string]any) error { doc["list"] = []any{map[string]any{"c": make(chan int)}}; return nil })
		}, ErrRejected, `version 1 stays: value for key "list.0.c": json: unsupported type: chan int`},
	} {
		v, err := c.do()
		if err == nil || v != 1 || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "cfgblob: ") > 1 {
			t.Errorf("%s: version %d\n got %v\nwant %s", name, v, err, c.want)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", name, err, c.is)
		}
		for _, src := range []View{s, r} {
			if got := src.Snapshot(); got.Version != 1 || string(got.Doc) != `{"level":"info","list":[1]}` {
				t.Fatalf("%s: %T moved to %v", name, src, got)
			}
		}
	}
	// A document that just fits is taken.
	if v, err := s.Publish("x", []byte(`{"a":"`+strings.Repeat("x", 56)+`"}`)); err != nil || v != 2 || len(r.Snapshot().Doc) != 64 {
		t.Errorf("document of exactly MaxSize: version %d, %v", v, err)
	}
}

// BeforePublish has heard of a version before anybody can see it, and only of
// those that are published.
func TestBeforePublish(t *testing.T) {
	var told []string
	var reader *Reader
	s := newStore(t, StoreOptions{
		Validate: Strict[logConfig](),
		BeforePublish: func(version uint64, doc []byte) {
			if reader != nil && reader.Version() >= version {
				t.Errorf("version %d is out already", version)
			}
			told = append(told, fmt.Sprintf("%d %s", version, doc))
		},
	}, `{}`)
	reader = attach(t, s)
	for _, level := range []any{"debug", "debug", 5, "info"} { // published, unchanged, rejected, published
		s.Set("x", "level", level, 0)
	}
	if want := []string{`1 {}`, `2 {"level":"debug"}`, `3 {"level":"info"}`}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestConflictNamesVersions(t *testing.T) {
	s := newStore(t, StoreOptions{Name: "job"}, `{"n":0}`)
	if _, err := s.Set("alice", "n", 1, 1); err != nil {
		t.Fatal(err)
	}
	v, err := s.Set("bob", "n", 2, 1)
	var c *ConflictError
	if !errors.As(err, &c) || v != 2 || c.Want != 1 || c.Version != 2 || c.Author != "alice" || c.Name != "job" {
		t.Fatalf("version %d, %v", v, err)
	}
	if v, err = s.Set("bob", "n", 2, c.Version); err != nil || v != 3 {
		t.Errorf("retry with the version named: %d, %v", v, err)
	}
}

// 16 writers add up, each by reading a version and changing that version only.
//
// Shown to trip: with ifVersion 0 the test below finds the update that is lost.
func TestCompareAndSetLosesNothing(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"n":0,"by":{}}`)
	const writers, adds = 16, 50
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for done := 0; done < adds; {
				snap := s.Snapshot()
				_, err := s.Update(fmt.Sprint("writer-", w), snap.Version, func(doc map[string]any) error {
					n, err := doc["n"].(json.Number).Int64()
					doc["n"] = n + 1
					doc["by"].(map[string]any)[fmt.Sprint(w)] = done + 1
					return err
				})
				if err == nil {
					done++
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	snap := s.Snapshot()
	if n, err := snap.Get("n"); err != nil || n != json.Number(fmt.Sprint(writers*adds)) || snap.Version != 1+writers*adds {
		t.Errorf("n = %v (%v), version %d after %d updates", n, err, snap.Version, writers*adds)
	}
	for w := range writers {
		if n, _ := snap.Get(fmt.Sprint("by.", w)); n != json.Number(fmt.Sprint(adds)) {
			t.Errorf("writer %d: %v of %d updates", w, n, adds)
		}
	}
}

func TestWithoutCompareAnUpdateIsLost(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"n":0}`)
	read := func() int64 { v, _ := s.Get("n"); n, _ := v.(json.Number).Int64(); return n }
	a, b := read(), read()
	for _, n := range []int64{a + 1, b + 1} {
		if _, err := s.Set("x", "n", n, 0); err != nil {
			t.Fatal(err)
		}
	}
	if read() != 1 {
		t.Errorf("n = %d: what is there to compare versions for?", read())
	}
}

func TestUpdate(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"a":{"b":[1]},"big":123456789012345678901234567890}`)
	v, err := s.Update("x", 1, func(doc map[string]any) error {
		doc["a"].(map[string]any)["b"] = append(doc["a"].(map[string]any)["b"].([]any), uint64(math.MaxUint64), 0.1)
		doc["c"] = struct {
			D time.Duration `json:"d"`
		}{time.Second}
		return nil
	})
	want := `{"a":{"b":[1,18446744073709551615,0.1]},"big":123456789012345678901234567890,"c":{"d":1000000000}}`
	if got := string(s.Snapshot().Doc); err != nil || v != 2 || got != want {
		t.Errorf("version %d, %v\n got %s\nwant %s", v, err, got, want)
	}
	if _, err := s.Unset("x", "a.b.0", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unset("x", "c", 3); err != nil {
		t.Fatal(err)
	}
	want = `{"a":{"b":[18446744073709551615,0.1]},"big":123456789012345678901234567890}`
	if got := string(s.Snapshot().Doc); got != want {
		t.Errorf("after Unset:\n got %s\nwant %s", got, want)
	}
}

// What a caller got is his: changing it changes nothing for others.
func TestResultsAreCopies(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"m":{"x":1},"l":[1]}`)
	m, _ := s.Get("m")
	m.(map[string]any)["x"] = 2
	l, _ := s.Get("l")
	l.([]any)[0] = 2
	all, _ := s.Get("")
	delete(all.(map[string]any), "m")
	_, err := s.Update("x", 0, func(doc map[string]any) error {
		doc["m"].(map[string]any)["x"] = 3
		return os.ErrInvalid // and then think better of it
	})
	if !errors.Is(err, os.ErrInvalid) {
		t.Fatal(err)
	}
	var kept map[string]any
	if _, err := s.Update("x", 0, func(doc map[string]any) error { doc["n"] = 1; kept = doc; return nil }); err != nil {
		t.Fatal(err)
	}
	kept["m"] = "changed later"
	// Not even an ill-behaved caller reaches the owner's truth.
	copy(s.Snapshot().Doc, "XXXXXXXX")
	if _, err := s.Set("x", "o", 1, 0); err != nil {
		t.Fatal(err)
	}
	if got, want := string(s.Snapshot().Doc), `{"l":[1],"m":{"x":1},"n":1,"o":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestClosedStore(t *testing.T) {
	s := newStore(t, StoreOptions{Name: "job"}, `{"a":1}`)
	r := attach(t, s)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Publish("x", []byte(`{"a":2}`)); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), `"job"`) {
		t.Errorf("Publish: %v", err)
	}
	if _, _, _, err := s.Donate("g", 0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Donate: %v", err)
	}
	if got := s.Snapshot(); string(got.Doc) != `{"a":1}` {
		t.Errorf("store: %v", got)
	}
	if got := r.Snapshot(); string(got.Doc) != `{"a":1}` || r.Err() != nil {
		t.Errorf("reader: %v, %v", got, r.Err())
	}
}

func TestSnapshotPrints(t *testing.T) {
	s := Snapshot{Version: 3, Time: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC), Author: "cli", Doc: []byte(`{"a":1}`)}
	want := `version 3, 2024-05-06T07:08:09Z, by "cli": {"a":1}`
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q", "%x"} {
		if got := fmt.Sprintf(f, s); got != want {
			t.Errorf("%s: %s", f, got)
		}
	}
	b, err := json.Marshal(s)
	if err != nil || string(b) != `{"version":3,"time":"2024-05-06T07:08:09Z","author":"cli","doc":{"a":1}}` {
		t.Errorf("JSON: %s, %v", b, err)
	}
	if got := s.LogValue().String(); got != `[version=3 time=2024-05-06 07:08:09 +0000 UTC author=cli doc={"a":1}]` {
		t.Errorf("LogValue: %s", got)
	}
}
