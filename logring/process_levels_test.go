//go:build linux

package logring

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// named logs at debug through two loggers until its group's level is raised.
var _ = proctest.Helper("named", func(args []string) {
	w := attached(args, 0)
	plain := slog.New(w.Handler(nil))
	db, http := plain.With(LoggerKey, "db.pool"), plain.With(LoggerKey, "http")
	for i := 0; plain.Enabled(context.Background(), slog.LevelInfo); i++ {
		db.Debug("db", "i", i)
		http.Debug("http", "i", i)
		time.Sleep(100 * time.Microsecond)
	}
})

// The same in a running process.
func TestNamedLoggersLive(t *testing.T) {
	k := make(chanSink, 1<<16)
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	s := start(t, c, "named", "g", 0)
	for _, step := range []struct{ rule, want string }{{"db.*", "db"}, {"http", "http"}, {"g/0:db.pool", "db"}} {
		if err := c.SetLevels(map[string]slog.Level{step.rule: slog.LevelDebug}); err != nil {
			t.Fatal(err)
		}
		for run := 0; run < 10; { // in the end only that logger is heard
			r := <-k
			if run++; r.Message != step.want {
				run = 0
			}
		}
	}
	c.SetGroupLevel("g", slog.LevelError) // it ends
	if err := s.wait(); err != nil {
		t.Error(err)
	}
	checkAccount(t, c.Stats())
}

// throttled logs 3000 times through a sample, a limit, and by a throttle of its own.
var _ = proctest.Helper("throttled", func(args []string) {
	w := attached(args, 0)
	s := slog.New(w.Handler(&HandlerOptions{Sample: Sample{First: 5, Every: 100}}))
	l := slog.New(w.Handler(&HandlerOptions{Limit: Limit{Rate: 1, Burst: 10}}))
	own := w.NewThrottle(Sample{Every: 10}, Limit{})
	plain := slog.New(w.Handler(nil))
	for i := range 1000 {
		s.Info("sampled", "i", i)
		l.Warn("limited", "i", i)
		if own.Allow("", "own", slog.LevelInfo) {
			plain.Info("own", "i", i)
		}
	}
	w.Close() // tells the rest
})

// The account of a real worker: each of its 3000 attempts is delivered, or counted
// under its reason, and what was counted is told in the stream.
func TestThrottleAccount(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	if err := start(t, c, "throttled", "count", 0).wait(); err != nil {
		t.Fatal(err)
	}
	flushAll(t, c)
	told, tales, passed := map[string]uint64{}, uint64(0), uint64(0)
	for _, r := range k.all() {
		if r.Message == "suppressed" {
			told[attrOf(t, r, "reason").String()] += attrOf(t, r, "dropped").Uint64()
			tales++
		} else {
			passed++
		}
	}
	s := c.Stats()
	if s.Attempted != 3000+tales || s.Delivered != passed+tales || s.Pending != 0 || s.Attempted != s.Delivered+sum(s.Dropped) {
		t.Errorf("account %+v; %d records passed, %d tell", s, passed, tales)
	}
	if len(s.Dropped) != 2 || told[DropSampled] != s.Dropped[DropSampled] || told[DropLimited] != s.Dropped[DropLimited] ||
		s.Dropped[DropSampled] < 1000 || s.Dropped[DropLimited] < 500 {
		t.Errorf("dropped %v, told %v", s.Dropped, told)
	}
}
