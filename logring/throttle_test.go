package logring

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestSamplePasses(t *testing.T) {
	for _, x := range []struct {
		s    Sample
		want string // of the first twelve
	}{
		{Sample{}, "............"}, // off: see off()
		{Sample{First: 3}, "xxx........."},
		{Sample{Every: 4}, "x...x...x..."},
		{Sample{First: 2, Every: 4}, "xx...x...x.."},
		{Sample{First: 1, Every: 1}, "xxxxxxxxxxxx"},
		{Sample{First: -1, Every: -1}, "............"},
	} {
		var got strings.Builder
		for n := 1; n <= 12; n++ {
			got.WriteByte(".x"[b2i(x.s.passes(n))])
		}
		if got.String() != x.want {
			t.Errorf("%+v: %s, want %s", x.s, got.String(), x.want)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Times are given, so that no clock of the machine takes part.
func TestThrottleIntervalsAndTokens(t *testing.T) {
	base := time.Date(2025, 1, 2, 15, 4, 5, 0, time.UTC)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	for _, x := range []struct {
		name string
		s    Sample
		l    Limit
		ms   []int
		want string
	}{
		{"a new interval starts over", Sample{First: 2, Interval: 100 * time.Millisecond}, Limit{}, []int{0, 1, 2, 99, 100, 101, 102, 250}, "xx..xx.x"},
		{"a clock that goes back starts over", Sample{First: 1}, Limit{}, []int{500, 501, 100, 101}, "x.x."},
		{"bucket", Sample{}, Limit{Rate: 10, Burst: 2}, []int{0, 0, 0, 50, 100, 150, 1000, 1000, 1000}, "xx..x.xx."},
		{"the default burst is the rate", Sample{}, Limit{Rate: 3}, []int{0, 0, 0, 0}, "xxx."},
		{"less than one a second", Sample{}, Limit{Rate: 0.5}, []int{0, 1999, 2000, 2001}, "x.x."},
		{"a clock that goes back gives no tokens", Sample{}, Limit{Rate: 1, Burst: 1}, []int{5000, 0, 900, 1001}, "x..x"},
	} {
		p := &pipe{}
		th := newThrottle(p, x.s, x.l)
		var got strings.Builder
		for _, ms := range x.ms {
			got.WriteByte(".x"[b2i(th.allow("", "key", slog.LevelInfo, at(ms)))])
		}
		if got.String() != x.want {
			t.Errorf("%s: %s, want %s", x.name, got.String(), x.want)
		}
		if p.refused != strings.Count(x.want, ".") {
			t.Errorf("%s: %d refusals counted", x.name, p.refused)
		}
		th.tell() // stops the timer
	}
}

// Many keys cost no more memory than a bound, and no count.
func TestThrottleManyKeys(t *testing.T) {
	p := &pipe{}
	th := newThrottle(p, Sample{First: 1}, Limit{Rate: 1e-9, Burst: 1})
	now := time.Now()
	const n = 10 * maxKeys
	passed := 0
	for i := range n {
		key := fmt.Sprint("k", i, strings.Repeat("x", 1000))
		passed += b2i(th.allow(key, key, slog.LevelInfo, now))
	}
	if len(th.keys) > maxKeys+1 || len(th.buckets) > maxKeys+1 {
		t.Errorf("%d keys and %d buckets are kept", len(th.keys), len(th.buckets))
	}
	th.tell()
	told := 0
	for i := range p.got {
		r := p.record(t, i)
		told += int(attrOf(t, r, "dropped").Uint64())
	}
	if passed+p.refused != n || told != p.refused {
		t.Errorf("%d passed, %d refused of %d, %d told", passed, p.refused, n, told)
	}
	// Keys that are at rest make room for others.
	th.allow("", "new", slog.LevelInfo, now.Add(time.Hour))
	if len(th.keys) > 2 {
		t.Errorf("%d keys are kept after an hour", len(th.keys))
	}
}

// attrOf returns an attribute of a record by its dotted path.
func attrOf(t testing.TB, r Record, key string) slog.Value {
	t.Helper()
	v, found := slog.Value{}, false
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			v, found = a.Value, true
		}
		return !found
	})
	if !found {
		t.Errorf("record %q has no attribute %q", r.Message, key)
	}
	return v
}

// What was held back is told by itself, without another log call or flush.
func TestSuppressedIsTold(t *testing.T) {
	k := make(chan Record, 16)
	c := newCollector(t, CollectorOptions{Sinks: []Sink{chanSink(k)}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(&HandlerOptions{Sample: Sample{First: 1, Interval: 20 * time.Millisecond}}))
	l.Info("often")
	for range 5 {
		l.Warn("often") // may fall into the next interval, on a busy machine
	}
	var dropped uint64
	for dropped == 0 {
		r := <-k
		if r.Message != "suppressed" {
			continue
		}
		dropped = attrOf(t, r, "dropped").Uint64()
		if of := attrOf(t, r, "of").String(); of != "often" || r.Level != slog.LevelWarn ||
			attrOf(t, r, "reason").String() != DropSampled || attrOf(t, r, "for").Duration() <= 0 ||
			attrOf(t, r, "since").Time().After(r.Time) {
			t.Errorf("told %s", jsonLine(r))
		}
	}
}

// chanSink passes records on.
type chanSink chan Record

func (s chanSink) Write(batch []Record) error {
	for i := range batch {
		s <- batch[i].Clone()
	}
	return nil
}
func (s chanSink) Sync() error  { return nil }
func (s chanSink) Close() error { return nil }

// Each logger has its own bucket; the children of one handler share it.
func TestLimitPerLogger(t *testing.T) {
	p := &pipe{}
	l := slog.New(newHandler(p, &HandlerOptions{Limit: Limit{Rate: 1e-9, Burst: 2}}))
	a, b := l.With(LoggerKey, "a"), l.With("x", 1, LoggerKey, "b")
	in := l.WithGroup("g").With(LoggerKey, "a") // an attribute of a group names nobody
	for range 4 {
		a.Info("a")
		a.With("y", 2).Info("a")
		b.WithGroup("g").Info("b")
		l.Info("none")
		in.Info("none")
	}
	count := map[string]int{}
	for _, m := range p.messages(t) {
		count[m]++
	}
	if count["a"] != 2 || count["b"] != 2 || count["none"] != 2 || p.refused != 14 {
		t.Errorf("passed %v, refused %d; want 2 of each logger", count, p.refused)
	}
}

func TestFilter(t *testing.T) {
	p := &pipe{}
	h := newHandler(p, &HandlerOptions{Filter: func(_ context.Context, r slog.Record) bool { return r.Message != "no" }})
	l := slog.New(h)
	l.Info("no")
	l.Info("yes")
	NewLineWriter(h, LineOptions{}).Write([]byte("no\nyes, too\n"))
	equal(t, p.messages(t), []string{"yes", "yes, too"})
	if p.refused != 0 {
		t.Error("what a filter refuses is counted as dropped")
	}
}

// The same for the node's own handler.
func TestThrottleNode(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	l := slog.New(c.HandlerWith(&HandlerOptions{Sample: Sample{First: 1, Interval: time.Hour}}))
	for range 10 {
		l.Info("again")
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := c.Stats()
	if recs := k.all(); len(recs) != 2 || recs[1].Message != "suppressed" || s.Attempted != 11 || s.Dropped[DropSampled] != 9 || s.Pending != 0 {
		t.Errorf("%d records, account %+v", len(k.all()), s)
	}
}

// A call that is held back allocates nothing.
func TestRefusalAllocatesNothing(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(&HandlerOptions{Sample: Sample{First: 1, Interval: time.Hour}}))
	if n := testing.AllocsPerRun(1000, func() { l.LogAttrs(context.Background(), slog.LevelInfo, "often", slog.Int("n", 1)) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A call that passes a sample, one that is held back by it, and one without.
func BenchmarkThrottle(b *testing.B) {
	c := newCollector(b, CollectorOptions{Sinks: []Sink{discardSink{}}})
	w, _ := onHeap(b, c, "g", 0)
	for _, x := range []struct {
		name string
		o    HandlerOptions
	}{
		{"without", HandlerOptions{}},
		{"passes", HandlerOptions{Sample: Sample{Every: 1}, Limit: Limit{Rate: 1e12}}},
		{"sampled", HandlerOptions{Sample: Sample{First: 1, Interval: time.Hour}}},
	} {
		b.Run(x.name, func(b *testing.B) {
			l := slog.New(w.Handler(&x.o))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.LogAttrs(context.Background(), slog.LevelInfo, "indexed", slog.Int("lines", i), slog.Float64("share", float64(i)*0.25))
			}
		})
	}
}
