package logring

import (
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
)

// A thousand workers, one of which never stops to log:
//
//  1. What the others log is delivered meanwhile.
//  2. No worker costs a goroutine.
//  3. When they are gone, their memory is.
func TestThousandWorkers(t *testing.T) {
	const workers, each, rounds = 1000, 5, 3
	var seen [workers]atomic.Int64
	var flood atomic.Int64
	sink := sinkFunc(func(recs []Record) error {
		for i := range recs {
			if recs[i].Group == "flood" {
				flood.Add(1)
			} else {
				seen[recs[i].Worker].Add(1)
			}
		}
		return nil
	})
	c := newCollector(t, CollectorOptions{RingSize: 4096, MaxRecord: 512, Sinks: []Sink{sink}})
	loud, _ := onHeap(t, c, "flood", 0)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l := slog.New(loud.Handler(nil))
		for {
			select {
			case <-stop:
				return
			default:
				l.Info("flood")
			}
		}
	}()
	goroutines := runtime.NumGoroutine()
	var heap [rounds]uint64
	for round := range rounds {
		var ws [workers]*Writer
		var rs [workers]*inlet
		for rank := range workers {
			view, layout := heapLease(t, &c.o)
			r, err := c.inletOver(view, layout, "heap", "g", rank)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.attach(r); err != nil {
				t.Fatal(err)
			}
			if ws[rank], err = newWriter(view, c.terms(), func() error { r.Message(nil, nil); return nil }); err != nil {
				t.Fatal(err)
			}
			rs[rank] = r
		}
		for i := range workers * each {
			slog.New(ws[i%workers].Handler(nil)).Info("x")
		}
		if n := runtime.NumGoroutine() - goroutines; n > 2 { // of the runtime, perhaps
			t.Errorf("%d goroutines for %d workers", n, workers)
		}
		for rank := range workers {
			for seen[rank].Load() < int64((round+1)*each) { // bounded by the test's deadline
				runtime.Gosched()
			}
		}
		for rank := range workers {
			ws[rank].Close()
			rs[rank].Close()
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap[round] = m.HeapAlloc
	}
	close(stop)
	<-ended
	flushAll(t, c)
	s := c.Stats()
	checkAccount(t, s)
	if want := uint64(workers*each*rounds) + uint64(flood.Load()); s.Delivered != want || s.Pending != 0 {
		t.Errorf("%d delivered, %d pending, want %d", s.Delivered, s.Pending, want)
	}
	if heap[rounds-1] > heap[0]+8<<20 {
		t.Errorf("the heap grows: %v bytes after each round of %d workers", heap, workers)
	}
}

// A record of a worker that logs before its starter was told its pid waits for it;
// and what the node says of its end, when the lease is closed, comes after its last
// record.
func TestBeginAndEnd(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	const n = 50
	for rank := range n {
		view, layout := heapLease(t, &c.o)
		r, err := c.inletOver(view, layout, "heap", "g", rank)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.attach(r); err != nil {
			t.Fatal(err)
		}
		w, err := newWriter(view, c.terms(), nil)
		if err != nil {
			t.Fatal(err)
		}
		l := slog.New(w.Handler(nil))
		l.Info("early")
		if rank%2 == 0 {
			flushAll(t, c)
		}
		r.Started(1000+rank, nil)
		l.Info("last")
		w.Close()
		r.Close()
		slog.New(c.Handler()).Info("worker ended", "rank", rank)
	}
	flushAll(t, c)
	var got []string
	for _, r := range k.all() {
		got = append(got, r.Message)
		if r.Group == "g" && r.PID != 1000+r.Worker {
			t.Fatalf("%s of worker %d has pid %d", r.Message, r.Worker, r.PID)
		}
	}
	if len(got) != 3*n {
		t.Fatalf("%d records", len(got))
	}
	for i, want := range []string{"early", "last", "worker ended"} {
		for j := i; j < len(got); j += 3 {
			if got[j] != want {
				t.Fatalf("record %d is %q, want %q", j, got[j], want)
			}
		}
	}
}
