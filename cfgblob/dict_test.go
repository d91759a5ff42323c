package cfgblob

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDict(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"s":"text","on":true,"n":7,"big":9007199254740993,"f":0.5,"wait":"1m30s","ns":1500,
		"list":["a","b"],"mixed":["a",1],"deep":{"x":{"y":1},"a.b":"dot"},"none":null,"empty":{},"no":[]}`)
	for _, view := range []View{s, attach(t, s)} {
		v := view.Dict()
		for _, c := range []struct {
			got  func() (any, error)
			want any
		}{
			{func() (any, error) { return v.String("s") }, "text"},
			{func() (any, error) { return v.Bool("on") }, true},
			{func() (any, error) { return v.Int("n") }, 7},
			{func() (any, error) { return v.Int("big") }, 9007199254740993},
			{func() (any, error) { return v.Float("f") }, 0.5},
			{func() (any, error) { return v.Float("n") }, 7.0},
			{func() (any, error) { return v.Duration("wait") }, 90 * time.Second},
			{func() (any, error) { return v.Duration("ns") }, 1500 * time.Nanosecond},
			{func() (any, error) { return v.String(`deep.a\.b`) }, "dot"},
			{func() (any, error) { l, err := v.Strings("list"); return fmt.Sprint(l), err }, "[a b]"},
			{func() (any, error) { return At[uint8](v, "n") }, uint8(7)},
			{func() (any, error) { return At[time.Duration](v, "wait") }, 90 * time.Second},
			{func() (any, error) {
				d, err := At[struct {
					X map[string]int `json:"x"`
					B string         `json:"a.b"`
				}](v, "deep")
				return fmt.Sprint(d), err
			}, "{map[y:1] dot}"},
			{func() (any, error) { m, err := v.Map("deep"); return strings.Join(m.Keys(), " "), err }, "a.b x"},
			{func() (any, error) {
				m, _ := v.Map("deep")
				m, err := m.Map("x")
				n, _ := m.Int("y")
				return n, err
			}, 1},
		} {
			if got, err := c.got(); got != c.want || err != nil {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		}
		deep, _ := v.Map("deep")
		for want, err := range map[string]error{
			`key "s": expects an integer, has a string`:              second(v.Int("s")),
			`key "f": expects an integer, has a number`:              second(v.Int("f")),
			`key "n": expects a string, has a number`:                second(v.String("n")),
			`key "none": expects true or false, has null`:            second(v.Bool("none")),
			`key "list": expects a number, has an array of 2`:        second(v.Float("list")),
			`key "s": expects a duration such as "1m30s", or`:        second(v.Duration("s")),
			`key "mixed.1": expects a string, has a number`:          second(v.Strings("mixed")),
			`key "on": expects an array of strings, has a boolean`:   second(v.Strings("on")),
			`key "n": expects an object, has a number`:               second(v.Map("n")),
			`key "deep.x": expects an integer, has an object`:        second(deep.Int("x")),
			`key "deep.x.y": expects a string, has a number`:         second(At[map[string]string](deep, "x")),
			`key "big": expects an integer from 0 to 255, has a num`: second(At[uint8](v, "big")),
			`no key "lst": did you mean "list"?`:                     second(v.Strings("lst")),
			`unknown key "deep.a\\.b": known here: z`: second(At[struct {
				Z int `json:"z"`
			}](v, "deep")),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
		if !v.Has("none") || v.Has("nope") || v.Version() != 1 {
			t.Error("Has, or Version")
		}
		var all []string
		for path, x := range v.All() {
			all = append(all, fmt.Sprintf("%s=%v", path, x))
		}
		want := []string{"big=9007199254740993", `deep.a\.b=dot`, "deep.x.y=1", "empty=map[]", "f=0.5", "list.0=a", "list.1=b",
			"mixed.0=a", "mixed.1=1", "n=7", "no=[]", "none=<nil>", "ns=1500", "on=true", "s=text", "wait=1m30s"}
		if !slices.Equal(all, want) {
			t.Errorf("all: %q", all)
		}
		for range v.All() {
			break
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A Dict stays at its version.
func TestDictAgree(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"a":1,"b":1}`)
	v := s.Dict()
	if _, err := s.Publish("x", []byte(`{"a":2,"b":2}`)); err != nil {
		t.Fatal(err)
	}
	a, _ := v.Int("a")
	b, _ := v.Int("b")
	if a != 1 || b != 1 || v.Version() != 1 {
		t.Errorf("%d %d at version %d", a, b, v.Version())
	}
	if now, err := s.Dict().Int("a"); now != 2 || err != nil {
		t.Error(now, err)
	}
	x, _ := s.Dict().Get("")
	x.(map[string]any)["a"] = json.Number("9")
	if now, _ := s.Dict().Int("a"); now != 2 {
		t.Error("the owner's truth was handed out")
	}
	if _, err := (Snapshot{Doc: []byte(`{`)}).Dict().Int("a"); !errors.As(err, new(*SyntaxError)) {
		t.Error(err)
	}
}

// A watcher of some keys is told of their changes only, and never misses the
// last one.
func TestWatchOfKeys(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"a":{"b":0,"c":0},"x":0}`)
	r, _ := connected(t, s, "train", 0)
	type doc struct {
		A struct {
			B int `json:"b"`
		} `json:"a"`
	}
	live := bind[doc](t, r)
	got := make(chan int, 100)
	lives := make(chan int, 100)
	go func() {
		for snap := range r.Watch(t.Context(), "a.b", "gone") {
			n, _ := snap.Dict().Int("a.b")
			got <- n
			if n == 9 {
				close(got)
				return
			}
		}
	}()
	go func() {
		for c := range live.Watch(t.Context(), "a.b") {
			lives <- c.A.B
			if c.A.B == 9 {
				close(lives)
				return
			}
		}
	}()
	first := <-got
	<-lives
	for i := range 200 { // none of its business
		if _, err := s.Set("x", "x", i+1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SetFor(Audience{Group: "train"}, "x", "a.c", 1, 0); err != nil { // nor is another segment
		t.Fatal(err)
	}
	if _, err := s.SetFor(Audience{Group: "train"}, "x", "a.b", 9, 0); err != nil {
		t.Fatal(err)
	}
	rest := slices.Collect(func(yield func(int) bool) {
		for n := range got {
			if !yield(n) {
				return
			}
		}
	})
	if first != 0 || !slices.Equal(rest, []int{9}) {
		t.Errorf("told of %d and then %v", first, rest)
	}
	for n := range lives {
		if n != 9 {
			t.Errorf("the Live's watcher was told of %d", n)
		}
	}
}
