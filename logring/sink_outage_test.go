package logring

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// sinkReports returns what the node said about sinks.
func sinkReports(recs []Record) (all []string) {
	for _, r := range recs {
		if r.Message == msgSinkFailed || r.Message == msgSinkWorks {
			all = append(all, jsonLine(r))
		}
	}
	return all
}

// A sink that fails, for however many batches, is one record of the node, its
// recovery another, with what was lost; they reach the others, and it itself.
func TestOutageIsToldOnce(t *testing.T) {
	bad, other := &keeper{}, &keeper{}
	var fails atomic.Bool
	fails.Store(true)
	c := newCollector(t, CollectorOptions{Sinks: []Sink{
		With(sinkFunc(func(b []Record) error {
			if fails.Load() {
				return errors.New("device full")
			}
			return bad.Write(b)
		}), SinkOptions{Name: "bad"}),
		other,
	}})
	l := slog.New(c.Handler())
	for range 5 {
		l.Info("lost")
		c.Flush(t.Context())
	}
	fails.Store(false)
	l.Info("kept")
	c.Flush(t.Context())
	flushAll(t, c)
	got := sinkReports(other.all())
	if len(got) != 2 || !strings.Contains(got[0], `"level":"ERROR","msg":"log sink failed"`) || !strings.Contains(got[0], `"sink":"bad","error":"device full"`) ||
		!strings.Contains(got[1], "works again") || !strings.Contains(got[1], `"lost":6`) {
		t.Errorf("told: %q", got)
	}
	if own := sinkReports(bad.all()); len(own) != 1 || !strings.Contains(own[0], "works again") {
		t.Errorf("the sink itself learns %q", own)
	}
	checkAccount(t, c.Stats())
}

// A sink that fails at every other batch, or at each record about itself, does not
// feed itself: what it is told ends.
func TestOutageFeedsNobody(t *testing.T) {
	for name, fails := range map[string]func(n int64, b []Record) bool{
		"flaps":          func(n int64, b []Record) bool { return n%2 == 1 },
		"own records":    func(n int64, b []Record) bool { return onlyReports(b) },
		"always":         func(n int64, b []Record) bool { return true },
		"own and others": func(n int64, b []Record) bool { return n%2 == 1 || onlyReports(b) },
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			other := &keeper{}
			c := newCollector(t, CollectorOptions{Sinks: []Sink{
				sinkFunc(func(b []Record) error {
					if fails(calls.Add(1), b) {
						return errors.New("no")
					}
					return nil
				}), other}})
			l := slog.New(c.Handler())
			for range 20 {
				l.Info("x")
				c.Flush(t.Context())
			}
			for range 3 { // what the last ones brought about
				c.Flush(t.Context())
			}
			n := calls.Load()
			c.Flush(t.Context())
			if calls.Load() != n {
				t.Error("it never ends")
			}
			if got := sinkReports(other.all()); len(got) > 2 {
				t.Errorf("told %d times: %q", len(got), got)
			}
		})
	}
}

// A failed sync is an outage of its own; the records are written all the same.
func TestSyncOutage(t *testing.T) {
	s := &syncer{err: errors.New("input/output error")}
	other := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{With(s, SinkOptions{Name: "disk", Sync: SyncPolicy{Batch: true}}), other}})
	l := slog.New(c.Handler())
	for range 3 {
		l.Info("x")
		if err := c.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "sink disk: input/output error") {
			t.Errorf("Flush says %v", err)
		}
	}
	c.Flush(t.Context())
	if got := sinkReports(other.all()); len(got) != 1 || !strings.Contains(got[0], "input/output error") {
		t.Errorf("told %q", got)
	}
	st := c.Stats().Sinks[0]
	if st.Written != 4 || sum(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
}

// syncer counts its syncs.
type syncer struct {
	keeper
	err   error
	syncs atomic.Int64
}

func (s *syncer) Sync() error { s.syncs.Add(1); return s.err }

// When a sink is synced without being asked: never, after every batch, after a
// batch that holds something bad, or some time after a write.
func TestSyncPolicy(t *testing.T) {
	for _, c := range []struct {
		name  string
		p     SyncPolicy
		level slog.Level
		want  int64 // of 3 batches
	}{
		{"never", SyncPolicy{}, slog.LevelError, 0},
		{"batch", SyncPolicy{Batch: true}, slog.LevelInfo, 3},
		{"level reached", SyncPolicy{Level: slog.LevelWarn}, slog.LevelError, 3},
		{"level not reached", SyncPolicy{Level: slog.LevelWarn}, slog.LevelInfo, 0},
		{"rarely", SyncPolicy{Every: time.Hour}, slog.LevelInfo, 0},
	} {
		s := &syncer{}
		r := startRunner(With(s, SinkOptions{Sync: c.p}), nil, nil)
		for range 3 {
			rec := record(t, 0, func(l *slog.Logger) { l.Log(t.Context(), c.level, "x") })
			b := newBatch(1)
			b.recs = append(b.recs, rec)
			b.refs.Store(1)
			r.push(b)
			for s.len() == 0 { // bounded by the test's deadline
				time.Sleep(time.Millisecond)
			}
			s.clear()
		}
		r.finish()
		if got := s.syncs.Load(); got != c.want {
			t.Errorf("%s: %d syncs, want %d", c.name, got, c.want)
		}
	}
	s := &syncer{}
	r := startRunner(With(s, SinkOptions{Sync: SyncPolicy{Every: time.Millisecond}}), nil, nil)
	feed(t, r, 1) // syncs once itself
	b := newBatch(1)
	b.recs = append(b.recs, numbered(t, 0, 1)...)
	b.refs.Store(1)
	r.push(b)
	for s.syncs.Load() < 2 { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	r.finish()
}

func (k *keeper) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.recs)
}

func (k *keeper) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recs = nil
}

// badDisk is a file whose nth sync fails.
type badDisk struct {
	faulty
	syncs int
	fails func(call int) bool
}

func (d *badDisk) Sync() error {
	if d.syncs++; d.fails(d.syncs) {
		return errors.New("input/output error")
	}
	return nil
}

// A sync fails at the Nth operation, for every N, once and for ever: every record is
// written once and whole, none counts as dropped, and the failures are told.
func TestSyncFaults(t *testing.T) {
	for nth := 1; nth <= 8; nth++ {
		for _, forever := range []bool{false, true} {
			d := &badDisk{faulty: faulty{fails: func(int) bool { return false }}, fails: func(call int) bool { return call == nth || forever && call > nth }}
			r := startRunner(With(&lineSink{name: "disk", format: &jsonFormat{}, to: d}, SinkOptions{Sync: SyncPolicy{Batch: true}}), nil, nil)
			total := feed(t, r, 4)
			s := r.finish()
			if lines := objects(t, d.out.String()); len(lines) != total || s.Written != uint64(total) || sum(s.Dropped) != 0 {
				t.Errorf("sync %d, for ever %v: %d lines of %d, %+v", nth, forever, len(lines), total, s)
			}
			if want := uint64(1); !forever && s.Errors != want || forever && s.Errors != uint64(8-nth+1) {
				t.Errorf("sync %d, for ever %v: %d errors of %d syncs", nth, forever, s.Errors, d.syncs)
			}
		}
	}
}
