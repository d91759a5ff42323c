package cfgblob

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A document grows from 4 KiB to a size 4096 times that while workers read it, and
// shrinks again.
func TestGrowth(t *testing.T) {
	largest := 1 << 20
	if os.Getenv("SHMKIT_STRESS") != "" {
		largest = 64 << 20
	}
	s := newStore(t, StoreOptions{Name: "job", Size: 4 << 10, MaxSize: largest}, `{"n":0,"fill":""}`)
	r, _ := connected(t, s, "train", 0)
	alone := attach(t, s) // a reader that is not connected
	type doc struct {
		N    int    `json:"n"`
		Fill string `json:"fill"`
	}
	live, own := bind[doc](t, r), bind[doc](t, s)
	// A watcher follows from segment to segment.
	watched := make(chan uint64, 1)
	go func() {
		var last uint64
		for snap := range r.Watch(t.Context()) {
			if n, _ := snap.Get("n"); n == jsonNumber("-1") {
				last = snap.Version
				break
			}
		}
		watched <- last
	}()
	n := 0
	put := func(size int) {
		t.Helper()
		n++
		v, err := s.Publish("x", fmt.Appendf(nil, `{"n":%d,"fill":"%s"}`, n, strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []*Live[doc]{live, own} {
			if c := l.Load(); c.N != n || len(c.Fill) != size || l.Version() != v || l.Err() != nil {
				t.Fatalf("%d bytes: got number %d and %d bytes, version %d of %d, %v", size, c.N, len(c.Fill), l.Version(), v, l.Err())
			}
		}
	}
	for size := 1 << 10; size < largest; size *= 2 {
		put(size)
		put(size + 1)
	}
	if room := s.general.room; room != largest {
		t.Errorf("room for %d bytes, want %d", room, largest)
	}
	_, err := s.Publish("x", fmt.Appendf(nil, `{"fill":"%s"}`, strings.Repeat("x", largest)))
	if !errors.Is(err, ErrTooLarge) || docOf(r) != docOf(s) {
		t.Errorf("beyond the limit: %v", err)
	}
	put(10)
	if _, err := s.Set("x", "n", -1, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case v := <-watched:
		if v != s.Version() {
			t.Errorf("the watcher ended with version %d", v)
		}
	case <-time.After(patience):
		t.Error("the watcher was left behind")
	}
	if err := alone.Err(); err == nil || !strings.Contains(err.Error(), "has moved to another segment: connect the Reader") {
		t.Errorf("not connected: %v", err)
	}
	if r.Err() != nil {
		t.Error(r.Err())
	}
}
