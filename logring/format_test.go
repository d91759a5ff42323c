package logring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Nothing in a message, key or value reaches a line as it is if it could end the
// line, move the cursor, reorder text or pass for another field.
func TestLogInjection(t *testing.T) {
	for name, evil := range map[string]string{
		"newline":        "a\n{\"level\":\"ERROR\",\"msg\":\"forged\"}",
		"CR LF":          "a\r\nb",
		"vertical tab":   "a\v\fb",
		"NUL":            "a\x00b",
		"ESC":            "\x1b[2J\x1b]0;title\x07",
		"backspace":      "secret\b\b\b",
		"DEL":            "a\x7fb",
		"C1 CSI":         "a\u009b31mb",
		"NEL":            "a\u0085b",
		"bidi override":  "user\u202etxt.exe",
		"bidi embedding": "\u202a\u202b\u202c\u202d",
		"bidi isolate":   "\u2066\u2067\u2068\u2069",
		"line separator": "a\u2028b\u2029c",
		"invalid UTF-8":  "a\xff\xfe\xc3(b\xed\xa0\x80",
		"raw C1 byte":    "a\x9b31m",
		"quotes":         `","worker":7,"x":"`,
		"logfmt":         "a worker=7 b=c",
		"equals":         `k="v" x=1`,
		"backslash":      `\`,
		"BOM":            "\ufeffa",
		"SQL":            `'); DROP TABLE logs; --`,
		"JSON escape":    `\u202e\n`,
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, 0, func(l *slog.Logger) {
				l.WithGroup(evil).Info(evil, evil, evil, "any", map[string]string{evil: evil}, "err", errors.New(evil))
			})
			r.Group, r.Stream = evil, evil // even these
			for _, f := range []format{&jsonFormat{}, &textFormat{}, &consoleFormat{}} {
				line := f.append(nil, &r)
				if bad := unsafeIn(bytes.TrimSuffix(line, []byte("\n"))); bad != "" {
					t.Errorf("%T: %s: %q", f, bad, line)
				}
			}
			var m struct {
				Msg    string `json:"msg"`
				Worker int    `json:"worker"`
			}
			if err := json.Unmarshal([]byte(jsonLine(r)), &m); err != nil {
				t.Fatal(err)
			}
			if want := strings.ToValidUTF8(evil, "\ufffd"); m.Worker != 3 || name != "invalid UTF-8" && m.Msg != want {
				t.Errorf("JSON says worker %d, msg %q; want 3, %q", m.Worker, m.Msg, want)
			}
			text := string((&textFormat{}).append(nil, &r))
			if n := strings.Count(text, " worker="); n != 1 && !strings.Contains(text, `"`) {
				t.Errorf("worker= stands %d times in %q", n, text)
			}
		})
	}
}

// Attributes cannot take the keys that say where a record comes from.
func TestReservedKeys(t *testing.T) {
	keys := []string{"time", "level", "msg", "source", "group", "worker", "pid", "stream", "continued", "truncated"}
	r := record(t, 0, func(l *slog.Logger) {
		var args []any
		for _, k := range keys {
			args = append(args, k, "forged")
		}
		l.With("worker", "early").Info("m", append(args, slog.Group("g", "worker", "mine"))...)
	})
	line := jsonLine(r)
	m := objects(t, line)[0]
	for _, k := range keys {
		if m["attr."+k] != "forged" {
			t.Errorf("attr.%s is %v", k, m["attr."+k])
		}
		if m[k] == "forged" {
			t.Errorf("%s is forged: %s", k, line)
		}
	}
	if m["worker"] != 3.0 || m["group"] != "g" {
		// The group attribute g has another name than the key "group".
		t.Errorf("worker %v group %v", m["worker"], m["group"])
	}
	if g, _ := m["g"].(map[string]any); g["worker"] != "mine" {
		t.Errorf("a key inside a group is changed: %v", m["g"])
	}
	text := string((&textFormat{}).append(nil, &r))
	if strings.Count(text, " worker=") != 1 || !strings.Contains(text, " attr.worker=forged") || !strings.Contains(text, " g.worker=mine") {
		t.Errorf("text: %s", text)
	}
}

type (
	stringer chan int
	badJSON  struct{}
	panicky  struct{ p *int }
	point    struct {
		X, Y int
		s    string
	}
	loop     struct{ Next *loop }
	selfie   struct{}
	marshErr struct{}
)

func (stringer) String() string               { return "as string" }
func (badJSON) MarshalJSON() ([]byte, error)  { return nil, errors.New("no") }
func (p *panicky) Error() string              { return fmt.Sprint(*p.p) }
func (selfie) LogValue() slog.Value           { return slog.AnyValue(selfie{}) }
func (marshErr) Error() string                { return "error text" }
func (marshErr) MarshalJSON() ([]byte, error) { return []byte(`{"code": 5}`), nil }

type boom struct{}

func (boom) LogValue() slog.Value         { panic("in LogValue") }
func (boom) MarshalText() ([]byte, error) { panic("in MarshalText") }

type boomText struct{}

func (boomText) MarshalText() ([]byte, error) { panic("in MarshalText") }

// Values come out as slog's own JSONHandler writes them.
func TestSameAsSlog(t *testing.T) {
	cyclic := &loop{}
	cyclic.Next = cyclic
	for name, args := range map[string][]any{
		"scalars":     {"s", "x", "i", -5, "u", uint64(math.MaxUint64), "f", 1.5, "b", true, "d", 3 * time.Second},
		"floats":      {"a", 0.1, "b", 1e21, "c", 1e-7, "e", math.Copysign(0, -1), "f", 123456789.0, "g", math.MaxFloat64, "h", math.SmallestNonzeroFloat64, "i", 1e20, "j", float32(0.1)},
		"time":        {"t", time.Date(2024, 2, 29, 12, 0, 0, 120, time.FixedZone("X", -5*3600)), "z", time.Unix(0, 0).UTC(), "zero", time.Time{}},
		"nil":         {"n", nil, "p", (*int)(nil), "e", error(nil)},
		"errors":      {"e", errors.New("bad \"thing\""), "m", marshErr{}},
		"structs":     {"p", point{1, 2, "hidden"}, "pp", &point{3, 4, ""}, "m", map[string]int{"b": 1, "a": 2}, "s", []any{1, "x", nil}, "ip", net.IPv4(1, 2, 3, 4)},
		"html":        {"h", []string{"<&>"}},
		"level":       {"l", slog.LevelWarn},
		"bytes":       {"b", []byte("raw")},
		"unsupported": {"c", make(chan int), "f", func() {}, "x", complex(1, 2), "cycle", cyclic},
		"failing":     {"j", badJSON{}},
		"nil method":  {"p", (*panicky)(nil)},
		"panicking":   {"t", boomText{}},
		"empty attr":  {"", nil, "a", 1, slog.Group("none"), slog.Group("", "inline", 1), slog.Group("g", slog.Group("h"))},
		"odd":         {"lonely"},
		"escapes":     {"k\n", "v\t\"\\\u2028"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).Info("m", args...)
			r := record(t, 0, func(l *slog.Logger) { l.Info("m", args...) })
			want, got := objects(t, b.String())[0], objects(t, jsonLine(r))[0]
			for _, k := range []string{"time", "group", "worker", "pid"} {
				delete(want, k)
				delete(got, k)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\n got %v\nwant %v", got, want)
			}
		})
	}
}

// Where slog's handler has only an error to show.
func TestBetterThanSlog(t *testing.T) {
	m := objects(t, jsonLine(record(t, 0, func(l *slog.Logger) {
		l.Info("m", "nan", math.NaN(), "inf", math.Inf(-1), "str", stringer(nil), "boom", boom{}, "self", selfie{})
	})))[0]
	for k, want := range map[string]string{"nan": "NaN", "inf": "-Inf", "str": "as string"} {
		if m[k] != want {
			t.Errorf("%s is %v, want %s", k, m[k], want)
		}
	}
	for k, want := range map[string]string{"boom": "LogValue panicked", "self": "LogValue"} {
		if s, _ := m[k].(string); !strings.Contains(s, want) {
			t.Errorf("%s is %v, should tell of %s", k, m[k], want)
		}
	}
}

func TestFloatsAsEncodingJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		f := math.Float64frombits(rnd.Uint64())
		if rnd.IntN(2) == 0 {
			f = math.Round(f)
		}
		want, err := json.Marshal(f)
		if err != nil {
			continue // NaN and Inf
		}
		if got := appendFloat(nil, f, true); string(got) != string(want) {
			t.Fatalf("%g is written %s, encoding/json writes %s", f, got, want)
		}
	}
}

func TestTimesAsSlog(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var c timeCache
	for range 5000 {
		at := time.Unix(rnd.Int64N(1<<32), rnd.Int64N(1e9))
		switch rnd.IntN(4) {
		case 0:
			at = at.Truncate(time.Millisecond)
		case 1:
			at = at.Truncate(time.Second).UTC()
		}
		if got, want := string(c.append(nil, at)), at.Format(time.RFC3339Nano); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestSource(t *testing.T) {
	p := &pipe{}
	l := slog.New(newHandler(p, &HandlerOptions{AddSource: true}))
	for range 2 { // looked up, then remembered
		l.Info("here")
	}
	for i := range 2 {
		r := p.record(t, i)
		src, ok := r.Source()
		if !ok || !strings.HasSuffix(src.File, "/format_test.go") || src.Line == 0 || !strings.HasSuffix(src.Function, ".TestSource") {
			t.Fatalf("source %+v, %v", src, ok)
		}
		m := objects(t, jsonLine(r))[0]["source"].(map[string]any)
		if m["file"] != src.File || m["line"] != float64(src.Line) || m["function"] != src.Function {
			t.Errorf("JSON source %v", m)
		}
		if text := string((&textFormat{}).append(nil, &r)); !strings.Contains(text, fmt.Sprintf("format_test.go:%d", src.Line)) {
			t.Errorf("text: %s", text)
		}
	}
}

func TestTextForms(t *testing.T) {
	r := record(t, 0, func(l *slog.Logger) {
		l.WithGroup("a").Warn("two words", "n", 1, slog.Group("b", "d", time.Second, "s", "x y", "e", ""), "j", []int{1, 2})
	})
	r.Time = time.Date(2024, 1, 2, 3, 4, 5, 678900000, time.UTC)
	for _, x := range []struct {
		f    format
		want string
	}{
		{&textFormat{}, `time=2024-01-02T03:04:05.6789Z level=WARN msg="two words" group=g worker=3 pid=7 a.n=1 a.b.d=1s a.b.s="x y" a.b.e="" a.j=[1,2]`},
		{&consoleFormat{}, `03:04:05.678 WARN  g/3 two words a.n=1 a.b.d=1s a.b.s="x y" a.b.e="" a.j=[1,2]`},
	} {
		if got := string(x.f.append(nil, &r)); got != x.want+"\n" {
			t.Errorf("%T\n got %s want %s", x.f, got, x.want)
		}
	}
	r.Stream, r.attrs, r.Worker = "stderr", nil, NodeWorker
	if got, want := string((&consoleFormat{}).append(nil, &r)), "03:04:05.678 WARN  g stderr| two words\n"; got != want {
		t.Errorf("console: got %q want %q", got, want)
	}
}

// A sink that is a slog.Handler gets the same records: slog's suite once more,
// with slog's own JSONHandler behind the collector.
func TestFromHandlerRebuilds(t *testing.T) {
	var b bytes.Buffer
	s := FromHandler(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := record(t, 0, func(l *slog.Logger) {
		l.With("a", 1).WithGroup("g").LogAttrs(context.Background(), slog.LevelWarn, "m", slog.Duration("d", time.Second),
			slog.Any("j", map[string]int{"x": 1}), slog.Time("t", time.Unix(1, 0).UTC()))
	})
	if err := s.Write([]Record{r}); err != nil {
		t.Fatal(err)
	}
	want, got := objects(t, jsonLine(r))[0], objects(t, b.String())[0]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}
