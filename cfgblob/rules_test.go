package cfgblob

import (
	"strings"
	"testing"
	"time"
)

type ruled struct {
	Need  string         `json:"need" check:"required"`
	N     int            `json:"n" check:"min=1,max=64"`
	F     *float64       `json:"f" check:"min=-0.5,max=1e3"`
	U     uint64         `json:"u" check:"max=18446744073709551614"`
	Wait  time.Duration  `json:"wait" check:"min=10ms,max=1m"`
	Mode  string         `json:"mode" check:"oneof=fast safe"`
	Code  string         `json:"code" check:"len=3,pattern=^[a-z,]+$"`
	List  []int          `json:"list" check:"min=1,max=2"`
	Every string         `json:"every" check:"duration"`
	Map   map[string]int `json:"map" check:"len=1"`
	Deep  struct {
		X int `json:"x" check:"oneof=1 2"`
	} `json:"deep"`
}

func TestRules(t *testing.T) {
	check := Strict[ruled]()
	for doc, want := range map[string]string{
		``: "", // only what is required
		`,"n":1,"f":-0.5,"u":18446744073709551614,"wait":"10ms","mode":"safe","code":"a,b","list":[0],"every":"1h","map":{"a":1},"deep":{"x":2}`: "",
		`,"n":64,"f":null,"wait":60000000000,"list":[1,2]`: "",
		`,"n":0`:                    `key "n": expects at least 1, has less`,
		`,"n":65`:                   `key "n": expects at most 64, has more`,
		`,"f":-0.51`:                `key "f": expects at least -0.5, has less`,
		`,"f":1001`:                 `key "f": expects at most 1e3, has more`,
		`,"u":18446744073709551615`: `key "u": expects at most 18446744073709551614, has more`,
		`,"wait":"9ms"`:             `key "wait": expects at least 10ms, has less`,
		`,"wait":60000000001`:       `key "wait": expects at most 1m, has more`,
		`,"mode":"Fast"`:            `key "mode": expects one of fast safe, has a string that is none of them`,
		`,"code":"ab"`:              `key "code": expects exactly 3 characters, has 2`,
		`,"code":"aB1"`:             `key "code": expects a string that matches ^[a-z,]+$, has a string that does not`,
		`,"list":[]`:                `key "list": expects at least 1 elements, has less`,
		`,"list":[1,2,3]`:           `key "list": expects at most 2 elements, has more`,
		`,"every":"5"`:              `key "every": expects a duration such as "1m30s", has a string that is none`,
		`,"map":{}`:                 `key "map": expects exactly 1 elements, has 0`,
		`,"deep":{"x":3}`:           `key "deep.x": expects one of 1 2, has a number that is none of them`,
	} {
		err := check([]byte(`{"need":"x"` + doc + `}`))
		if got := errText(err); got != want && got != "cfgblob: "+want {
			t.Errorf("%s:\n got %s\nwant %s", doc, got, want)
		}
	}
	if got := errText(check([]byte(`{}`))); got != `cfgblob: key "need" is required and missing: expects a string` {
		t.Error(got)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A mistake in a tag is told at once, not when somebody breaks the rule.
func TestMistakenRules(t *testing.T) {
	for _, c := range []struct {
		check func([]byte) error
		want  string
	}{
		{Strict[struct {
			A int `check:"mni=1"`
		}](), `no rule "mni": use required`},
		{Strict[struct {
			A string `check:"pattern=("`
		}](), `rule pattern: error parsing regexp`},
		{Strict[struct {
			A string `check:"len=x"`
		}](), `rule len: strconv`},
		{Strict[struct {
			A string `check:"max"`
		}](), `rule max: what it compares with`},
	} {
		if err := c.check([]byte(`{}`)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	wrong := Strict[struct {
		A bool `check:"max=1"`
	}]()
	if err := wrong([]byte(`{"A":true}`)); err == nil || !strings.Contains(err.Error(), `key "A": rule max=1: a boolean is neither more nor less`) {
		t.Error(err)
	}
}
