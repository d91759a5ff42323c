package cfgblob

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shmkit/internal/proctest"
)

// What a successor takes over: the version, what was changed for whom, and no
// canary.
func TestStateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "job.state")
	job := writeFile(t, filepath.Join(dir, "job.json"), `{"level":"info","gone":1,"deep":{"x":1,"y":2}}`)
	o := StoreOptions{Name: "job", Sources: []Source{File(job)}, StateFile: path}
	s := newStore(t, o, `{}`)
	group := Audience{Group: "train", Ranks: []int{1, 2}}
	for _, do := range []func() (uint64, error){
		func() (uint64, error) { return s.Set("cli", "level", "debug", 0) },
		func() (uint64, error) { return s.Unset("cli", "gone", 0) },
		func() (uint64, error) { return s.Unset("cli", "deep.y", 0) },
		func() (uint64, error) { return s.SetFor(group, "cli", "n", 5, 0) },
		func() (uint64, error) {
			return s.Canary(Audience{Group: "eval"}, "cli", 0, func(doc map[string]any) error { doc["c"] = 1; return nil })
		},
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	s.Close()
	writeFile(t, job, `{"level":"warn","gone":2,"deep":{"x":3,"y":4},"new":1}`) // while nobody was there

	next := newStore(t, o, `{}`)
	if next.Version() != 7 || docOf(next) != `{"deep":{"x":3},"level":"debug","new":1}` {
		t.Errorf("version %d: %s", next.Version(), docOf(next))
	}
	if got := string(next.SnapshotFor(group).Doc); got != `{"deep":{"x":3},"level":"debug","n":5,"new":1}` {
		t.Errorf("for %v: %s", group, got)
	}
	if got := string(next.SnapshotFor(Audience{Group: "eval"}).Doc); got != docOf(next) {
		t.Errorf("the canary outlived its owner: %s", got)
	}
	next.Close()
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	for text, want := range map[string]string{
		`{`:                                      path + `: unexpected end of JSON input: remove it to begin anew`,
		`{"format":2}`:                           `format 2, this build reads 1: remove it`,
		`{"format":1,"changes":[{"for":"x/y"}]}`: `"y" is no rank`,
		`{"format":1,"changes":[{"unset":["a..b"]}]}`:    `empty element`,
		`{"format":1,"version":3,"changes":[{"set":5}]}`: `cannot unmarshal number`,
	} {
		writeFile(t, path, text)
		if _, err := NewStore(o, nil); err == nil || !strings.Contains(err.Error(), `"job": state file `) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	writeFile(t, path, `{"format":1,"version":30,"changes":[{"unset":["gone"]}]}`)
	if s := newStore(t, o, `{}`); s.Version() != 31 || docOf(s) != `{"deep":{"x":3,"y":4},"level":"warn","new":1}` {
		t.Errorf("nothing but a removal: %v", s.Snapshot())
	}
	o.StateFile = filepath.Join(dir, "no", "such")
	if _, err := NewStore(o, nil); err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("no such folder: %v", err)
	}
}

// ownUntilKilled publishes documents that say their own version, until it is
// killed.
var ownUntilKilled = proctest.Helper("own until killed", func(args []string) {
	s, err := NewStore(StoreOptions{StateFile: args[0]}, []byte(`{"v":0}`))
	must(err)
	for {
		v, err := s.Set("victim", "v", s.Version()+1, 0)
		must(err)
		fmt.Println(v) // from now on somebody has seen it
	}
})

// An owner that is killed at any moment leaves a file from which the next one goes
// on, later than anything that anybody has seen.
//
// Shown to trip: with save after the publication, or without the rename.
func TestOwnerKilled(t *testing.T) {
	rounds := 6
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 500
	}
	path := filepath.Join(t.TempDir(), "state")
	var last uint64
	for round := range rounds {
		cmd := proctest.Command(t, ownUntilKilled, path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 50 + 17*round%40 {
			if !lines.Scan() {
				t.Fatal("the owner ended by itself")
			}
		}
		cmd.Process.Kill()
		for ok := true; ok; ok = lines.Scan() {
			var v uint64
			if _, err := fmt.Sscan(lines.Text(), &v); err == nil && v <= last {
				t.Fatalf("round %d: version %d after %d", round, v, last)
			} else if err == nil {
				last = v
			}
		}
		cmd.Wait()
	}
	s := newStore(t, StoreOptions{StateFile: path}, `{"v":0}`)
	v, err := s.Get("v")
	if n, _ := v.(json.Number).Int64(); err != nil || s.Version() <= last || uint64(n)+1 != s.Version() {
		t.Errorf("version %d says %v, seen was %d, %v", s.Version(), v, last, err)
	}
}

// A reader goes on with the last good version when its owner dies, and then with
// the next owner's.
func TestReaderOutlivesOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	first := newStore(t, StoreOptions{StateFile: path}, `{"n":1}`)
	r, _ := connected(t, first, "train", 0)
	type doc struct {
		N int `json:"n"`
	}
	live := bind[doc](t, r)
	if _, err := first.Set("x", "n", 2, 0); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if live.Load().N != 2 || r.Version() != 2 {
		t.Errorf("after its death: %v", r.Snapshot())
	}
	second := newStore(t, StoreOptions{StateFile: path}, `{"n":1}`)
	files, _, lease, err := second.Donate("train", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	r.Message(message{Op: opMove}.encode(), files)
	if _, err := second.Set("x", "n", 3, 0); err != nil {
		t.Fatal(err)
	}
	if live.Load().N != 3 || live.Version() != 4 || r.Err() != nil {
		t.Errorf("with the next owner: %v, %v", r.Snapshot(), r.Err())
	}
	// One that begins anew is not followed back.
	third := newStore(t, StoreOptions{}, `{"n":9}`)
	files, _, lease, err = third.Donate("train", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	r.Message(message{Op: opMove}.encode(), files)
	if live.Load().N != 3 || r.Err() == nil || !strings.Contains(r.Err().Error(), "begins with version 1, the last had 4") {
		t.Errorf("an owner without memory: %v, %v", r.Snapshot(), r.Err())
	}
}

// A snapshot is enough to go on, too.
func TestFirst(t *testing.T) {
	s := newStore(t, StoreOptions{First: 100}, `{"n":1}`)
	if v, err := s.Set("x", "n", 2, 0); err != nil || s.History()[0].Version != 100 || v != 101 {
		t.Errorf("version %d, %v", v, err)
	}
}
