package logring

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// gatedSink lets writes and syncs go on when it is told to.
type gatedSink struct {
	write, sync chan struct{} // closed: go on

	mu              sync.Mutex
	written, synced int
}

func (s *gatedSink) Write(batch []Record) error {
	<-s.write
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += len(batch)
	return nil
}

func (s *gatedSink) Sync() error {
	<-s.sync
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = s.written
	return nil
}

func (s *gatedSink) Close() error { return nil }

func (s *gatedSink) counts() (written, synced int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written, s.synced
}

// Each level is reached before the next one: while no write goes on Collected is,
// while no sync goes on Written is.
func TestFlushLevels(t *testing.T) {
	s := &gatedSink{write: make(chan struct{}), sync: make(chan struct{})}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{s}})
	w, _ := onHeap(t, c, "g", 0)
	slog.New(w.Handler(nil)).Info("one")
	slog.New(c.Handler()).Info("two")

	if err := c.FlushTo(t.Context(), Collected); err != nil {
		t.Fatal(err)
	}
	if st := c.Stats(); st.Delivered != 2 || st.Pending != 0 {
		t.Errorf("collected: %d delivered, %d pending, want 2, 0", st.Delivered, st.Pending)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.flushSinks(short, Written); err == nil || !strings.Contains(err.Error(), "gatedSink") || !strings.Contains(err.Error(), "still writing") {
		t.Errorf("Written while the sink stands: %v", err)
	}
	close(s.write)
	if err := c.FlushTo(t.Context(), Written); err != nil {
		t.Fatal(err)
	}
	if written, synced := s.counts(); written != 2 || synced != 0 {
		t.Errorf("written: %d written, %d synced, want 2, 0", written, synced)
	}
	close(s.sync)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, synced := s.counts(); synced != 2 {
		t.Errorf("synced: %d synced, want 2", synced)
	}
}

func TestFlushLevelUnknown(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	for _, l := range []FlushLevel{0, 4, -1} {
		if err := c.FlushTo(t.Context(), l); err == nil || !strings.Contains(err.Error(), "choose Collected, Written or Synced") {
			t.Errorf("level %v: error %v, want one that says what to choose", l, err)
		}
	}
}
