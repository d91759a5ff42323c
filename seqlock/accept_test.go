package seqlock

import (
	"errors"
	"testing"
	"unsafe"
)

// TestAccept walks one copy through everything the writer can do meanwhile, at the two
// points that matter: after p+N−2 was published (the slot is still whole) and after
// p+N−1 (its next fill may have begun). The rule has to refuse the second and, for the
// sake of progress, accept the first.
func TestAccept(t *testing.T) {
	for n := MinSlots; n <= 9; n++ {
		size, err := LatchSize[uint64](n)
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLatch[uint64](make([]byte, size), n)
		if err != nil {
			t.Fatal(err)
		}
		s := &l.w.slots
		for p := uint64(1); p < uint64(3*n); p++ {
			if l.w.last < p {
				store(t, l, p)
			}
			for l.w.last < p+uint64(n)-2 { // the reader has loaded p, and is slow
				if got := s.slot(p)[0]; got != p {
					t.Fatalf("N=%d: slot of version %d holds %d while %d is published", n, p, got, l.w.last)
				}
				if !s.accept(p) {
					t.Fatalf("N=%d: a whole copy of version %d is refused at %d", n, p, l.w.last)
				}
				store(t, l, l.w.last+1)
			}
			if got := s.slot(p)[0]; got != p || !s.accept(p) {
				t.Fatalf("N=%d: version %d at %d: holds %d, accepted %v", n, p, l.w.last, got, s.accept(p))
			}
			// The next version but one fills this slot; the next one lets it begin.
			store(t, l, l.w.last+1)
			slot, err := l.w.begin()
			if err != nil {
				t.Fatal(err)
			}
			if &slot[0] != &s.slot(p)[0] {
				t.Fatalf("N=%d: version %d does not go where %d was", n, l.w.last+1, p)
			}
			if s.accept(p) {
				t.Fatalf("N=%d: a copy of version %d is accepted while its slot may be filled at %d", n, p, l.w.last)
			}
		}
		for _, p := range []uint64{0, l.w.last + 1, l.w.last + 1<<40} { // the word was set back
			if p != 0 && s.accept(p) {
				t.Errorf("N=%d: version %d is accepted while %d is published", n, p, l.w.last)
			}
		}
	}
}

func store(t *testing.T, l *Latch[uint64], v uint64) {
	t.Helper()
	if got, err := l.Store(&v); got != v || err != nil {
		t.Fatalf("stored version %d, %v, want %d", got, err, v)
	}
}

// TestBounded: a read that can never be accepted ends, says so, and leaves nothing torn
// behind. To have every attempt overtaken for certain, the destination of the copy is the
// version word itself: the copy of slot 0 turns the version to one of slot 1, far away,
// and that one back.
func TestBounded(t *testing.T) {
	const a, b = 1 << 20, 1<<21 + 1 // versions of slots 0 and 1
	spoil := func(s *slots, word int) {
		s.words[word], s.words[s.stride+word] = b, a
		*s.published = a
	}
	check := func(form string, s *slots, err error, attempts uint64) {
		t.Helper()
		if err != ErrContended {
			t.Errorf("%s: %v", form, err)
		}
		if n := s.lapped.Load(); n != attempts {
			t.Errorf("%s: gave up after %d attempts, want %d", form, n, attempts)
		}
	}
	line := newLatch[[8]uint64](t)
	spoil(&line.w.slots, 0)
	_, err := line.Load((*[8]uint64)(unsafe.Pointer(line.w.published)))
	check("one cache line", &line.w.slots, err, maxAttempts+1) // one more by the written-out path
	if *line.w.published != 0 {
		t.Error("one cache line: a value nobody stored is left behind")
	}

	word := newLatch[uint64](t)
	spoil(&word.w.slots, 0)
	_, err = word.Load(word.w.published)
	check("one word", &word.w.slots, err, maxAttempts)
	if *word.w.published != 0 {
		t.Error("one word: a value nobody stored is left behind")
	}

	size, err := Size(8, 4)
	if err != nil {
		t.Fatal(err)
	}
	view := unsafe.Slice((*byte)(unsafe.Pointer(&make([]uint64, size/8)[0])), size)
	if err := Format(view, 8, 4); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(view)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // a length within the slot; then one that may not be believed
		r.s.lapped.Store(0)
		r.s.words[0], r.s.words[r.s.stride] = 8, 8
		spoil(&r.s, 1)
		if i == 1 {
			r.s.words[r.s.stride] = 9
		}
		p, version, err := r.Read(view[:0:8])
		if i == 0 {
			check("bytes", &r.s, err, maxAttempts)
		} else if _, ok := err.(*CorruptError); !ok || version != b {
			t.Errorf("length beyond the slot: version %d, %v", version, err)
		}
		if len(p) != 0 {
			t.Errorf("bytes: %d bytes nobody published", len(p))
		}
	}
}

func newLatch[T any](t *testing.T) *Latch[T] {
	t.Helper()
	size, err := LatchSize[T](4)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLatch[T](make([]byte, size), 4)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestOddEvenUnfinished: bounded, typed, and told apart from mere contention.
func TestOddEvenUnfinished(t *testing.T) {
	size, _ := OddEvenSize[uint64]()
	view := make([]byte, size)
	l, err := NewOddEven[uint64](view)
	if err != nil {
		t.Fatal(err)
	}
	v := uint64(7)
	if _, err := l.Load(&v); err != ErrEmpty || v != 7 {
		t.Errorf("before the first store: %d, %v", v, err)
	}
	if _, err := l.Store(&v); err != nil {
		t.Fatal(err)
	}
	storeVersion(l.seq, 3) // the writer dies here
	storeVersion(&l.value[0], 0xdead)
	if version, err := l.Load(&v); err != ErrUnfinished || !errors.Is(err, ErrContended) || version != 1 || v != 0 {
		t.Errorf("within a store: %d, version %d, %v", v, version, err)
	}
	next, err := OpenOddEvenWriter[uint64](view)
	if err != nil {
		t.Fatal(err)
	}
	v = 8
	if version, err := next.Store(&v); version != 2 || err != nil {
		t.Errorf("the successor stores version %d, %v", version, err)
	}
	v = 0
	if version, err := l.Load(&v); version != 2 || v != 8 || err != nil {
		t.Errorf("repaired: %d, version %d, %v", v, version, err)
	}
}
