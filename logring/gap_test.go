package logring

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shmkit/ring"
)

// gapsIn returns how many records tell of drops for a reason, and of how many drops.
func gapsIn(t testing.TB, recs []Record, reason string) (gaps, told uint64) {
	t.Helper()
	for _, r := range recs {
		if r.Message == gapMessage && attrOf(t, r, "reason").String() == reason {
			gaps++
			told += attrOf(t, r, "dropped").Uint64()
		}
	}
	return gaps, told
}

func TestPolicyWords(t *testing.T) {
	for _, p := range []policies{
		newPolicies(Block, nil),
		newPolicies(OverwriteOldest, map[slog.Level]Policy{slog.LevelError: Block, slog.LevelDebug: DropNew, 1 << 20: OverwriteOldest}),
	} {
		got, err := parsePolicies(p.String())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(p) || len(got.above) != len(p.above) {
			t.Errorf("%v comes back as %v, %v", p, got, err)
		}
	}
	for _, s := range []string{"", "never", "block,block", "0:block", "block,x:drop", "block,0:never", "block,", "block,0"} {
		if p, err := parsePolicies(s); err == nil || !strings.Contains(err.Error(), "unknown policy") {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	p := newPolicies(OverwriteOldest, map[slog.Level]Policy{slog.LevelError: Block, slog.LevelInfo: DropNew})
	for level, want := range map[slog.Level]Policy{-4: OverwriteOldest, -1: OverwriteOldest, 0: DropNew, 7: DropNew, 8: Block, 100: Block} {
		if got := p.of(level); got != want {
			t.Errorf("level %d: %v, want %v", level, got, want)
		}
	}
	_, err := NewCollector(CollectorOptions{PolicyFrom: map[slog.Level]Policy{0: 9}})
	if err == nil || !strings.Contains(err.Error(), "Policy 9: choose Block, DropNew or OverwriteOldest") {
		t.Errorf("a policy that is none: %v", err)
	}
}

// One worker, a level for each policy, a sink that stands still and then goes on:
// errors wait, infos are dropped at once, debugs overwrite the oldest; nobody who must
// not wait does, and for each the stream tells what is missing, and where.
func TestPolicyPerLevel(t *testing.T) {
	g := newGate()
	g.mu.Lock()
	c := newCollector(t, CollectorOptions{RingSize: 8192, MaxRecord: 512, Level: slog.LevelDebug, MaxWait: time.Hour,
		Policy: OverwriteOldest, PolicyFrom: map[slog.Level]Policy{slog.LevelInfo: DropNew, slog.LevelError: Block},
		Sinks: []Sink{With(g, SinkOptions{Queue: 1, Stall: time.Hour})}})
	w, r := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	// Fill up: until the collector takes no more, and infos are dropped.
	infos := 0
	for w.Stats().Dropped[DropFull] == 0 { // bounded by the test's deadline
		l.Info("info", "i", infos)
		infos++
	}
	errs := uint64(0)
	var stop atomic.Bool
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		for ; !stop.Load(); errs++ {
			l.Error("error") // in the end it waits for room
		}
	}()
	for !w.waiting.Load() { // bounded likewise
		time.Sleep(time.Millisecond)
	}
	for range 50 { // while somebody waits with the lock held
		l.Info("info", "i", infos)
		infos++
	}
	const debugs = 2000
	for i := range debugs {
		l.Debug("debug", "i", i)
	}
	stop.Store(true)
	g.mu.Unlock()
	<-waited
	l.Info("info", "i", infos)
	infos++
	flushAll(t, c)
	w.Close()
	r.Close()
	flushAll(t, c)

	recs := g.all()
	count := map[string]uint64{}
	last := map[string]int64{"info": -1, "debug": -1}
	missing := map[string]uint64{} // as the numbers show
	for _, rec := range recs {
		count[rec.Message]++
		if _, numbered := last[rec.Message]; numbered {
			i := attrOf(t, rec, "i").Int64()
			if i <= last[rec.Message] {
				t.Fatalf("%s %d after %d", rec.Message, i, last[rec.Message])
			}
			missing[rec.Message] += uint64(i - last[rec.Message] - 1)
			last[rec.Message] = i
		}
	}
	if last["debug"] != debugs-1 || last["info"] != int64(infos-1) || count["error"] != errs {
		t.Errorf("the newest are missing: last debug %d, info %d of %d, errors %d", last["debug"], last["info"], infos, count["error"])
	}
	s := c.Stats()
	checkAccount(t, s)
	if s.Dropped[DropFull] != missing["info"] || s.Dropped[DropOverwritten] != missing["debug"] || missing["debug"] == 0 || len(s.Dropped) != 2 {
		t.Errorf("dropped %v, missing %v", s.Dropped, missing)
	}
	gaps := uint64(0)
	for _, reason := range []string{DropFull, DropOverwritten} {
		n, told := gapsIn(t, recs, reason)
		gaps += n
		if told != s.Dropped[reason] {
			t.Errorf("%s: the stream tells of %d of %d", reason, told, s.Dropped[reason])
		}
	}
	if want := uint64(infos+debugs) + errs; s.Attempted != want+gaps || s.Delivered != uint64(len(recs)) || s.Pending != 0 {
		t.Errorf("attempted %d, want %d and %d that tell; delivered %d", s.Attempted, want, gaps, s.Delivered)
	}
	// The gap stands where the records are missing.
	for i, rec := range recs {
		if rec.Message != gapMessage || attrOf(t, rec, "reason").String() != DropOverwritten {
			continue
		}
		before, after := int64(-1), int64(debugs)
		for _, x := range recs[:i] {
			if x.Message == "debug" {
				before = attrOf(t, x, "i").Int64()
			}
		}
		for _, x := range recs[i:] {
			if x.Message == "debug" {
				after = attrOf(t, x, "i").Int64()
				break
			}
		}
		if n := attrOf(t, rec, "dropped").Uint64(); n != uint64(after-before-1) {
			t.Errorf("between debug %d and %d the stream tells of %d missing", before, after, n)
		}
	}
}

// A gap is told though nothing is logged after it, and at the latest when the worker
// is dead, by the node.
func TestGapIsTold(t *testing.T) {
	for _, how := range []string{"later", "by the node"} {
		g := newGate()
		g.mu.Lock()
		c := newCollector(t, CollectorOptions{RingSize: 4096, MaxRecord: 512, Policy: DropNew,
			Sinks: []Sink{With(g, SinkOptions{Queue: 1, Stall: time.Hour})}})
		w, r := onHeap(t, c, "g", 0)
		if how == "by the node" {
			w.end() // no timer
		}
		l := slog.New(w.Handler(nil))
		for w.Stats().Dropped[DropFull] < 3 { // bounded by the test's deadline
			l.Info("x")
		}
		g.mu.Unlock()
		if how == "by the node" {
			r.Close()
		}
		for { // bounded likewise
			flushAll(t, c)
			if _, told := gapsIn(t, g.all(), DropFull); told == c.Stats().Dropped[DropFull] {
				break
			} else if told > c.Stats().Dropped[DropFull] {
				t.Fatalf("%s: told %d of %d", how, told, c.Stats().Dropped[DropFull])
			}
			time.Sleep(time.Millisecond)
		}
		checkAccount(t, c.Stats())
	}
}

// The words of a hostile worker about what it told make no sum overflow.
func TestUntoldLies(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	w, r := onHeap(t, c, "g", 0)
	w.mu.Lock()
	w.lose(ring.DropFull, 5)
	w.mu.Unlock()
	w.end()
	store64(&w.own.told[ring.DropFull], 1<<63)
	if left := r.untold(map[string]uint64{DropFull: 5, DropTimeout: 7}); left[DropFull] != 0 || left[DropTimeout] != 7 {
		t.Errorf("untold: %v", left)
	}
}

// Errors of a log call say what became of the record.
func TestDropErrors(t *testing.T) {
	c := newCollector(t, CollectorOptions{RingSize: 4096, MaxRecord: 512, Policy: DropNew})
	w, _ := onHeap(t, c, "g", 0)
	w.waiting.Store(true) // somebody waits for room
	err := w.putShared(tagRecord, make([]byte, 64), slog.LevelInfo)
	if !errors.Is(err, ring.ErrFull) {
		t.Errorf("a record that may not wait: %v", err)
	}
	w.waiting.Store(false)
	if s := w.Stats(); s.Dropped[DropFull] != 1 || s.Attempted != 1 {
		t.Errorf("account %+v", s)
	}
}
