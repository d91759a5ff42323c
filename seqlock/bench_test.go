package seqlock_test

import (
	"sync/atomic"
	"testing"

	"shmkit/seqlock"
)

// What makes these comparable: each reader ends with a private copy of the value, each
// writer begins with one, all memory is in the cache of one processor, nobody else uses
// it, and every access is a call. The exception is said in its name: "seqcount/inline" is
// the loop written out in place, which no accessor that can be told to fail can be;
// "seqcount/value" returns the value as gVisor's SeqAtomicLoad does. atomic.Pointer
// needs one address space and a collector, and is the price of that freedom: a read is a
// copy, a write an allocation.

type (
	b64  [8]uint64
	b4K  [512]uint64
	b64K [8192]uint64
)

func BenchmarkRead(b *testing.B) {
	b.Run("64", benchRead[b64])
	b.Run("4K", benchRead[b4K])
	b.Run("64K", benchRead[b64K])
}

func BenchmarkWrite(b *testing.B) {
	b.Run("64", benchWrite[b64])
	b.Run("4K", benchWrite[b4K])
	b.Run("64K", benchWrite[b64K])
}

func newLatch[T any](tb testing.TB, slots int) *seqlock.Latch[T] {
	size, err := seqlock.LatchSize[T](slots)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := seqlock.NewLatch[T](heap(tb, size), slots)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := l.Store(new(T)); err != nil {
		tb.Fatal(err)
	}
	return l
}

func newOddEven[T any](tb testing.TB) *seqlock.OddEven[T] {
	size, err := seqlock.OddEvenSize[T]()
	if err != nil {
		tb.Fatal(err)
	}
	l, err := seqlock.NewOddEven[T](heap(tb, size))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := l.Store(new(T)); err != nil {
		tb.Fatal(err)
	}
	return l
}

func newPair(tb testing.TB, payload, slots int) (*seqlock.Writer, *seqlock.Reader) {
	view := formattedView(tb, payload, slots)
	w, err := seqlock.OpenWriter(view)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := seqlock.OpenReader(view)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Publish(make([]byte, payload)); err != nil {
		tb.Fatal(err)
	}
	return w, r
}

func benchRead[T any](b *testing.B) {
	size := int64(len(asBytes(new(T))))
	v := new(T)
	b.Run("Latch", func(b *testing.B) {
		l := newLatch[T](b, 4)
		b.SetBytes(size)
		for b.Loop() {
			if _, err := l.Load(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Reader", func(b *testing.B) {
		_, r := newPair(b, int(size), 4)
		buf := make([]byte, size)
		b.SetBytes(size)
		for b.Loop() {
			if _, _, err := r.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("OddEven", func(b *testing.B) {
		l := newOddEven[T](b)
		b.SetBytes(size)
		for b.Loop() {
			if _, err := l.Load(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seqcount", func(b *testing.B) {
		g := new(guarded[T])
		b.SetBytes(size)
		for b.Loop() {
			g.load(v)
		}
	})
	b.Run("seqcount/value", func(b *testing.B) {
		g := new(guarded[T])
		b.SetBytes(size)
		for b.Loop() {
			*v = g.loadValue()
		}
	})
	b.Run("seqcount/inline", func(b *testing.B) {
		g := new(guarded[T])
		b.SetBytes(size)
		for b.Loop() {
			for {
				e := g.seq.beginRead()
				*v = g.val
				if g.seq.readOk(e) {
					break
				}
			}
		}
	})
	b.Run("atomic.Pointer", func(b *testing.B) {
		var p atomic.Pointer[T]
		p.Store(new(T))
		b.SetBytes(size)
		for b.Loop() {
			*v = *p.Load()
		}
	})
}

func benchWrite[T any](b *testing.B) {
	size := int64(len(asBytes(new(T))))
	v := new(T)
	b.Run("Latch", func(b *testing.B) {
		l := newLatch[T](b, 4)
		b.SetBytes(size)
		for b.Loop() {
			if _, err := l.Store(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Writer", func(b *testing.B) {
		w, _ := newPair(b, int(size), 4)
		p := make([]byte, size)
		b.SetBytes(size)
		for b.Loop() {
			if _, err := w.Publish(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("OddEven", func(b *testing.B) {
		l := newOddEven[T](b)
		b.SetBytes(size)
		for b.Loop() {
			if _, err := l.Store(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seqcount", func(b *testing.B) {
		g := new(guarded[T])
		b.SetBytes(size)
		for b.Loop() {
			g.store(v)
		}
	})
	b.Run("atomic.Pointer", func(b *testing.B) {
		var p atomic.Pointer[T]
		b.SetBytes(size)
		for b.Loop() {
			n := new(T)
			*n = *v
			p.Store(n)
		}
	})
}

// TestNoAllocation: guarantee 5, without the suite's adapters in between.
func TestNoAllocation(t *testing.T) {
	l, o := newLatch[b64](t, 4), newOddEven[b64](t)
	w, r := newPair(t, 4096, 4)
	v, p, buf := new(b64), make([]byte, 4096), make([]byte, r.MaxPayload())
	for what, f := range map[string]func() error{
		"Latch.Store":    func() error { _, err := l.Store(v); return err },
		"Latch.Load":     func() error { var v b64; _, err := l.Load(&v); return err },
		"OddEven.Store":  func() error { _, err := o.Store(v); return err },
		"OddEven.Load":   func() error { var v b64; _, err := o.Load(&v); return err },
		"Writer.Publish": func() error { _, err := w.Publish(p); return err },
		"Reader.Read":    func() error { _, _, err := r.Read(buf); return err },
		"Version":        func() error { _, _ = r.Version(), l.Version(); return nil },
	} {
		var failed error
		if n := testing.AllocsPerRun(100, func() {
			if err := f(); err != nil {
				failed = err
			}
		}); n != 0 || failed != nil {
			t.Errorf("%s: %v allocations, %v", what, n, failed)
		}
	}
}
