package logring

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// checkAccount checks that the account adds up: for the total, and for each
// worker and sink.
func checkAccount(t testing.TB, s Stats) {
	t.Helper()
	var sumOf WorkerStats
	for _, w := range s.Workers {
		if w.Attempted != w.Delivered+w.Pending+sum(w.Dropped) {
			t.Errorf("worker %s/%d does not add up: %+v", w.Group, w.Worker, w)
		}
		if int64(w.Pending) < 0 {
			t.Errorf("worker %s/%d: more delivered than attempted: %+v", w.Group, w.Worker, w)
		}
		sumOf.Attempted += w.Attempted
		sumOf.Delivered += w.Delivered
	}
	if s.Attempted != s.Delivered+s.Pending+sum(s.Dropped) || s.Attempted != sumOf.Attempted || s.Delivered != sumOf.Delivered {
		t.Errorf("the total does not add up: %+v", s)
	}
	for _, k := range s.Sinks {
		if int64(k.Pending) < 0 {
			t.Errorf("sink %s: %+v", k.Name, k)
		}
	}
}

// Many goroutines of several workers, captured lines and the node's own records,
// all at once, with a look at the account all the time.
//
//  1. Every record is there once.
//  2. The records of one goroutine, and the lines of one stream, are in order.
//  3. The account adds up at any time, and nothing is pending at the end.
func TestEverythingOnceInOrder(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{RingSize: 32 << 10, MaxRecord: 1 << 10, Sinks: []Sink{k}})
	const workers, goroutines, each = 3, 4, 1500
	var wg sync.WaitGroup
	for rank := range workers {
		w, _ := onHeap(t, c, "g", rank)
		for g := range goroutines {
			l := slog.New(w.Handler(nil)).With("g", fmt.Sprint(rank, g))
			wg.Go(func() {
				for i := range each {
					l.Info("r", "i", i)
				}
			})
		}
		wg.Go(func() {
			for i := range each {
				c.Line("lines", rank, 100+rank, "stdout", fmt.Appendf(nil, "%d", i), false)
			}
		})
	}
	node := slog.New(c.Handler())
	wg.Go(func() {
		for i := range each {
			node.Info("n", "g", "node", "i", i)
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	looks := 0
	for busy := true; busy; looks++ {
		select {
		case <-done:
			busy = false
		default:
		}
		checkAccount(t, c.Stats())
	}
	flushAll(t, c)
	s := c.Stats()
	checkAccount(t, s)
	const total = workers*goroutines*each + workers*each + each
	if s.Attempted != total || s.Delivered != total || s.Pending != 0 || s.Sinks[0].Written != total {
		t.Errorf("after %d looks: %+v, want %d", looks, s, total)
	}
	next := map[string]int{}
	for _, r := range k.all() {
		var who string
		var i int
		if r.Stream != "" {
			who = fmt.Sprint("line", r.Worker, r.PID)
			fmt.Sscan(r.Message, &i)
		} else {
			r.Attrs(func(a slog.Attr) bool {
				switch a.Key {
				case "g":
					who = a.Value.String()
				case "i":
					i = int(a.Value.Int64())
				}
				return true
			})
		}
		if i != next[who] {
			t.Fatalf("%s: record %d after %d", who, i, next[who]-1)
		}
		next[who]++
	}
	if len(next) != workers*goroutines+workers+1 {
		t.Errorf("%d senders", len(next))
	}
}

// Records that lie in several rings come out by time.
func TestMergedByTime(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}, Window: time.Hour}) // only the flush releases
	base := time.Now().Add(-10 * time.Second)
	var hs []slog.Handler
	for rank := range 8 {
		w, _ := onHeap(t, c, "g", rank)
		hs = append(hs, w.Handler(nil))
	}
	const n = 5000
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range n {
		// Each ring on its own is in order, all together only by time. Some end early.
		r := slog.NewRecord(base.Add(time.Duration(i)*time.Millisecond), slog.LevelInfo, "", 0)
		hs[rnd.IntN(8-i*7/n)].Handle(t.Context(), r)
	}
	flushAll(t, c)
	recs := k.all()
	for i := 1; i < len(recs); i++ {
		if recs[i].Time.Before(recs[i-1].Time) {
			t.Fatalf("record %d of %d is %v earlier than the one before", i, n, recs[i-1].Time.Sub(recs[i].Time))
		}
	}
	if s := c.Stats(); len(recs) != n || s.Late != 0 {
		t.Errorf("%d records, %d late", len(recs), s.Late)
	}
}

// A wall clock that is set back an hour, or forward a year, changes no order
// within a ring and holds nothing up; the time that is printed is the worker's.
func TestClockSteps(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	w, _ := onHeap(t, c, "g", 0)
	w2, _ := onHeap(t, c, "g", 1)
	now := time.Now()
	steps := []time.Duration{0, -time.Hour, time.Hour, 24 * 365 * time.Hour, -24 * 365 * time.Hour, -1 << 62, 1 << 62, 0}
	for i, d := range steps {
		for _, w := range []*Writer{w, w2} {
			r := slog.NewRecord(now.Add(d), slog.LevelInfo, fmt.Sprint(i), 0)
			w.Handler(nil).Handle(t.Context(), r)
		}
		if i == 4 {
			// Also across a window: everything comes out without a flush.
			for len(k.all()) < 10 { // bounded by the test's deadline
				time.Sleep(time.Millisecond)
			}
		}
	}
	flushAll(t, c)
	next := [2]int{}
	for _, r := range k.all() {
		i := next[r.Worker]
		if r.Message != fmt.Sprint(i) {
			t.Fatalf("worker %d: record %s, want %d", r.Worker, r.Message, i)
		}
		if want := time.Unix(0, wireNanos(now.Add(steps[i]))); !r.Time.Equal(want) {
			t.Errorf("record %d has time %v, want %v", i, r.Time, want)
		}
		next[r.Worker]++
	}
	if next != [2]int{len(steps), len(steps)} {
		t.Errorf("%v records of %d", next, len(steps))
	}
}

// A ring that says nothing, or whose worker stopped in the middle of a record,
// delays no other.
func TestIdleRingDelaysNobody(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	for rank := range 20 {
		onHeap(t, c, "idle", rank)
	}
	stopped, _ := onHeap(t, c, "stopped", 0)
	stopped.mu.Lock() // SIGSTOP between Reserve and Commit
	if _, err := stopped.shared.prod.Reserve(100); err != nil {
		t.Fatal(err)
	}
	w, _ := onHeap(t, c, "g", 0)
	slog.New(w.Handler(nil)).Info("x")
	for len(k.all()) == 0 { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	stopped.mu.Unlock()
}

// The level is one word that the node writes and every log call reads.
func TestLevels(t *testing.T) {
	c := newCollector(t, CollectorOptions{Level: slog.LevelWarn})
	a, _ := onHeap(t, c, "a", 0)
	b, _ := onHeap(t, c, "b", 0)
	enabled := func(w *Writer, o *HandlerOptions, l slog.Level) bool {
		return w.Handler(o).Enabled(context.Background(), l)
	}
	check := func(what string, w *Writer, l slog.Level) {
		t.Helper()
		if !enabled(w, nil, l) || enabled(w, nil, l-1) || w.Level() != l {
			t.Errorf("%s: level is %v, want %v", what, w.Level(), l)
		}
	}
	check("initial", a, slog.LevelWarn)
	c.SetGroupLevel("b", slog.LevelDebug)
	c.SetGroupLevel("later", -100)
	check("group", b, slog.LevelDebug)
	check("other group", a, slog.LevelWarn)
	c.SetLevel(slog.LevelInfo)
	check("all", a, slog.LevelInfo)
	check("group keeps its own", b, slog.LevelDebug)
	late, _ := onHeap(t, c, "later", 0)
	check("later worker", late, -100)
	c.ResetGroupLevel("b")
	check("reset", b, slog.LevelInfo)
	if o := (&HandlerOptions{Level: slog.LevelError}); enabled(a, o, slog.LevelWarn) || !enabled(a, o, slog.LevelError) {
		t.Error("the handler's own level is not asked")
	}
	if h := c.Handler(); h.Enabled(t.Context(), slog.LevelDebug) || !h.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("the node does not follow SetLevel")
	}
	c.SetLevel(1 << 40)
	if enabled(a, nil, 1<<30) {
		t.Error("a level beyond 32 bits wrapped")
	}
	a.Close()
	if c.SetLevel(slog.LevelDebug); enabled(a, nil, slog.LevelError) {
		t.Error("enabled after Close")
	}
}

// What was logged before Flush is in the file when Flush returns.
func TestFlush(t *testing.T) {
	path := t.TempDir() + "/run.jsonl"
	file, err := OpenJSON(path)
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(t, CollectorOptions{Window: time.Hour, Sinks: []Sink{file}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	for i := range 50 {
		l.Info("x", "i", i)
		c.Line("g", 0, 1, "stdout", []byte("line"), false)
		if i%10 == 0 {
			slog.New(c.Handler()).Info("node")
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(path)
		if n := strings.Count(string(b), "\n"); n != 2*(i+1)+i/10+1 {
			t.Fatalf("after flush %d the file has %d lines", i, n)
		}
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// A worker rings at most once each time the collector has fallen asleep, and an
// idle collector is not woken at all.
func TestDoorbells(t *testing.T) {
	c := newCollector(t, CollectorOptions{Sinks: []Sink{discardSink{}}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	const n = 20000
	start := time.Now()
	for range n {
		l.Info("x")
	}
	flushAll(t, c)
	busy := c.Stats()
	// Once woken for a record it stays awake for a window at least.
	if most := uint64(time.Since(start)/c.o.Window) + 2; busy.Doorbells > most {
		t.Errorf("%d doorbells for %d records, at most one per window: %d", busy.Doorbells, n, most)
	}
	if busy.Doorbells > busy.Wakes+1 {
		t.Errorf("%d doorbells, but it fell asleep %d times only", busy.Doorbells, busy.Wakes)
	}
	time.Sleep(50 * time.Millisecond) // a time in which nothing is to happen
	if idle := c.Stats(); idle.Wakes > busy.Wakes+1 || idle.Doorbells != busy.Doorbells {
		t.Errorf("idle, it woke %d times", idle.Wakes-busy.Wakes)
	}
}

// Captured lines: level by stream, split above 64 KiB, marked when they go on.
func TestLine(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{RingSize: 4096, MaxRecord: 512, Level: slog.LevelError, Sinks: []Sink{k}})
	long := strings.Repeat("0123456789abcdef", maxLine/16)
	c.Line("job", 1, 42, "stdout", []byte("out"), false)
	c.Line("job", 1, 42, "stderr", []byte("err"), true)
	c.Line("job", 1, 42, "stdout", nil, false)
	c.Line("job", 1, 42, "stdout", []byte(long), false)
	c.Line("job", 1, 42, "stdout", []byte(long+"tail"), false)
	flushAll(t, c)
	type line struct {
		level     slog.Level
		stream    string
		msg       string
		continued bool
	}
	want := []line{
		{slog.LevelInfo, "stdout", "out", false}, {slog.LevelWarn, "stderr", "err", true}, {slog.LevelInfo, "stdout", "", false},
		{slog.LevelInfo, "stdout", long, false}, {slog.LevelInfo, "stdout", long, true}, {slog.LevelInfo, "stdout", "tail", false},
	}
	recs := k.all()
	if len(recs) != len(want) {
		t.Fatalf("%d records, want %d", len(recs), len(want))
	}
	for i, r := range recs {
		if got := (line{r.Level, r.Stream, r.Message, r.Continued}); got != want[i] || r.PID != 42 || r.Truncated != 0 {
			t.Errorf("line %d: %.60v", i, got)
		}
	}
	if w := c.Stats().Workers[0]; w.PID != 42 || w.Attempted != 6 {
		t.Errorf("%+v", w)
	}
}

// What a dead worker left in its ring is delivered, all of it, whatever its size.
func TestDetachDrains(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	w, r := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	const n = 5000
	r.mu.Lock() // the collector does not come
	for i := range n {
		l.Info(strings.Repeat("x", 100), "i", i)
	}
	w.Close()
	r.mu.Unlock()
	r.Close()
	flushAll(t, c)
	if got := len(k.all()); got != n {
		t.Errorf("%d of %d records", got, n)
	}
}

// The same with events, which take a multiple of their room in the ring once they
// are records. (Once, only so many were read as the ring has bytes.)
func TestDetachDrainsEvents(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{RingSize: 256 << 10, Sinks: []Sink{k}})
	w, r := onHeap(t, c, "g", 0)
	const n = 2000
	r.mu.Lock() // the collector does not come
	for i := range n {
		evLong.Log(w, i)
	}
	w.Close()
	r.mu.Unlock()
	r.Close()
	flushAll(t, c)
	if got := len(k.all()); got != n {
		t.Errorf("%d of %d records", got, n)
	}
}

var evLong = NewEvent1[int](slog.LevelInfo, strings.Repeat("long ", 100), "i")

// Rings come and go, and nothing is left of them but their account.
func TestAttachDetachChurn(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{RingSize: 4096, MaxRecord: 512, Sinks: []Sink{k}})
	const rounds, ranks = 20, 50
	var wg sync.WaitGroup
	for rank := range ranks {
		wg.Go(func() {
			for range rounds {
				w, r := onHeap(t, c, "g", rank)
				l := slog.New(w.Handler(nil))
				for range 10 {
					l.Info("x")
				}
				w.Close()
				r.Close()
			}
		})
	}
	wg.Wait()
	flushAll(t, c)
	s := c.Stats()
	checkAccount(t, s)
	if s.Delivered != rounds*ranks*10 || len(s.Workers) != ranks || len(c.rings) != 0 || len(k.all()) != rounds*ranks*10 {
		t.Errorf("%d delivered, %d workers, %d rings", s.Delivered, len(s.Workers), len(c.rings))
	}
}
