package cfgblob

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type common struct {
	Name string `json:"name"`
	Note string
}

type jobConfig struct {
	common
	Level   string            `json:"level"`
	Workers int               `json:"workers"`
	Small   int8              `json:"small"`
	Port    uint16            `json:"port"`
	Rate    float64           `json:"rate"`
	Ratio   float32           `json:"ratio"`
	On      bool              `json:"on"`
	Timeout time.Duration     `json:"timeout"`
	Start   time.Time         `json:"start"`
	Addr    netip.Addr        `json:"addr"`
	Key     []byte            `json:"key"`
	Log     *logConfig        `json:"log"`
	Sinks   []logConfig       `json:"sinks"`
	Pair    [2]int            `json:"pair"`
	Labels  map[string]string `json:"labels"`
	Any     any               `json:"any"`
	Number  json.Number       `json:"number"`
	Quoted  int               `json:"quoted,string"`
	Hidden  string            `json:"-"`
	private string
}

var _ = jobConfig{}.private

type logConfig struct {
	Level string `json:"level"`
	File  string `json:"file"`
}

var errTooMany = errors.New("more than 100 workers make no sense here")

func (c *jobConfig) Validate() error {
	if c.Workers > 100 {
		return errTooMany
	}
	return nil
}

func TestStrictAccepts(t *testing.T) {
	check := Strict[jobConfig]()
	for _, doc := range []string{
		`{}`,
		`{"level":"debug","workers":4,"small":-128,"port":65535,"rate":1e-3,"ratio":1,"on":true}`,
		`{"name":"x","Note":"promoted","quoted":"5","number":123456789012345678901}`,
		`{"timeout":5000000000,"start":"2024-05-06T07:08:09Z","addr":"10.0.0.1","key":"aGk="}`,
		`{"log":null,"sinks":null,"labels":null,"any":null,"key":null}`,
		`{"log":{"level":"x"},"sinks":[{"file":"a"},{}],"pair":[1],"labels":{"Any.Key":"v"},"any":{"x":[1]}}`,
		`{"key":[1,2]}`,
	} {
		if err := check([]byte(doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestStrictRefuses(t *testing.T) {
	check := Strict[jobConfig]()
	for _, c := range []struct{ doc, want string }{
		{`{"levle":"hunter2"}`, `unknown key "levle": did you mean "level"?`},
		{`{"Level":"hunter2"}`, `unknown key "Level": did you mean "level"?`}, // encoding/json would take it
		{`{"banana":1}`, `unknown key "banana": known here: Note, addr, any, key, labels, level, log, name and`},
		{`{"Hidden":"x"}`, `unknown key "Hidden"`},
		{`{"private":"x"}`, `unknown key "private"`},
		{`{"note":"x"}`, `unknown key "note": did you mean "Note"?`},
		{`{"log":{"Levle":1}}`, `unknown key "log.Levle": did you mean "log.level"?`},
		{`{"sinks":[{},{"fil":1}]}`, `unknown key "sinks.1.fil": did you mean "sinks.1.file"?`},
		{`{"level":5}`, `key "level": expects a string, has a number`},
		{`{"workers":"hunter2"}`, `key "workers": expects an integer, has a string`},
		{`{"workers":1.5}`, `key "workers": expects an integer, has a number with a fraction or exponent`},
		{`{"workers":1e3}`, `with a fraction or exponent`},
		{`{"workers":99999999999999999999}`, `key "workers": expects an integer, has a number out of range`},
		{`{"small":128}`, `key "small": expects an integer from -128 to 127, has a number out of range`},
		{`{"port":-1}`, `key "port": expects an integer from 0 to 65535, has a number out of range`},
		{`{"rate":1e999}`, `key "rate": expects a number, has a number out of range`},
		{`{"ratio":1e39}`, `key "ratio": expects a number, has a number out of range`},
		{`{"rate":"NaN"}`, `key "rate": expects a number, has a string`},
		{`{"on":1}`, `key "on": expects true or false, has a number`},
		{`{"on":null}`, `key "on": expects true or false, has null`},
		{`{"workers":null}`, `key "workers": expects an integer, has null`},
		{`{"timeout":"hunter2"}`, "key \"timeout\": expects a duration such as \"1m30s\", or an integer of nanoseconds, has a string that is none"},
		{`{"timeout":1.5}`, `key "timeout": expects a duration such as`},
		{`{"start":"hunter2"}`, `key "start": expects a time.Time, has a string that is none`},
		{`{"addr":"hunter2"}`, `key "addr": expects a string (netip.Addr), has a string that is none`},
		{`{"addr":5}`, `key "addr": expects a string (netip.Addr), has a number`},
		{`{"key":"hunter2!"}`, `key "key": expects a string in base64, has a string that is none`},
		{`{"log":[]}`, `key "log": expects an object, has an array of 0`},
		{`{"sinks":{}}`, `key "sinks": expects an array, has an object`},
		{`{"sinks":[1]}`, `key "sinks.0": expects an object, has a number`},
		{`{"sinks":[null]}`, `key "sinks.0": expects an object, has null`},
		{`{"pair":[1,2,3]}`, `key "pair": expects an array of at most 2, has an array of 3`},
		{`{"labels":{"a.b":1}}`, `key "labels.a\\.b": expects a string, has a number`},
		{`{"labels":"x"}`, `key "labels": expects an object, has a string`},
		{`{"number":"5"}`, `key "number": expects a number, has a string`},
		{`{"quoted":5}`, `key "quoted": expects an integer inside a string, has a number`},
		{`{"quoted":"hunter2"}`, `key "quoted": expects an integer inside a string, has a string`},
		{`{"quoted":"\"5\""}`, `key "quoted": expects an integer, has a string`},
		{`{"quoted":"1.5"}`, `key "quoted": expects an integer, has a number with a fraction`},
		{`{"workers":101}`, errTooMany.Error()},
		{`{"level":"a","level":"b"}`, `line 1, column 14: key "level" appears twice`},
		{`[]`, `a configuration is an object, this is an array of 0`},
	} {
		err := check([]byte(c.doc))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.doc, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes the value: %v", c.doc, err)
		}
	}
	var fielderr *FieldError
	if err := check([]byte(`{"sinks":[{"fil":1}]}`)); !errors.As(err, &fielderr) || fielderr.Path != "sinks.0.fil" || fielderr.Near != "sinks.0.file" {
		t.Errorf("fields of the error: %+v", fielderr)
	}
	if err := check([]byte(`{"workers":101}`)); !errors.Is(err, errTooMany) {
		t.Errorf("what Validate returned is lost: %v", err)
	}
}

// A reader takes what it knows, in exactly its case, and ignores the rest.
func TestDecodeIgnoresOtherKeys(t *testing.T) {
	doc := `{"Level":"wrong","level":"right","WORKERS":7,"other":[1],"log":{"File":"wrong"},"sinks":[{"file":"a","FILE":"b"}],"any":12345678901234567890}`
	got, err := decode[jobConfig](Snapshot{Doc: []byte(doc)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Level != "right" || got.Workers != 0 || got.Log == nil || got.Log.File != "" || got.Sinks[0].File != "a" {
		t.Errorf("got %+v", got)
	}
	if got.Any != any(json.Number("12345678901234567890")) {
		t.Errorf("digits lost: %v", got.Any)
	}
	if _, err := decode[jobConfig](Snapshot{Doc: []byte(`{"workers":null}`)}); err != nil {
		t.Errorf("null for a value: %v", err)
	}
	// Shown by a planted bug: encoding/json alone takes both.
	var loose jobConfig
	if err := json.Unmarshal([]byte(doc), &loose); err != nil || loose.Workers != 7 || loose.Log.File != "wrong" {
		t.Errorf("encoding/json has become case-sensitive: the checker may go: %+v, %v", loose, err)
	}
}

// fieldsOf agrees with encoding/json about which keys a struct has.
func TestFieldsOf(t *testing.T) {
	type Deep struct{ A, B, Tagged string }
	type Left struct {
		Deep
		Both string
		T    string `json:"Tagged"`
	}
	type Right struct {
		Both string
		B    string
	}
	type rec struct {
		*Deep
		Self *rec
		C    int
	}
	type Named struct{ X int }
	type odd struct {
		Named `json:"named"`
		Left
		*Right
		Good string `json:"a/b c.d"`
		fmt.Stringer
		error
	}
	strange := reflect.New(reflect.StructOf([]reflect.StructField{ // tags that linters refuse
		{Name: "Dash", Type: reflect.TypeFor[int](), Tag: `json:"-,"`},
		{Name: "Bad", Type: reflect.TypeFor[int](), Tag: `json:"a\"b"`},
		{Name: "Worse", Type: reflect.TypeFor[int](), Tag: `json:"a\\b,string"`},
		{Name: "Empty", Type: reflect.TypeFor[int](), Tag: `json:","`},
		{Name: "Other", Type: reflect.TypeFor[int](), Tag: `yaml:"x"`},
	})).Elem().Interface()
	for _, v := range []any{jobConfig{Log: &logConfig{}}, Left{}, odd{Right: &Right{}}, rec{Deep: &Deep{}}, strange, struct{}{}} {
		var want []string
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		for k := range m {
			want = append(want, k)
		}
		slices.Sort(want)
		got := names(fieldsOf(reflect.TypeOf(v)))
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%T:\n got %q\nwant %q", v, got, want)
		}
	}
}

func TestSchemaOf(t *testing.T) {
	type a struct {
		X int    `json:"x"`
		Y string `json:"y"`
	}
	type sameInOtherOrder struct {
		Second string `json:"y"`
		First  *int   `json:"x"`
	}
	type otherKind struct {
		X int64  `json:"x"`
		Y string `json:"y"`
	}
	type otherKey struct {
		X int    `json:"X"`
		Y string `json:"y"`
	}
	type list struct {
		Next *list  `json:"next"`
		More []list `json:"more"`
	}
	if SchemaOf[a]() != SchemaOf[sameInOtherOrder]() {
		t.Error("the order of fields counts")
	}
	seen := map[uint64]string{}
	for name, h := range map[string]uint64{
		"a": SchemaOf[a](), "kind": SchemaOf[otherKind](), "key": SchemaOf[otherKey](), "list": SchemaOf[list](),
		"map": SchemaOf[map[string]a](), "slice": SchemaOf[[]a](), "array": SchemaOf[[3]a](), "array 4": SchemaOf[[4]a](),
		"any": SchemaOf[any](), "time": SchemaOf[time.Time](), "job": SchemaOf[jobConfig](),
	} {
		if other, dup := seen[h]; dup || h == 0 {
			t.Errorf("%s and %s have the schema hash %#x", name, other, h)
		}
		seen[h] = name
	}
}
