package cfgblob

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func nested(depth int) string {
	return `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
}

func TestParse(t *testing.T) {
	for _, doc := range []string{
		`{}`,
		" \t\r\n{ \"a\" : [ 1 , {} , [] , null , true , false , \"x\" ] } \n",
		`{"Level":1,"level":2}`,
		`{"":1}`,
		`{"n":[0,-0,-1,1.5,1e9,1E+9,1e-9,123456789012345678901234567890.123]}`,
		`{"s":"\"\\\/\b\f\n\r\té😀\uFFFD ` + "\ufffd\u2028\x7f" + `"}`,
		nested(MaxDepth),
	} {
		got, err := Parse([]byte(doc))
		if err != nil {
			t.Errorf("Parse(%s): %v", doc, err)
			continue
		}
		if want := viaEncodingJSON(t, doc); !reflect.DeepEqual(any(got), want) {
			t.Errorf("Parse(%s) = %v, encoding/json: %v", doc, got, want)
		}
	}
}

func viaEncodingJSON(t testing.TB, doc string) (v any) {
	d := json.NewDecoder(strings.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json refuses %s: %v", doc, err)
	}
	return v
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ doc, want string }{
		{``, `line 1, column 1: the document ends where a value should be`},
		{`[1]`, `line 1, column 1: a configuration is an object, this is an array of 1`},
		{`null`, `line 1, column 1: a configuration is an object, this is null`},
		{`{"a":1`, `line 1, column 7: the document ends where "," or "}" should be`},
		{"{\n  \"a\": 1\n  \"b\": 2\n}", `line 3, column 3: '"' where "," or "}" should be`},
		{`{"a":1,}`, `line 1, column 8: '}' where a key in quotes should be`},
		{`{"a" 1}`, `line 1, column 6: '1' where ":" after a key should be`},
		{`{a:1}`, `line 1, column 2: 'a' where a key in quotes should be`},
		{`{"a":[1,]}`, `line 1, column 9, at key "a.1": ']' where a value should be`},
		{`{"a":[1}`, `line 1, column 8, at key "a": '}' where "," or "]" should be`},
		{`{"a":NaN}`, `line 1, column 6, at key "a": 'N' where a value should be`},
		{`{"a":-Infinity}`, `line 1, column 7, at key "a": 'I' where a digit should be`},
		{`{"a":01}`, `line 1, column 7: '1' where "," or "}" should be`},
		{`{"a":+1}`, `line 1, column 6, at key "a": '+' where a value should be`},
		{`{"a":1.}`, `line 1, column 8, at key "a": '}' where a digit should be`},
		{`{"a":1e}`, `line 1, column 8, at key "a": '}' where a digit should be`},
		{`{"a":truely}`, `line 1, column 10: 'l' where "," or "}" should be`},
		{`{"a":'x'}`, `line 1, column 6, at key "a": '\'' where a value should be`},
		{`{"a":"x`, `line 1, column 8, at key "a": the document ends where the end of a string should be`},
		{`{"a":"x\`, `line 1, column 9, at key "a": the document ends where the end of a string should be`},
		{`{"a":"\q"}`, `line 1, column 6, at key "a": bad escape in a string`},
		{`{"a":"\ud800"}`, `line 1, column 6, at key "a": half a surrogate pair in a string`},
		{"{\"a\":\"x\ny\"}", `line 1, column 8, at key "a": control character '\n' in a string: write it as an escape`},
		{"{\"a\":\"\xff\"}", `line 1, column 7: not valid UTF-8`},
		{"\xef\xbb\xbf{}", `line 1, column 1: starts with a byte order mark: save it without one`},
		{`{} {}`, `line 1, column 4: something follows the end of the document`},
		{`{"a":1,"b":{"x":1,"x":2}}`, `line 1, column 19, at key "b": key "x" appears twice`},
		{`{"a":1,"\u0061":2}`, `line 1, column 8: key "a" appears twice`},
		{nested(MaxDepth + 1), `nested deeper than 64`},
		{strings.Repeat("[", 1<<20), `nested deeper than 64`},
		{strings.Repeat(`{"a":`, 1<<18), `nested deeper than 64`},
	} {
		_, err := Parse([]byte(c.doc))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%.40q):\n got %v\nwant %s", c.doc, err, c.want)
		}
	}
}

// Parse agrees with encoding/json about what is JSON and what it means, except
// where it is documented to be stricter.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"a":2}`, `{"a":["é\n",1e5,null]}`, `{"a":"\ud83d\ude00\ud800"}`, nested(65), "{\"\xff\":0}", `{"a":-}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := Parse(doc)
		if err == nil {
			if want := viaEncodingJSON(t, string(doc)); !reflect.DeepEqual(any(got), want) {
				t.Fatalf("Parse(%q) = %v, encoding/json: %v", doc, got, want)
			}
			text, err := canonical(got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(text)
			if err != nil || !reflect.DeepEqual(got, again) {
				t.Fatalf("canonical form of %q does not mean the same: %q, %v", doc, text, err)
			}
			return
		}
		if !json.Valid(doc) || !utf8.Valid(doc) || bytes.TrimLeft(doc, " \t\r\n")[0] != '{' {
			return
		}
		for _, stricter := range []string{"appears twice", "nested deeper", "surrogate", "byte order mark"} {
			if strings.Contains(err.Error(), stricter) {
				return
			}
		}
		t.Fatalf("Parse(%q): %v, but it is JSON", doc, err)
	})
}
