package logring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// numbered returns n records with messages from, from+1, …
func numbered(t testing.TB, from, n int) (recs []Record) {
	t.Helper()
	for i := range n {
		r := record(t, 0, func(l *slog.Logger) { l.Info(fmt.Sprintf("message %d", from+i), "n", from+i) })
		recs = append(recs, r)
	}
	return recs
}

// feed gives a runner batches of ten records each, as the collector does, one
// when the last one is worked off: each is one Write.
func feed(t testing.TB, r *runner, batches int) (records int) {
	t.Helper()
	for range batches {
		b := newBatch(10)
		for j := range 10 {
			p := &pipe{}
			slog.New(newHandler(p, nil)).Info(fmt.Sprintf("message %d", records+j), "n", records+j)
			b.put(p.got[0], &tally{who: who{"g", 1}}, 2, "")
		}
		b.refs.Store(1)
		r.push(b)
		records += 10
		answer := make(chan error, 1)
		r.flushAfter(answer, Synced)
		<-answer
	}
	return records
}

func (r *runner) finish() SinkStats {
	r.close()
	<-r.ended
	return r.snapshot()
}

// faulty is a writer whose nth write goes wrong.
type faulty struct {
	out   strings.Builder
	calls int
	fails func(call int) bool
	part  func(len int) int // how much of a failing write goes out
	cut   bool              // can take bytes back, as a file can
	panic bool
}

func (f *faulty) Write(b []byte) (int, error) {
	f.calls++
	if !f.fails(f.calls) {
		return f.out.Write(b)
	}
	if f.panic {
		panic("writer gone")
	}
	n, _ := f.out.Write(b[:f.part(len(b))])
	return n, errors.New("device full")
}

func (f *faulty) Retract(n int) bool {
	if f.cut {
		s := f.out.String()
		f.out.Reset()
		f.out.WriteString(s[:len(s)-n])
	}
	return f.cut
}
func (f *faulty) Sync() error  { return nil }
func (f *faulty) Close() error { return nil }

// A write fails at the Nth operation, for every N, once, for a while and for ever,
// with nothing, a part, or all but one byte written, on a target that can take
// bytes back and on one that cannot.
//
//  1. There is never half a line, but for the one a dead pipe left at the end.
//  2. What is counted as written is there, once and in order; the rest is counted
//     as dropped.
//  3. A fault that passes loses nothing.
//
// Shown to fail by not finishing the torn line, by not retracting, and by
// counting a torn record as written.
func TestWriteFaults(t *testing.T) {
	const batches = 8
	parts := map[string]func(int) int{
		"nothing": func(int) int { return 0 },
		"half":    func(n int) int { return n / 2 },
		"almost":  func(n int) int { return n - 1 },
	}
	for nth := 1; nth <= batches; nth++ {
		for _, last := range []int{nth, nth + 2, 1 << 30} {
			for part, size := range parts {
				for _, cut := range []bool{true, false} {
					t.Run(fmt.Sprintf("%d-%d/%s/cut=%v", nth, last, part, cut), func(t *testing.T) {
						t.Parallel()
						forever := last == 1<<30
						f := &faulty{part: size, cut: cut, fails: func(call int) bool { return call >= nth && call <= last }}
						o := SinkOptions{Name: "faulty", Retry: time.Minute}
						if forever {
							o.Retry = -1
						}
						r := startRunner(With(&lineSink{name: "faulty", format: &jsonFormat{}, to: f}, o), nil, nil)
						total := feed(t, r, batches)
						s := r.finish()

						out := f.out.String()
						whole := out[:strings.LastIndexByte(out, '\n')+1]
						if whole != out && (cut || !forever) {
							t.Errorf("half a line is left: %q", out[len(whole):])
						}
						lines := objects(t, whole)
						for i := 1; i < len(lines); i++ {
							if lines[i]["n"].(float64) <= lines[i-1]["n"].(float64) {
								t.Fatalf("line %d repeats or goes back: %v after %v", i, lines[i]["n"], lines[i-1]["n"])
							}
						}
						torn := s.Dropped[DropTorn] // may have been completed later
						if n := uint64(len(lines)); n < s.Written || n > s.Written+torn {
							t.Errorf("%d lines, %d counted as written, %d as torn", n, s.Written, torn)
						}
						if !forever && (s.Written != uint64(total) || len(lines) != total) {
							t.Errorf("lost something in a fault that passed: %d of %d written, %+v", s.Written, total, s)
						}
						if s.accounted() != uint64(total) || s.Pending != 0 {
							t.Errorf("account does not add up to %d: %+v", total, s)
						}
						if s.Errors == 0 || !strings.Contains(s.LastError, "device full") {
							t.Errorf("errors %d, last %q", s.Errors, s.LastError)
						}
					})
				}
			}
		}
	}
}

func TestSinkPanicIsItsOwn(t *testing.T) {
	f := &faulty{panic: true, fails: func(call int) bool { return call == 1 }}
	r := startRunner(&lineSink{name: "p", format: &jsonFormat{}, to: f}, nil, nil)
	b := newBatch(1)
	b.recs = append(b.recs, numbered(t, 0, 10)...)
	b.refs.Store(1)
	r.push(b)
	answer := make(chan error, 1)
	r.flushAfter(answer, Synced)
	err := <-answer
	var se *SinkError
	if !errors.As(err, &se) || se.Sink != "p" || !strings.Contains(err.Error(), "writer gone") {
		t.Errorf("sync says %v", err)
	}
	feed(t, r, 1)
	if s := r.finish(); s.Written != 10 || s.Dropped[DropError] != 10 {
		t.Errorf("%+v", s)
	}
}

// gate is a sink that stands still while it is shut.
type gate struct {
	keeper
	mu   sync.Mutex
	slow time.Duration
	in   chan struct{} // told at each Write
}

func newGate() *gate { return &gate{in: make(chan struct{}, 1000)} }

func (g *gate) Write(b []Record) error {
	g.in <- struct{}{}
	g.mu.Lock()
	defer g.mu.Unlock()
	time.Sleep(g.slow)
	return g.keeper.Write(b)
}

// A sink that stands still costs the others nothing until its queue is full, and
// little after that; what it loses is counted, and it goes on when it can.
func TestStalledSink(t *testing.T) {
	g, other := newGate(), &keeper{}
	g.mu.Lock()
	c := newCollector(t, CollectorOptions{Sinks: []Sink{
		With(g, SinkOptions{Name: "gate", Queue: 20000, Stall: 20 * time.Millisecond}),
		With(other, SinkOptions{Name: "other"}),
	}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	const n = 5000
	for i := range n {
		l.Info("x", "i", i)
	}
	for len(other.all()) < n { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	s := c.Stats()
	if s.Sinks[0].Dropped[DropStalled] == 0 || s.Sinks[0].Written != 0 {
		t.Errorf("stalled sink: %+v", s.Sinks[0])
	}
	g.mu.Unlock()
	flushAll(t, c)
	l.Info("after")
	flushAll(t, c)
	s = c.Stats()
	a := s.Sinks[0]
	if got := g.all(); uint64(len(got)) != a.Written || got[len(got)-1].Message != "after" {
		t.Errorf("the stalled sink has %d records, counted %d", len(got), a.Written)
	}
	const all = n + 3 // "after", and what is told of the outage
	if a.Written+a.Dropped[DropStalled] != all || s.Sinks[1].Written != all || s.Delivered != all {
		t.Errorf("account: %+v", s)
	}
}

// What waits for a sink that stands still takes no more memory than its queue may,
// also when it comes in drops. Shown to fail with batches of one size.
func TestQueueIsBounded(t *testing.T) {
	g := newGate()
	g.mu.Lock()
	const limit = 64 << 10
	c := newCollector(t, CollectorOptions{Window: 50 * time.Microsecond, Sinks: []Sink{With(g, SinkOptions{Queue: limit, Stall: -1})}})
	l := slog.New(c.Handler())
	for i := range 1000 {
		l.Info("drop", "i", i)
		for c.Stats().Delivered <= uint64(i) {
			c.wakeUp()
			time.Sleep(20 * time.Microsecond)
		}
	}
	r := c.sinks[0]
	r.mu.Lock()
	bytes, records := 0, 0
	for _, q := range r.queue {
		bytes += q.b.bytes + cap(q.b.recs)*recordSize
		records += len(q.b.recs)
	}
	r.mu.Unlock()
	if bytes > limit || records < limit/recordSize/4 {
		t.Errorf("%d records wait in %d bytes, the limit is %d", records, bytes, limit)
	}
	g.mu.Unlock()
	c.Close(t.Context())
	if st := c.Stats(); st.Sinks[0].accounted() != st.Delivered || st.Delivered < 1000 || st.Sinks[0].Dropped[DropStalled] == 0 {
		t.Errorf("%+v", st)
	}
}

// A sink that is slow but works holds the workers back and loses nothing.
func TestSlowSinkPushesBack(t *testing.T) {
	g := newGate()
	g.slow = 2 * time.Millisecond
	c := newCollector(t, CollectorOptions{RingSize: 8192, MaxRecord: 512, Sinks: []Sink{With(g, SinkOptions{Queue: 4096})}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	const n = 3000
	for i := range n {
		l.Info("x", "i", i)
	}
	flushAll(t, c)
	if got := len(g.all()); got != n {
		t.Errorf("%d of %d records arrived: %+v", got, n, c.Stats())
	}
	if s := w.Stats(); s.Committed != n || sum(s.Dropped) != 0 {
		t.Errorf("worker's account: %+v", s)
	}
}

// A sink that fails costs nobody a wait, whatever its stall time; what it is
// offered again comes when it works again. Shown to fail by waiting for it.
func TestFailingSinkIsNotWaitedFor(t *testing.T) {
	other, late := &keeper{}, &keeper{}
	var works atomic.Bool
	bad := sinkFunc(func(b []Record) error {
		if !works.Load() {
			return &WriteError{Retry: true, Err: errors.New("database is down")}
		}
		return late.Write(b)
	})
	c := newCollector(t, CollectorOptions{Sinks: []Sink{
		With(bad, SinkOptions{Name: "bad", Queue: 20000, Stall: time.Hour, Retry: time.Hour}), other}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	l.Info("first")
	for c.Stats().Sinks[0].Errors == 0 { // this and the next are bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	const n = 5000
	for i := range n - 1 {
		l.Info("x", "i", i)
	}
	for len(other.all()) < n {
		time.Sleep(time.Millisecond)
	}
	works.Store(true)
	err := c.Flush(t.Context())
	if err == nil || !strings.Contains(err.Error(), `sink bad: database is down`) {
		t.Errorf("Flush says %v", err)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Errorf("the next Flush says %v", err)
	}
	s := c.Stats().Sinks[0]
	if got := late.all(); uint64(len(got)) != s.Written || s.Written+s.Dropped[DropError] != n+2 || s.Dropped[DropError] == 0 || got[0].Message != "first" {
		t.Errorf("%d arrived late: %+v", len(got), s)
	}
}

// An error that says nothing of what was written is not tried again.
func TestPlainErrorLosesTheBatch(t *testing.T) {
	calls := 0
	r := startRunner(sinkFunc(func([]Record) error { calls++; return errors.New("no") }), nil, nil)
	feed(t, r, 3)
	if s := r.finish(); calls != 3 || s.Errors != 3 || s.Dropped[DropError] != 30 || s.Pending != 0 {
		t.Errorf("%d calls, %+v", calls, s)
	}
}

type sinkFunc func([]Record) error

func (f sinkFunc) Write(b []Record) error { return f(b) }
func (sinkFunc) Sync() error              { return nil }
func (sinkFunc) Close() error             { return nil }

func TestSinkLevelAndFilter(t *testing.T) {
	all, warn, odd := &keeper{}, &keeper{}, &keeper{}
	c := newCollector(t, CollectorOptions{Level: slog.LevelDebug, Sinks: []Sink{
		all,
		With(warn, SinkOptions{Level: slog.LevelWarn}),
		With(odd, SinkOptions{Filter: func(r *Record) bool {
			if r.Message == "panic" {
				panic("in filter")
			}
			return r.NumAttrs() == 1
		}}),
	}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	l.Debug("a")
	l.Warn("b", "k", 1)
	l.Error("c", "k", 1, "j", 2)
	l.Info("panic")
	c.Flush(t.Context())
	s := c.Stats().Sinks
	for i, want := range []struct{ written, filtered uint64 }{{4, 0}, {2, 2}, {1, 3}} {
		if s[i].Written != want.written || s[i].Filtered != want.filtered || s[i].Pending != 0 {
			t.Errorf("sink %d: %+v, want %+v", i, s[i], want)
		}
	}
	if s[2].Errors != 1 || len(warn.all()) != 2 || len(odd.all()) != 1 {
		t.Errorf("%+v", s)
	}
}

// A file gets whole lines behind whatever it held.
func TestOpenAppends(t *testing.T) {
	for held, want := range map[string]string{
		"":                "",
		"{\"a\":1}\n":     "{\"a\":1}\n",
		"{\"a\":1}\n{\"b": "{\"a\":1}\n{\"b\n", // a crash's half line is ended
	} {
		path := filepath.Join(t.TempDir(), "run.jsonl")
		if err := os.WriteFile(path, []byte(held), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenJSON(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Write(numbered(t, 0, 3)), s.Sync(), s.Close()); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(path)
		got, ok := strings.CutPrefix(string(b), want)
		if !ok || len(objects(t, got)) != 3 {
			t.Errorf("after %q the file holds %q", held, b)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenJSON(filepath.Join(dir, "no", "run.jsonl"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "run.jsonl") || !strings.Contains(err.Error(), "create its folder") {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := OpenText(dir); err == nil {
		t.Error("a folder was opened as a log file")
	}
	for name, s := range map[string]Sink{
		"nil sink":    nil,
		"nil inside":  With(nil, SinkOptions{Name: "x"}),
		"nil writer":  JSON(nil),
		"nil handler": FromHandler(nil),
	} {
		if c, err := NewCollector(CollectorOptions{Sinks: []Sink{s}}); err == nil {
			c.Close(context.Background())
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(err.Error(), "logring: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two sinks on one file: neither cuts off what the other wrote.
func TestRetractKeepsOthersBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := openFile(path, FileOptions{NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(f, "mine\nhal")
	if !f.Retract(3) {
		t.Error("could not take back its own bytes")
	}
	io.WriteString(f, "hal")
	other, err := openFile(path, FileOptions{NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	io.WriteString(other, "theirs\n")
	if f.Retract(3) {
		t.Error("cut off another's bytes")
	}
	if b, _ := os.ReadFile(path); string(b) != "mine\nhal\ntheirs\n" {
		t.Errorf("file: %q", b)
	}
}
