package cfgblob

import (
	"bytes"
	"encoding/json"
	"testing"
)

// What canonicalValue writes is what encoding/json writes.
func FuzzCanonical(f *testing.F) {
	for _, doc := range []string{`{"b":[1,-0,0.5,1e9,"<&>\u2028é\"\\",null,true,{}],"a":{"":[]},"\u0001":12345678901234567890}`, `{}`, `{"x":-12,"y":0}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		tree, err := Parse(doc)
		if err != nil {
			return
		}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(tree); err != nil {
			t.Fatal(err)
		}
		got, err := canonical(tree)
		if err != nil || string(got)+"\n" != want.String() {
			t.Errorf("%s, %v; encoding/json writes %s", got, err, &want)
		}
	})
}
