package logring

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
)

type rank uint16

var (
	evNone = NewEvent0(slog.LevelWarn, "nothing")

	_, _, lineBefore, _ = runtime.Caller(0)

	evThree = NewEvent3[int64, string, float64](slog.LevelInfo, "done", "n", "path", "sec").WithSource()
	evSix   = NewEvent6[time.Time, []byte, Err, time.Time, bool, string](slog.LevelError, "six", "t", "b", "err", "u", "ok", "s")
	evSizes = NewEvent6[int8, rank, int32, uint8, float32, time.Duration](slog.LevelInfo, "sizes", "i8", "u16", "i32", "u8", "f32", "d")
	evUint  = NewEvent2[uint64, int](slog.LevelDebug, "uint", "u", "i")
)

// Events come out as records with the attributes that slog would have made.
func TestEvents(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}, Level: slog.LevelDebug})
	w, _ := onHeap(t, c, "g", 3)
	zone := time.FixedZone("", 7200)
	at := time.Date(1999, 12, 31, 23, 59, 59, 999, zone)
	begin := time.Now()
	evNone.Log(w)
	evThree.Log(w, -7, "a/b.go", 0.5)
	evSix.Log(w, at, []byte("by\ntes"), Err{errors.New("broken")}, time.Time{}, true, "")
	evSizes.Log(w, -8, 16, -32, 200, 1.5, time.Second)
	evUint.Log(w, math.MaxUint64, -1)
	evThree.Log(w, math.MinInt64, "", math.Inf(-1))
	flushAll(t, c)
	want := []slog.Record{
		slogRecord(slog.LevelWarn, "nothing"),
		slogRecord(slog.LevelInfo, "done", slog.Int64("n", -7), slog.String("path", "a/b.go"), slog.Float64("sec", 0.5)),
		slogRecord(slog.LevelError, "six", slog.Time("t", at), slog.String("b", "by\ntes"), slog.String("err", "broken"),
			slog.Time("u", time.Time{}), slog.Bool("ok", true), slog.String("s", "")),
		slogRecord(slog.LevelInfo, "sizes", slog.Int64("i8", -8), slog.Uint64("u16", 16), slog.Int64("i32", -32),
			slog.Uint64("u8", 200), slog.Float64("f32", 1.5), slog.Duration("d", time.Second)),
		slogRecord(slog.LevelDebug, "uint", slog.Uint64("u", math.MaxUint64), slog.Int64("i", -1)),
		slogRecord(slog.LevelInfo, "done", slog.Int64("n", math.MinInt64), slog.String("path", ""), slog.Float64("sec", math.Inf(-1))),
	}
	got := k.all()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	last := begin
	for i := range want {
		sameRecord(t, got[i], want[i])
		if r := got[i]; r.Time.Before(last.Add(-time.Millisecond)) || r.Time.After(time.Now().Add(time.Millisecond)) {
			t.Errorf("record %d: time %v, after %v", i, r.Time, last)
		}
		last = got[i].Time
	}
	if src, ok := got[1].Source(); !ok || src.Line != lineBefore+2 {
		t.Errorf("source %+v %v, want the line of the declaration", src, ok)
	}
	if s := w.Stats(); s.Attempted != 6 || s.Committed != 6 {
		t.Errorf("%+v", s)
	}
	checkAccount(t, c.Stats())
}

func slogRecord(l slog.Level, msg string, attrs ...slog.Attr) slog.Record {
	r := slog.NewRecord(time.Time{}, l, msg, 0)
	r.AddAttrs(attrs...)
	return r
}

// sameRecord compares everything but time and source.
func sameRecord(t testing.TB, got Record, want slog.Record) {
	t.Helper()
	if got.Message != want.Message || got.Level != want.Level || got.NumAttrs() != want.NumAttrs() || got.Truncated != 0 {
		t.Errorf("got %s, want %v", jsonLine(got), want)
		return
	}
	var attrs []slog.Attr
	got.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	i := 0
	want.Attrs(func(a slog.Attr) bool {
		if !attrs[i].Equal(a) {
			t.Errorf("%q: attribute %v came back as %v", want.Message, a, attrs[i])
		}
		i++
		return true
	})
}

// Events that find no room in the dictionary, or are too long for it, are logged
// all the same: as ordinary records.
func TestDictionaryFull(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{RingSize: 4096, MaxRecord: 1024, Sinks: []Sink{k}}) // a dictionary of a page
	w, _ := onHeap(t, c, "g", 0)
	const n = 100
	for i := range n {
		NewEvent2[int, time.Time](slog.LevelInfo, strings.Repeat("m", 100), "i", "at").Log(w, i, time.Unix(int64(i), 0))
	}
	NewEvent1[string](slog.LevelInfo, strings.Repeat("long", 500), "k").Log(w, "v")
	flushAll(t, c)
	got := k.all()
	if len(got) != n+1 || got[n].NumAttrs() != 1 {
		t.Fatalf("%d records, want %d", len(got), n+1)
	}
	for i, r := range got[:n] {
		sameRecord(t, r, slogRecord(slog.LevelInfo, strings.Repeat("m", 100), slog.Int("i", i), slog.Time("at", time.Unix(int64(i), 0))))
	}
	if d := &w.dict; d.size == 0 || d.size > len(d.mem) || len(d.has) != n+1 {
		t.Errorf("dictionary of %d bytes, %d are used", len(d.mem), d.size)
	}
}

// A process that attaches to a segment which another one has used shares no
// numbers with it.
func TestSecondWriterOfASegment(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	view, layout := heapLease(t, &c.o)
	r, err := c.inletOver(view, layout, "heap", "g", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.attach(r)
	r.begun.Store(true)
	for range 2 {
		w, err := newWriter(view, c.terms(), func() error { r.Message(nil, nil); return nil })
		if err != nil {
			t.Fatal(err)
		}
		evThree.Log(w, 1, "p", 2)
		w.Close()
	}
	flushAll(t, c)
	got := k.all()
	if len(got) != 2 {
		t.Fatalf("%d records, want 2", len(got))
	}
	for _, r := range got {
		sameRecord(t, r, slogRecord(slog.LevelInfo, "done", slog.Int64("n", 1), slog.String("path", "p"), slog.Float64("sec", 2)))
	}
}

// Whatever a worker writes into its dictionary, or as an event, is an error or a
// record, and nothing else.
func TestHostileEvents(t *testing.T) {
	decl := evThree.declaration()
	whole := func() []byte { return bytes.Clone(decl) }
	at := func(off int, v ...byte) []byte {
		b := whole()
		copy(b[off:], v)
		return b
	}
	for want, b := range map[string][]byte{
		"cut short":            whole()[:8],
		"length of a":          at(0, 9),
		"length of a decl":     at(0, 0xff, 0xff),
		"unknown fields":       at(7, 1),
		"with unknown fields":  at(15, maxArgs+1),
		"source position":      at(20, 0xff, 0xff),
		"message longer":       at(12, 0xff, 0xff),
		"unknown kind":         at(declFixed+sourceSize(decl[declFixed:]), kindGroup),
		"argument longer":      at(declFixed+sourceSize(decl[declFixed:])+1, 0xff, 0xff),
		"declared twice":       append(whole(), whole()...),
		"is not in the dictio": nil,
	} {
		d := definitions{words: new(uint64), mem: b}
		*d.words = uint64(len(b))
		if _, err := d.of(evThree.tag >> 8); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	d := definitions{words: new(uint64), mem: decl}
	*d.words = uint64(len(decl)) + 8
	if err := d.update(); err == nil {
		t.Error("more is published than there is")
	}
	*d.words = uint64(len(decl))
	f, err := d.of(evThree.tag >> 8)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	good := 0
	for range 100_000 {
		p := make([]byte, rnd.IntN(64))
		for i := range p {
			if rnd.IntN(4) == 0 {
				p[i] = byte(rnd.Uint32())
			}
		}
		b, err := f.appendRecord(nil, p, 1, 2)
		if err != nil {
			continue
		}
		good++
		if _, err := parse(tagRecord, b); err != nil {
			t.Fatalf("%x became what is no record: %v", p, err)
		}
	}
	if good == 0 {
		t.Error("nothing was accepted")
	}
	*d.words = 0
	if err := d.update(); err == nil {
		t.Error("a dictionary that shrinks")
	}
}
