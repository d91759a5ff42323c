package logring

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// A segment whose bytes were changed at random, dictionary, pages, rings and all, is
// read to the end or refused: no panic, no more records than fit, and what comes out
// is one line each, of valid JSON. It is the reader of the collector and of Salvage.
func TestMutatedSegments(t *testing.T) {
	rounds := 20_000
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 1_000_000
	}
	o := CollectorOptions{RingSize: 4096, MaxRecord: 512}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	c := newCollector(t, o)
	good, layout := heapLease(t, &o)
	if err := layout.write(good); err != nil {
		t.Fatal(err)
	}
	w, err := newWriter(good, c.terms(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := slog.New(w.Handler(&HandlerOptions{AddSource: true})).With("who", "me")
	for i := range 5 {
		evMutant.Log(w, i, "text", time.Unix(int64(i), 5), true)
		l.LogAttrs(context.Background(), slog.LevelInfo, "plain", slog.Int("i", i), slog.Group("g", slog.Any("x", []int{i})))
	}
	w.Close()

	used := []int{0, 512} // where the mutations go: begin and end of each area in use
	used = append(used, layout.dictOff-4096, layout.dictOff+int(load64(&workerPageOf(good).words)))
	for i := range layout.rings {
		at := layout.rings[i].off
		used = append(used, at, at+16, at+256, at+400, at+4096, at+4096+16, at+8192, at+8192+1200)
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	view := make([]byte, len(good))
	whole, cut, empty := 0, 0, 0
	for round := range rounds {
		copy(view, good)
		for range rnd.IntN(4) {
			area := 2 * rnd.IntN(len(used)/2)
			at := used[area] + rnd.IntN(used[area+1]-used[area])
			switch rnd.IntN(4) {
			case 0:
				view[at] ^= 1 << rnd.IntN(8)
			case 1:
				view[at] = byte(rnd.Uint32())
			case 2:
				le.PutUint32(view[at&^3:], uint32(rnd.Uint64()>>rnd.IntN(64)))
			case 3:
				le.PutUint64(view[at&^7:], rnd.Uint64()>>rnd.IntN(64))
			}
		}
		bad, err := readLayout(view)
		if err != nil {
			empty++
			continue
		}
		k := &collection{c: c}
		n, err := k.takeRemain(&remain{name: "mutant", view: view, layout: bad}, &tally{who: who{"g", 1}})
		if n > uint64(len(view)/8) {
			t.Fatalf("round %d: %d records in %d bytes", round, n, len(view))
		}
		var js jsonFormat
		var text textFormat
		k.m.upTo(math.MaxInt64, func(_ *source, e *entry, late bool) {
			b := newBatch(1)
			b.number = 1
			b.add(e, late)
			line := js.append(nil, &b.recs[0])
			if !json.Valid(line) || strings.Count(string(line), "\n") != 1 || strings.Count(string(text.append(nil, &b.recs[0])), "\n") != 1 {
				t.Fatalf("round %d: %q", round, line)
			}
		})
		if err == nil && n == 10 {
			whole++
		} else {
			cut++
		}
	}
	t.Logf("%d were whole, %d broken somewhere, %d refused", whole, cut, empty)
	if whole < rounds/100 || cut < rounds/100 || empty < rounds/1000 {
		t.Error("the mutations do not reach what they should")
	}
}

var evMutant = NewEvent4[int, string, time.Time, bool](slog.LevelInfo, "mutant", "n", "s", "t", "b")
