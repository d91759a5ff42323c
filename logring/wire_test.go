package logring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The wire form is a public format: these bytes change only with formatVersion.
func TestWireBytes(t *testing.T) {
	p := &pipe{}
	r := slog.NewRecord(time.Unix(1, 2), slog.LevelWarn, "hi", 0)
	r.AddAttrs(slog.String("s", "x"), slog.Int("i", -1), slog.Uint64("u", 3), slog.Float64("f", 1), slog.Bool("b", true),
		slog.Duration("d", 5), slog.Time("t", time.Unix(6, 7).In(time.FixedZone("", 3600))),
		slog.Group("g", slog.Any("n", nil)))
	if err := newHandler(p, nil).Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"02ca9a3b00000000", "04000000", "0000", "0000", "00000000", "02000000", // header
		"01 0100 73 01000000 78",
		"02 0100 69 ffffffffffffffff",
		"03 0100 75 0300000000000000",
		"04 0100 66 000000000000f03f",
		"05 0100 62 01",
		"06 0100 64 0500000000000000",
		"07 0100 74 0600000000000000 07000000 100e0000",
		"08 0100 67",
		"09 0100 6e 04000000 6e756c6c", // null
		"00",
		"6869", // the message
	}, "")
	key := int64(le.Uint64(p.got[0]))
	if now := monotonic(); key > now || key < now-int64(time.Minute) {
		t.Errorf("merge key %d at %d", key, now)
	}
	if got := hex.EncodeToString(p.got[0][8:]); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("wire form\n got %s\nwant %s", got, strings.ReplaceAll(want, " ", ""))
	}
}

// Whatever is logged comes back the same, as long as it fits.
func FuzzRoundTrip(f *testing.F) {
	f.Add("msg", "key", "value", int64(-3), uint64(7), 0.5, true, int64(1e9), int32(3600))
	f.Add("", "", "", int64(math.MinInt64), uint64(math.MaxUint64), math.Inf(1), false, int64(-1), int32(-7200))
	f.Add("a\nb\x00\x1b[31m", "time", "\xff\u202e", int64(0), uint64(0), math.NaN(), true, int64(0), int32(0))
	f.Fuzz(func(t *testing.T, msg, key, s string, i int64, u uint64, fl float64, b bool, ns int64, zone int32) {
		if len(msg)+3*len(key)+len(s) > 16<<10 || len(key) > maxKey {
			return
		}
		at := time.Unix(0, ns).In(time.FixedZone("", int(zone)%maxZone))
		in := []slog.Attr{
			slog.String(key, s), slog.Int64(key, i), slog.Uint64(key, u), slog.Float64(key, fl), slog.Bool(key, b),
			slog.Duration(key, time.Duration(i)), slog.Time(key, at),
			slog.Group("g"+key, slog.String(key, s), slog.Group("h", slog.Int64("", i))),
		}
		r := record(t, 0, func(l *slog.Logger) { l.LogAttrs(t.Context(), slog.Level(int32(i)), msg, in...) })
		if r.Message != msg || r.Level != slog.Level(int32(i)) || r.Truncated != 0 || r.NumAttrs() != len(in) {
			t.Fatalf("message %q level %v truncated %d attrs %d", r.Message, r.Level, r.Truncated, r.NumAttrs())
		}
		n := 0
		r.Attrs(func(a slog.Attr) bool {
			if w := in[n]; n == 3 { // NaN is not equal to itself
				if math.Float64bits(a.Value.Float64()) != math.Float64bits(fl) {
					t.Errorf("float %v came back as %v", fl, a.Value)
				}
			} else if !a.Equal(w) {
				t.Errorf("attribute %v came back as %v", w, a)
			}
			n++
			return true
		})
		if n != len(in) {
			t.Errorf("%d attributes came back, want %d", n, len(in))
		}
		checkLines(t, r)
	})
}

// A hostile worker's bytes are refused or harmless: no panic, and every output
// keeps one record on one line.
//
// Shown to fail, on the seeds alone, by leaving out one after the other each check
// that a length or the nesting depends on.
func FuzzParse(f *testing.F) {
	seeds := 0
	add := func(b []byte) {
		f.Add(b)
		seeds++
	}
	p := &pipe{source: true}
	l := slog.New(newHandler(p, &HandlerOptions{AddSource: true}))
	l.Info("plain")
	l.With("a", 1).WithGroup("g").Warn("x", "k", []string{"json"}, "t", time.Now(), slog.Group("h", "z", 1.5))
	for _, b := range p.got {
		add(b)
		for i := 0; i < len(b); i++ { // every byte made wrong
			c := bytes.Clone(b)
			c[i] ^= 0xff
			add(c)
		}
		for i := range b {
			add(b[:i])
		}
	}
	add(nil)
	add(head(0, math.MaxUint32))
	add(head(0, 1<<31))
	add(head(flagSource, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff))
	add(head(0, 0, kindString, 0, 0, 0xff, 0xff, 0xff, 0xff))
	add(head(0, 0, kindString, 0xff, 0xff))
	add(head(0, 0, kindEnd))
	add(head(0, 0, kindEnd, kindGroup, 0, 0))
	add(head(0, 0, bytes.Repeat([]byte{kindGroup, 0, 0}, maxDepth+1)...))
	add(head(0, 0, bytes.Repeat([]byte{kindGroup, 0, 0}, maxDepth)...))
	add(head(0, 0, append(bytes.Repeat([]byte{kindGroup, 0, 0}, 12000), make([]byte, 12000)...)...)) // begun and ended
	add(head(0, 0, kindJSON, 0, 0, 2, 0, 0, 0, '"', '\n'))
	add(head(0, 0, kindJSON, 0, 0, 4, 0, 0, 0, '}', ',', '"', 'x'))
	add(head(0, 0, kindBool, 0, 0, 2))
	if seeds < 100 {
		f.Fatalf("only %d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parse(tagRecord, b); err != nil {
			var w *wireError
			if !errors.As(err, &w) {
				t.Fatalf("error %v is no wireError", err)
			}
			return
		}
		batch := newBatch(1)
		batch.put(b, &tally{who: who{"g", 1}}, 2, "stderr")
		checkLines(t, batch.recs[0])
		if h := slog.NewJSONHandler(io.Discard, nil); FromHandler(h).Write(batch.recs) != nil {
			t.Error("could not be rebuilt")
		}
	})
}

// head is a record with these flags, this length of the message, and these bytes
// behind the header.
func head(flags uint16, msg uint32, rest ...byte) []byte {
	b := make([]byte, headerSize)
	le.PutUint16(b[offFlags:], flags)
	le.PutUint32(b[offMsgLen:], msg)
	return append(b, rest...)
}

// Each rule of the format has a record that breaks only it. Shown to fail by leaving
// out each check, one after the other.
func TestParseRefuses(t *testing.T) {
	at := func(sec, ns, zone uint32) []byte {
		b := le.AppendUint64([]byte{kindTime, 0, 0}, uint64(sec))
		return le.AppendUint32(le.AppendUint32(b, ns), zone)
	}
	second := head(0, 0)
	second[offZero] = 1
	for want, x := range map[string]struct {
		tag uint32
		b   []byte
	}{
		"unknown kind of record":     {tagEvent, head(0, 0)},
		"a header has 32":            {tagRecord, head(0, 0)[:headerSize-1]},
		"unknown flags":              {tagRecord, head(flagsKnown+1, 0)},
		"byte 20: unknown":           {tagRecord, second},
		"message longer":             {tagRecord, head(0, 3, 1, 2)},
		"source position longer":     {tagRecord, head(flagSource, 0, 1, 0, 0, 0, 1, 0, 0, 0)},
		"source position":            {tagRecord, head(flagSource, 0, 1, 0, 0)},
		"byte 32: source position":   {tagRecord, head(flagSource, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0)},
		"end of a group":             {tagRecord, head(0, 0, kindEnd)},
		"unknown kind of value":      {tagRecord, head(0, 0, kindMax+1, 0, 0)},
		"attribute cut short":        {tagRecord, head(0, 0, kindGroup, 0)},
		"attribute longer":           {tagRecord, head(0, 0, kindInt64, 1, 0, 'k', 1, 2, 3, 4, 5, 6, 7)},
		"byte 35: value longer":      {tagRecord, head(0, 0, kindString, 0, 0, 1, 0, 0, 0)},
		"value is not JSON":          {tagRecord, head(0, 0, kindJSON, 0, 0, 1, 0, 0, 0, '{')},
		"bool is neither":            {tagRecord, head(0, 0, kindBool, 0, 0, 2)},
		"time out of range":          {tagRecord, head(0, 0, at(0, 1e9, 0)...)},
		"byte 35: time out":          {tagRecord, head(0, 0, at(0, 0, maxZone+1)...)},
		"time out of":                {tagRecord, head(0, 0, at(0, 0, 1<<31)...)},
		"more than 32 groups":        {tagRecord, head(0, 0, append(bytes.Repeat([]byte{kindGroup, 0, 0}, maxDepth+1), make([]byte, maxDepth+1)...)...)},
		"byte 35: group without end": {tagRecord, head(0, 0, kindGroup, 0, 0)},
	} {
		if _, err := parse(x.tag, x.b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for _, b := range [][]byte{head(0, 0), head(flagsKnown&^flagSource, 2, 'h', 'i'), head(0, 0, at(0, 1e9-1, maxZone)...),
		head(0, 0, append(bytes.Repeat([]byte{kindGroup, 0, 0}, maxDepth), make([]byte, maxDepth)...)...)} {
		if _, err := parse(tagRecord, b); err != nil {
			t.Errorf("a good record is refused: %v", err)
		}
	}
}

// checkLines checks that each text output keeps the record on one line of safe
// characters, and that the JSON is one object.
func checkLines(t testing.TB, r Record) {
	t.Helper()
	for _, f := range []format{&jsonFormat{}, &textFormat{}, &consoleFormat{}} {
		line := f.append(nil, &r)
		if n := len(line) - 1; n < 0 || line[n] != '\n' {
			t.Fatalf("%T: no newline at the end of %q", f, line)
		} else if bad := unsafeIn(line[:n]); bad != "" {
			t.Fatalf("%T: %s in %q", f, bad, line)
		}
		if _, ok := f.(*jsonFormat); !ok {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatalf("not JSON: %v: %q", err, line)
		}
		if m["group"] != r.Group || m["worker"] != json.Number(fmt.Sprint(r.Worker)) || m["pid"] != json.Number(fmt.Sprint(r.PID)) {
			t.Fatalf("identity forged: %q", line)
		}
	}
}

// unsafeIn names the first thing in line that no output may contain.
func unsafeIn(line []byte) string {
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return fmt.Sprintf("invalid UTF-8 at %d", i)
		case r < ' ', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return fmt.Sprintf("U+%04X at %d", r, i)
		}
		i += size
	}
	return ""
}

// What does not fit is cut at a marked place, and the rest stays well-formed.
func TestTruncation(t *testing.T) {
	big := strings.Repeat("ü", 5<<20) // 10 MB
	for _, max := range []int{minMaxRecord, 1000, defaultMaxRecord} {
		for name, log := range map[string]func(*slog.Logger){
			"message":     func(l *slog.Logger) { l.Info(big, "k", "v") },
			"string":      func(l *slog.Logger) { l.Info("m", "k", big, "after", 1) },
			"key":         func(l *slog.Logger) { l.Info("m", big, 1) },
			"JSON":        func(l *slog.Logger) { l.Info("m", "k", []string{big}) },
			"group name":  func(l *slog.Logger) { l.WithGroup(big).Info("m", "k", 1) },
			"prefix":      func(l *slog.Logger) { l.With("p", big).Info("m", "k", 1) },
			"many":        func(l *slog.Logger) { l.Info("m", many(20000)...) },
			"many prefix": func(l *slog.Logger) { l.With(many(20000)...).Info("m", "k", 1) },
			"in groups":   func(l *slog.Logger) { l.WithGroup("a").WithGroup("b").Info(big, "k", big, "l", big) },
			"everything":  func(l *slog.Logger) { l.With(big, big).WithGroup(big).Info(big, big, big) },
			"endless":     func(l *slog.Logger) { l.Info("m", "k", endless("k")) },
			"inlined":     func(l *slog.Logger) { l.Info("m", "", endless("")) },
		} {
			t.Run(fmt.Sprint(name, max), func(t *testing.T) {
				r := record(t, max, log)
				if r.Truncated == 0 && !strings.HasPrefix(name, "endless") && !(name == "key" && max > 2000) {
					t.Error("nothing is marked as cut")
				}
				checkLines(t, r)
				if line := jsonLine(r); r.Truncated > 0 && !strings.Contains(line, `"truncated":`) {
					t.Errorf("the mark is missing: %.200s", line)
				}
				if !utf8.ValidString(r.Message) {
					t.Errorf("message is cut inside a character: …%q", r.Message[len(r.Message)-8:])
				}
			})
		}
	}
}

func many(n int) (args []any) {
	for i := range n {
		args = append(args, fmt.Sprint("key", i), i)
	}
	return args
}

// endless answers with two more of itself, for ever: under its name, or inlined.
type endless string

func (e endless) LogValue() slog.Value {
	return slog.GroupValue(slog.Any(string(e), e), slog.Any(string(e), e))
}
