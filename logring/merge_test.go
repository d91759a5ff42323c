package logring

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A mergeLab puts records with chosen keys into the sources of a merger. What comes
// out is "source:key", with ! behind a late one.
type mergeLab struct {
	m       merger
	shelf   shelf
	sources []*source
	out     []string
}

func newMergeLab(sources int) *mergeLab {
	l := &mergeLab{m: merger{window: 10}}
	for range sources {
		l.sources = append(l.sources, &source{})
	}
	return l
}

func (l *mergeLab) put(source int, now int64, keys ...int64) {
	for _, key := range keys {
		e := entry{key: key, pid: source}
		e.p, e.in = l.shelf.put([]byte("payload"))
		e.arrived = now
		l.m.enqueue(l.sources[source], e, now)
	}
	l.m.allow(l.sources[source], now)
}

func (l *mergeLab) emit(_ *source, e *entry, late bool) {
	s := fmt.Sprintf("%d:%d", e.pid, e.key)
	if late {
		s += "!"
	}
	l.out = append(l.out, s)
}

func (l *mergeLab) release(read int64) string {
	l.out = nil
	l.m.release(read, l.emit)
	return strings.Join(l.out, " ")
}

// The rules of the merge, one by one, with a window of 10.
func TestMerge(t *testing.T) {
	l := newMergeLab(3)
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	l.put(0, 100, 80, 90, 95)
	l.put(1, 100, 85, 92)
	is("what is younger than the window waits", l.release(99), "0:80 1:85")
	l.put(2, 105, 88)
	is("a source that was silent is merged in", l.release(105), "2:88 0:90 1:92 0:95")
	l.put(2, 120, 91, 110)
	is("after its time: late", l.release(120), "2:91! 2:110")
	l.put(0, 130, 100)
	is("an entry behind the newest is late", l.release(140), "0:100!")
	l.put(0, 200, 190, 150)
	l.put(1, 200, 180)
	is("within a source the order stays", l.release(300), "1:180 0:190 0:190")
	l.put(1, 310, 1<<62)
	is("a time to come is the time of arrival", l.release(320), "1:310")
	l.put(0, 400, 350, 360)
	l.sources[0].more = true
	l.put(1, 400, 355, 365)
	is("a source that was not read to its end holds up the others", l.release(400), "0:350 1:355 0:360")
	for read := int64(410); read <= 10_400; read += 500 {
		l.put(0, read, 0) // its worker lies
		is("for a while", l.release(read), "0:360")
	}
	l.put(0, 10_500, 0)
	is("but not for ever", l.release(10_500), "0:360 1:365")
	l.sources[0].more = false
	l.put(0, 11_000, 10_600, 10_700)
	l.m.allow(l.sources[0], 10_650)
	l.put(1, 11_000, 10_800)
	is("what another lane of its worker may hold up", l.release(11_000), "0:10600 1:10800")
	is("is not due", l.release(11_500), "")
	l.m.allow(l.sources[0], 11_500)
	is("before it was looked at", l.release(11_500), "0:10700!")
	if l.m.late != 3 || l.m.count != 0 || l.m.bytes != 0 || len(l.m.heap) != 0 {
		t.Errorf("left: %+v", l.m)
	}
}

// However many sources and whatever their pace, each keeps its order, nothing is
// lost, and without stragglers all of it is in order.
func TestMergeRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 1 + rnd.IntN(20)
		l := newMergeLab(n)
		var got []int64
		emit := func(_ *source, e *entry, late bool) {
			got = append(got, e.key)
			if late {
				t.Fatal("late")
			}
		}
		put, now := 0, int64(0)
		for range 200 {
			now += 1 + rnd.Int64N(5)
			for range rnd.IntN(10) {
				l.put(rnd.IntN(n), now, now)
				put++
			}
			l.m.release(now, emit)
		}
		l.m.upTo(math.MaxInt64, emit)
		for i := 1; i < len(got); i++ {
			if got[i] < got[i-1] {
				t.Fatalf("%d after %d", got[i], got[i-1])
			}
		}
		if len(got) != put {
			t.Fatalf("%d of %d", len(got), put)
		}
	}
}

// A record that is seen long after it was made says so, and is counted.
func TestLate(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	a, _ := onHeap(t, c, "a", 0)
	b, _ := onHeap(t, c, "b", 0)
	early := time.Now()
	slog.New(a.Handler(nil)).Info("in time")
	for len(k.all()) == 0 { // bounded by the test's deadline
		runtime.Gosched()
	}
	b.Handler(nil).Handle(t.Context(), slog.NewRecord(early, slog.LevelInfo, "stopped since", 0))
	flushAll(t, c)
	recs := k.all()
	if len(recs) != 2 || recs[0].Late || !recs[1].Late || c.Stats().Late != 1 {
		t.Fatalf("%+v, %d late", recs, c.Stats().Late)
	}
	if line := jsonLine(recs[1]); !strings.Contains(line, `"late":true`) {
		t.Error(line)
	}
}

// Much more than is held for merging lies in several rings: all of it is
// there after one Flush. (Once, a ring was passed over when another had filled up
// what is held.)
func TestFlushBeyondWhatIsHeld(t *testing.T) {
	c := newCollector(t, CollectorOptions{Sinks: []Sink{discardSink{}}, RingSize: 16 << 20})
	const rings, each, size = 3, 100, 60 << 10
	var inlets []*inlet
	for rank := range rings {
		w, r := onHeap(t, c, "g", rank)
		r.mu.Lock() // the collector does not look
		inlets = append(inlets, r)
		l := slog.New(w.Handler(nil))
		for range each {
			l.Info(strings.Repeat("x", size))
		}
	}
	for _, r := range inlets {
		r.mu.Unlock()
	}
	flushAll(t, c)
	if s := c.Stats(); s.Delivered != rings*each || s.Pending != 0 {
		t.Errorf("%d delivered, %d pending", s.Delivered, s.Pending)
	}
}
