package cfgblob

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

// What is measured: a reader attached to a real sealed segment, in the process
// of its owner. Nothing changes while Load and Get are measured, as is usual.

func benchLive(b *testing.B) *Live[logConfig] {
	s := newStore(b, StoreOptions{}, `{"level":"info"}`)
	return bind[logConfig](b, attach(b, s))
}

var sink atomic.Int64 // keeps results alive

func BenchmarkLoad(b *testing.B) {
	l := benchLive(b)
	n := 0
	for b.Loop() {
		n += len(l.Load().Level)
	}
	sink.Add(int64(n))
}

// The floor for BenchmarkLoad: one pointer load, nothing shared.
func BenchmarkAtomicPointer(b *testing.B) {
	var p atomic.Pointer[logConfig]
	p.Store(&logConfig{Level: "info"})
	n := 0
	for b.Loop() {
		n += len(p.Load().Level)
	}
	sink.Add(int64(n))
}

func BenchmarkLoadParallel(b *testing.B) {
	l := benchLive(b)
	b.RunParallel(func(pb *testing.PB) {
		n := 0
		for pb.Next() {
			n += len(l.Load().Level)
		}
		sink.Add(int64(n))
	})
}

func BenchmarkGet(b *testing.B) {
	s := newStore(b, StoreOptions{}, `{"log":{"level":"info","sinks":[{"path":"out"}]},"other":{"a":1,"b":2}}`)
	r := attach(b, s)
	for _, path := range []string{"log.level", "log.sinks.0.path"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				v, _ := r.Get(path)
				n += len(v.(string))
			}
			sink.Add(int64(n))
		})
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 60 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := newStore(b, StoreOptions{}, `{}`)
			fill := strings.Repeat("x", size)
			docs := [2][]byte{fmt.Appendf(nil, `{"n":0,"fill":%q}`, fill), fmt.Appendf(nil, `{"n":1,"fill":%q}`, fill)}
			b.SetBytes(int64(len(docs[0])))
			for i := 0; b.Loop(); i++ {
				if _, err := s.Publish("bench", docs[i%2]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One publication, seen by a watcher in this process and answered.
func BenchmarkPublishToWatcher(b *testing.B) {
	s := newStore(b, StoreOptions{}, `{"n":0}`)
	r := attach(b, s)
	ctx, cancel := context.WithCancel(b.Context())
	seen := make(chan uint64)
	go func() {
		for snap := range r.Watch(ctx) {
			seen <- snap.Version
		}
		close(seen)
	}()
	<-seen
	docs := [2][]byte{[]byte(`{"n":1}`), []byte(`{"n":2}`)}
	for i := 0; b.Loop(); i++ {
		v, err := s.Publish("bench", docs[i%2])
		if err != nil {
			b.Fatal(err)
		}
		for <-seen < v {
		}
	}
	cancel()
	for range seen {
	}
}

func BenchmarkParse(b *testing.B) {
	var doc strings.Builder
	doc.WriteString(`{`)
	for i := range 1000 {
		fmt.Fprintf(&doc, `"key%d":{"name":"value %d","list":[1,2.5,true,null]},`, i, i)
	}
	doc.WriteString(`"last":0}`)
	b.SetBytes(int64(doc.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse([]byte(doc.String())); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	s := newStore(b, StoreOptions{Validate: Strict[logConfig]()}, `{"level":"info"}`)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if _, err := s.Set("bench", "level", "level"+string(rune('a'+i%26)), 0); err != nil {
			b.Fatal(err)
		}
	}
}
