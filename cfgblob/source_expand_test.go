package cfgblob

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	t.Setenv("CFGBLOB_HOST", "db.example")
	t.Setenv("CFGBLOB_EMPTY", "")
	type config struct {
		Port int
		On   bool
		Zip  string
		Rate float64
	}
	src := Expand(Values("v", map[string]any{
		"Port": "${CFGBLOB_PORT:8080}", "On": "${CFGBLOB_ON:true}", "Zip": "${CFGBLOB_ZIP:01234}", "Rate": "${CFGBLOB_RATE:fast}",
		"url": "pg://${CFGBLOB_HOST}:${CFGBLOB_PORT:5432}/x", "list": []any{"${CFGBLOB_HOST}", 7, "${CFGBLOB_NONE:}"},
		"deep": map[string]any{"empty": "[${CFGBLOB_EMPTY:not this}]", "${k}": "$${CFGBLOB_HOST} $HOME $", "time": "${CFGBLOB_T:12:30}"},
	}), KeysOf[config]())
	got, err := json.Marshal(readSource(t, src).Tree)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"On":true,"Port":8080,"Rate":"fast","Zip":"01234",` +
		`"deep":{"${k}":"${CFGBLOB_HOST} $HOME $","empty":"[]","time":"12:30"},` +
		`"list":["db.example",7,""],"url":"pg://db.example:5432/x"}`
	if string(got) != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestExpandErrors(t *testing.T) {
	for text, want := range map[string]string{
		"x ${CFGBLOB_NONE} y":  `key "a.0": $CFGBLOB_NONE is not set: set it, or write ${CFGBLOB_NONE:default}`,
		"secret ${CFGBLOB":     `key "a.0": ${ without a }: close it, or write $${ for the characters`,
		"secret ${}":           `key "a.0": ${ without the name of a variable`,
		"secret ${9A}":         `key "a.0": ${ without the name of a variable`,
		"${A B:x}":             `key "a.0": ${ without the name of a variable`,
		"${CFGBLOB_NONE2} ${}": "$CFGBLOB_NONE2 is not set",
	} {
		_, err := Expand(Values("v", map[string]any{"a": []any{text}}), nil).Read(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
