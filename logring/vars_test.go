package logring

import (
	"encoding/json"
	"expvar"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// What lies in the rings, how old what is not written is, and how long the rest
// took can be seen while it is so.
func TestMetrics(t *testing.T) {
	g := newGate()
	g.mu.Lock() // the sink stands still
	c := newCollector(t, CollectorOptions{RingSize: 32 << 10, MaxRecord: 1 << 10, MaxWait: time.Hour,
		Sinks: []Sink{With(g, SinkOptions{Name: "gate", Queue: 1, Stall: time.Hour})}})
	w, _ := onHeap(t, c, "g", 1)
	l := slog.New(w.Handler(nil))
	full := make(chan struct{})
	var stop atomic.Bool
	go func() {
		defer close(full)
		for !stop.Load() { // until the ring is full; then it waits
			l.Info("x")
		}
	}()
	var s Stats
	for ; ; runtime.Gosched() { // bounded by the test's deadline
		s = c.Stats()
		if len(s.Workers) == 0 {
			continue
		}
		k, r := s.Sinks[0], s.Workers[0]
		if k.Lag > 5*time.Millisecond && s.Lag > 5*time.Millisecond && r.RingUsed > r.RingSize/4 {
			break
		}
	}
	if r := s.Workers[0]; r.RingUsed > r.RingSize || r.RingSize < 16<<10 {
		t.Errorf("%+v", r)
	}
	stop.Store(true)
	g.mu.Unlock()
	<-full
	flushAll(t, c)
	s = c.Stats()
	k := s.Sinks[0]
	if s.Lag != 0 || k.Lag != 0 || s.Workers[0].RingUsed != 0 {
		t.Errorf("after a flush: %+v", s)
	}
	if k.Latency.Count() != k.Written || k.Latency.Quantile(1) < 5*time.Millisecond || k.Busy == 0 || k.Batches == 0 || k.Batches > k.Written {
		t.Errorf("%+v", k)
	}
	var back Stats
	if err := json.Unmarshal([]byte(expvar.Var(c.Var()).String()), &back); err != nil || back.Delivered != s.Delivered || len(back.Sinks) != 1 {
		t.Errorf("%v: %s", err, c.Var())
	}
}

func TestLatencies(t *testing.T) {
	var l Latencies
	if l.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	l.add(-1, 1)
	l.add(50*time.Microsecond, 1)
	l.add(51*time.Microsecond, 97)
	l.add(time.Hour, 1)
	for _, x := range []struct {
		q    float64
		want time.Duration
	}{{0, 50 * time.Microsecond}, {0.02, 50 * time.Microsecond}, {0.5, 100 * time.Microsecond}, {0.99, 100 * time.Microsecond}, {1, 1<<63 - 1}} {
		if got := l.Quantile(x.q); got != x.want {
			t.Errorf("quantile %v: %v, want %v", x.q, got, x.want)
		}
	}
	if l.Count() != 100 || l.Sum != time.Hour+(50+97*51)*time.Microsecond {
		t.Errorf("%+v", l)
	}
}
