package cfgblob

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMerge(t *testing.T) {
	layer := func(name, doc string) Layer { return Layer{Name: name, Tree: mustParse(t, doc)} }
	for _, c := range []struct {
		layers []Layer
		want   string
	}{
		{nil, `{}`},
		{[]Layer{{Name: "none"}, layer("b", `{"a":1}`)}, `{"a":1}`},
		{[]Layer{layer("a", `{"a":1,"b":1}`), layer("b", `{"b":2,"c":2}`), layer("c", `{"c":3}`)}, `{"a":1,"b":2,"c":3}`},
		{[]Layer{layer("a", `{"log":{"level":"info","file":"x"}}`), layer("b", `{"log":{"level":"debug"}}`)}, `{"log":{"file":"x","level":"debug"}}`},
		{[]Layer{layer("a", `{"l":[1,2,3]}`), layer("b", `{"l":[9]}`)}, `{"l":[9]}`},
		{[]Layer{layer("a", `{"x":{"y":1}}`), layer("b", `{"x":5}`)}, `{"x":5}`},
		{[]Layer{layer("a", `{"x":5}`), layer("b", `{"x":{"y":1}}`)}, `{"x":{"y":1}}`},
		{[]Layer{layer("a", `{"x":{"y":1}}`), layer("b", `{"x":null}`)}, `{"x":null}`},
		{[]Layer{layer("a", `{"level":1}`), layer("b", `{"Level":2}`)}, `{"Level":2,"level":1}`},
		// Trees of other decoders hold Go numbers.
		{[]Layer{{Name: "yaml", Tree: map[string]any{"n": 3, "f": 0.5, "u": uint64(math.MaxUint64), "l": []int{1}}}}, `{"f":0.5,"l":[1],"n":3,"u":18446744073709551615}`},
	} {
		got, err := Merge(c.layers...)
		if err != nil || text(t, got) != c.want {
			t.Errorf("Merge(%v) = %v, %v, want %s", c.layers, got, err, c.want)
		}
	}
}

func TestMergeSharesNothing(t *testing.T) {
	a := mustParse(t, `{"x":{"y":[1]}}`)
	b := mustParse(t, `{"x":{"z":{}}}`)
	sum, err := Merge(Layer{Name: "a", Tree: a}, Layer{Name: "b", Tree: b})
	if err != nil {
		t.Fatal(err)
	}
	if err := Assign(sum, "x.y.0=2", "x.z.w=1", "x.v=1"); err != nil {
		t.Fatal(err)
	}
	if text(t, a) != `{"x":{"y":[1]}}` || text(t, b) != `{"x":{"z":{}}}` {
		t.Errorf("layers changed: %v %v", a, b)
	}
}

func TestTreeOf(t *testing.T) {
	type inner struct {
		Wait time.Duration `json:"wait"`
		Tags []string      `json:"tags"`
	}
	got, err := TreeOf(struct {
		Name  string         `json:"name"`
		Big   uint64         `json:"big"`
		HTML  string         `json:"html"`
		Inner *inner         `json:"inner"`
		Extra map[string]any `json:"extra,omitempty"`
	}{"n", math.MaxUint64, "<&>", &inner{time.Second, nil}, nil})
	want := `{"big":18446744073709551615,"html":"<&>","inner":{"tags":null,"wait":1000000000},"name":"n"}`
	if err != nil || text(t, got) != want {
		t.Errorf("TreeOf = %v, %v, want %s", got, err, want)
	}
}

func TestTreeOfErrors(t *testing.T) {
	deep := any("x")
	for range MaxDepth + 1 {
		deep = map[string]any{"a": deep}
	}
	loop := map[string]any{}
	loop["self"] = loop
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"channel":    {map[string]any{"a": map[string]any{"b": make(chan int)}}, `value for key "a.b": json: unsupported type: chan int`},
		"function":   {map[string]any{"a": []any{1, func() {}}}, `value for key "a.1": json: unsupported type: func()`},
		"NaN":        {map[string]any{"rate": math.NaN()}, `value for key "rate": json: unsupported value: NaN`},
		"Inf":        {map[string]any{"rate": math.Inf(-1)}, `value for key "rate": json: unsupported value: -Inf`},
		"no object":  {[]int{1}, "a configuration is an object, this is an array of 1"},
		"nil":        {nil, "a configuration is an object, this is null"},
		"nil map":    {map[string]any(nil), "a configuration is an object, this is null"},
		"deep":       {deep, "nested deeper than 64"},
		"loop":       {loop, "nested deeper than 64"},
		"bad number": {map[string]any{"n": jsonNumber("1x")}, `value for key "n"`},
	} {
		_, err := TreeOf(c.v)
		var value *ValueError
		if !errors.As(err, &value) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
	var layer *LayerError
	_, err := Merge(Layer{Name: "job.yaml", Tree: map[string]any{"f": math.NaN()}})
	if !errors.As(err, &layer) || err.Error() != `cfgblob: job.yaml: value for key "f": json: unsupported value: NaN` {
		t.Errorf("Merge: %v", err)
	}
}

func TestCopyTreeSharesNothing(t *testing.T) {
	a := mustParse(t, `{"m":{"x":1},"l":[{"y":[2]}]}`)
	b := copyTree(a).(map[string]any)
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("copy differs: %v", b)
	}
	if err := Assign(b, "m.x=9", "l.0.y.0=9", "l.1=9"); err != nil {
		t.Fatal(err)
	}
	if text(t, a) != `{"l":[{"y":[2]}],"m":{"x":1}}` {
		t.Errorf("the original changed: %v", a)
	}
}
