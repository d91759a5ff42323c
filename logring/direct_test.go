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

// committed takes what the worker has logged, in the order of its lanes.
func (a alone) committed() (all [][]byte) {
	for _, l := range a.r.lanes {
		for {
			rec, ok, err := l.cons.Next()
			if err != nil {
				panic(err)
			}
			if !ok {
				break
			}
			all = append(all, bytes.Clone(rec.Payload))
		}
		l.cons.Release()
	}
	return all
}

// The short way into the ring and the long one write the same bytes, whatever the
// record, and the short one is taken for what it is made for.
//
// Shown to fail by leaving out the ends of groups, and by swapping two kinds.
func TestDirect(t *testing.T) {
	a := newAlone(t, CollectorOptions{})
	at := time.Now()
	seed := uint64(at.UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	text := func(n int) string { return strings.Repeat("ä", rnd.IntN(n)) }
	scalars := []func(k string) slog.Attr{
		func(k string) slog.Attr { return slog.String(k, text(40)) },
		func(k string) slog.Attr { return slog.Int64(k, int64(rnd.Uint64())) },
		func(k string) slog.Attr { return slog.Uint64(k, rnd.Uint64()) },
		func(k string) slog.Attr { return slog.Float64(k, rnd.NormFloat64()) },
		func(k string) slog.Attr { return slog.Bool(k, rnd.IntN(2) == 0) },
		func(k string) slog.Attr { return slog.Duration(k, time.Duration(rnd.Int64())) },
		func(k string) slog.Attr { return slog.Time(k, at.In(time.FixedZone("", rnd.IntN(7200)))) },
	}
	others := []func(k string) slog.Attr{
		func(k string) slog.Attr { return slog.Any(k, errors.New("broken")) },
		func(k string) slog.Attr { return slog.Any(k, []int{1, 2}) },
		func(k string) slog.Attr { return slog.Group(k, slog.Int("in", 1)) },
		func(k string) slog.Attr { return slog.Group(k) }, // counts for nothing
		func(k string) slog.Attr { return slog.Attr{} },   // likewise
		func(k string) slog.Attr { return slog.String(k, text(3000)) },
		func(k string) slog.Attr { return slog.Int(strings.Repeat(k, 2000), 1) },
	}
	for i := range 3000 {
		p := &pipe{max: a.maxRecord()}
		handlers := []slog.Handler{newHandler(p, &HandlerOptions{AddSource: i%2 == 0}), a.Handler(&HandlerOptions{AddSource: i%2 == 0})}
		for range rnd.IntN(4) {
			name, attr := text(8), scalars[rnd.IntN(len(scalars))]("with")
			group := rnd.IntN(2) == 0
			for j, h := range handlers {
				if group {
					handlers[j] = h.WithGroup(name)
				} else {
					handlers[j] = h.WithAttrs([]slog.Attr{attr})
				}
			}
		}
		r := slog.NewRecord(at, slog.Level(rnd.IntN(20)-8), text(50), callerPC())
		plain := true
		for range rnd.IntN(8) {
			if rnd.IntN(10) > 0 {
				r.AddAttrs(scalars[rnd.IntN(len(scalars))]("key"))
			} else {
				r.AddAttrs(others[rnd.IntN(len(others))]("key"))
				plain = false
			}
		}
		h := handlers[1].(*handler)
		var position []byte
		if h.source {
			position = sourceOf(r.PC)
		}
		if short := a.direct(h, &r, position); !short && plain {
			t.Fatalf("record %d of scalars took the long way", i)
		} else if !short {
			handlers[1].Handle(t.Context(), r)
		}
		handlers[0].Handle(t.Context(), r)
		got := a.committed()
		if len(got) != 1 || !bytes.Equal(got[0][offTime:], p.got[0][offTime:]) { // but for the keys
			t.Fatalf("record %d: %v\n got %q\nwant %q", i, r, got, p.got[0])
		}
	}
	if s := a.Stats(); s.Attempted != 3000 || s.Committed != 3000 {
		t.Errorf("%+v", s)
	}
}

// What is too much for the short way, or for a lane, takes another one and arrives.
func TestTooMuchForALane(t *testing.T) {
	a := newAlone(t, CollectorOptions{})
	l := slog.New(a.Handler(nil))
	sizes := []int{0, directRoom, laneRecord, 2 * laneRecord, a.maxRecord(), 2 * a.maxRecord()}
	for _, n := range sizes {
		s := strings.Repeat("x", n)
		l.LogAttrs(t.Context(), slog.LevelInfo, s)
		l.LogAttrs(t.Context(), slog.LevelInfo, "m", slog.String("k", s))
		evThree.Log(a.Writer, math.MinInt64, s, 0)
	}
	if n := len(a.committed()); n != 3*len(sizes) {
		t.Errorf("%d of %d records", n, 3*len(sizes))
	}
}

func callerPC() uintptr {
	var pc [1]uintptr
	runtime.Callers(2, pc[:])
	return pc[0]
}
