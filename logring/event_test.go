package logring

import (
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"
)

type rank uint16

var (
	evNone  = NewEvent0(slog.LevelWarn, "nothing")
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
	if src, ok := got[1].Source(); !ok || src.Line != 15 {
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
