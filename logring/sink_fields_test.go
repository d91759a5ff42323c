package logring

import (
	"log/slog"
	"strings"
	"testing"
)

// Each sink gets the attributes that it asked for, under the names that it asked
// for, whatever the others get.
func TestFields(t *testing.T) {
	log := func(l *slog.Logger) {
		l.Info("m", "a", 1, "b", "x", slog.Group("http", "status", 200, "path", "/", slog.Group("tls", "v", 3)), "secret", "s")
	}
	const whole = `"a":1,"b":"x","http":{"status":200,"path":"/","tls":{"v":3}},"secret":"s"`
	for _, c := range []struct {
		name string
		f    Fields
		want string
	}{
		{"nothing said", Fields{}, whole},
		{"nothing kept", Fields{Keep: []string{}}, ""},
		{"kept", Fields{Keep: []string{"a", "none"}}, `"a":1`},
		{"a whole group", Fields{Keep: []string{"http"}}, `"http":{"status":200,"path":"/","tls":{"v":3}}`},
		{"members", Fields{Keep: []string{"http.status", "http.tls.v"}}, `"http":{"status":200,"tls":{"v":3}}`},
		{"a group left empty", Fields{Keep: []string{"http.none", "b"}}, `"b":"x"`},
		{"dropped", Fields{Drop: []string{"secret", "http.tls", "b"}}, `"a":1,"http":{"status":200,"path":"/"}`},
		{"a dropped group", Fields{Drop: []string{"http"}}, `"a":1,"b":"x","secret":"s"`},
		{"dropped wins", Fields{Keep: []string{"http"}, Drop: []string{"http.tls", "http.path"}}, `"http":{"status":200}`},
		{"dropped wins over a member", Fields{Keep: []string{"a", "http.status"}, Drop: []string{"http"}}, `"a":1`},
		{"renamed", Fields{Keep: []string{"a", "http"}, Rename: map[string]string{"a": "alpha", "http": "h", "http.tls": "t", "http.tls.v": "version"}},
			`"alpha":1,"h":{"status":200,"path":"/","t":{"version":3}}`},
		{"renamed to a key that is taken", Fields{Keep: []string{"a"}, Rename: map[string]string{"a": "msg"}}, `"attr.msg":1`},
		{"added", Fields{Keep: []string{"a"}, Add: []slog.Attr{slog.String("site", "x"), slog.Group("g", "n", 1)}}, `"site":"x","g":{"n":1},"a":1`},
	} {
		r := record(t, 0, log)
		p, err := c.f.plan()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the plan keeps nothing of a record
			attrs := p.append(nil, r.attrs)
			if err := checkAttrs(attrs, 0); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if got := string(appendJSONAttrs(nil, attrs, true)); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	}
}

func TestFieldsOfOneSink(t *testing.T) {
	all, some := &keeper{}, &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{all,
		With(some, SinkOptions{
			Filter: func(r *Record) bool { return r.NumAttrs() == 2 }, // before Fields
			Fields: &Fields{Keep: []string{"n"}, Add: []slog.Attr{slog.Int("x", 7)}}})}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	const n = 5000
	for i := range n {
		l.Info("m", "n", i, "big", strings.Repeat("x", i%100))
	}
	flushAll(t, c)
	a, s := all.all(), some.all()
	if len(a) != n || len(s) != n {
		t.Fatalf("%d and %d records", len(a), len(s))
	}
	for i := range n {
		if a[i].NumAttrs() != 2 || s[i].NumAttrs() != 2 {
			t.Fatalf("record %d: %s and %s", i, jsonLine(a[i]), jsonLine(s[i]))
		}
		line := objects(t, jsonLine(s[i]))[0]
		if line["n"] != float64(i) || line["x"] != 7.0 || line["big"] != nil {
			t.Fatalf("record %d: %v", i, line)
		}
	}
}

func TestFieldErrors(t *testing.T) {
	for want, f := range map[string]Fields{
		"empty name":    {Keep: []string{""}},
		`Rename["a"]`:   {Rename: map[string]string{"a": ""}},
		`1 to 1024`:     {Rename: map[string]string{"a": strings.Repeat("x", 2000)}},
		"Fields: an em": {Drop: []string{""}},
	} {
		c, err := NewCollector(CollectorOptions{Sinks: []Sink{With(discardSink{}, SinkOptions{Name: "file", Fields: &f})}})
		if err == nil {
			c.Close(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "logring: sink file: ") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
