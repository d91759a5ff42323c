package seqlock_test

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"shmkit/seqlock"
	"shmkit/seqlock/seqlocktest"
)

func heap(t testing.TB, size int) []byte {
	t.Helper()
	view, _, err := seqlocktest.Heap(size)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

// formattedView is a valid latch of the bytes form, for tests that spoil it.
func formattedView(t testing.TB, payload, slots int) []byte {
	t.Helper()
	size, err := seqlock.Size(payload, slots)
	if err != nil {
		t.Fatal(err)
	}
	view := heap(t, size)
	if err := seqlock.Format(view, payload, slots); err != nil {
		t.Fatal(err)
	}
	return view
}

func TestSize(t *testing.T) {
	for _, c := range []struct{ payload, slots, want int }{
		{1, 3, 128 + 3*128},
		{120, 4, 128 + 4*128}, // the length word and the payload fill a slot
		{121, 4, 128 + 4*256},
		{64, 0, 128 + 64*128},
		{64 << 10, 0, 128 + 4*(65536+128)},
	} {
		if got, err := seqlock.Size(c.payload, c.slots); got != c.want || err != nil {
			t.Errorf("Size(%d, %d) = %d, %v, want %d", c.payload, c.slots, got, err, c.want)
		}
	}
	if most := seqlock.MaxPayload; strconv.IntSize == 64 {
		if got, err := seqlock.Size(most, 3); got != 128+3*(most+128) || err != nil {
			t.Errorf("Size(%d, 3) = %d, %v", most, got, err)
		}
		if _, err := seqlock.Size(most, seqlock.MaxSlots); err != nil { // 64 TiB can be asked for
			t.Error(err)
		}
	} else {
		_, err := seqlock.Size(most, 3)
		wantLayout(t, "Size beyond the address space", err, seqlock.ErrGeometry)
	}
	for payload, want := range map[int]int{-1: 64, 0: 64, 64: 64, 4 << 10: 64, 4<<10 + 1: 32, 16 << 10: 16, 64 << 10: 4, 1 << 30: 4, math.MaxInt: 4, math.MinInt: 64} {
		if got := seqlock.SlotsFor(payload); got != want {
			t.Errorf("SlotsFor(%d) = %d, want %d", payload, got, want)
		}
	}
}

// TestBadGeometry: sizes nobody can have are typed errors, wherever they are given.
func TestBadGeometry(t *testing.T) {
	for _, c := range []struct{ payload, slots int }{
		{0, 4}, {-1, 4}, {math.MinInt, 4}, {seqlock.MaxPayload + 1, 4}, {math.MaxInt, 4},
		{64, -1}, {64, 1}, {64, 2}, {64, seqlock.MaxSlots + 1}, {64, math.MaxInt}, {64, math.MinInt},
	} {
		view := heap(t, 4096)
		_, sizeErr := seqlock.Size(c.payload, c.slots)
		for what, err := range map[string]error{"Size": sizeErr, "Format": seqlock.Format(view, c.payload, c.slots)} {
			wantLayout(t, what, err, seqlock.ErrGeometry)
		}
		if binary.NativeEndian.Uint32(view[8:]) != 0 {
			t.Errorf("a refused Format(%d, %d) wrote to the view", c.payload, c.slots)
		}
	}
	_, err := seqlock.LatchSize[uint64](2)
	wantLayout(t, "LatchSize", err, seqlock.ErrGeometry)
	_, err = seqlock.NewLatch[uint64](heap(t, 4096), 2)
	wantLayout(t, "NewLatch", err, seqlock.ErrGeometry)
}

func wantLayout(t *testing.T, what string, err, want error) {
	t.Helper()
	var layout *seqlock.LayoutError
	if !errors.Is(err, want) || !errors.As(err, &layout) || !strings.HasPrefix(err.Error(), "seqlock: ") {
		t.Errorf("%s: %v, want a LayoutError: %v", what, err, want)
	}
}

// openers are all ways into a view.
var openers = map[string]func(view []byte) error{
	"OpenReader":        func(view []byte) error { _, err := seqlock.OpenReader(view); return err },
	"OpenWriter":        func(view []byte) error { _, err := seqlock.OpenWriter(view); return err },
	"OpenLatch":         func(view []byte) error { _, err := seqlock.OpenLatch[uint64](view); return err },
	"OpenLatchWriter":   func(view []byte) error { _, err := seqlock.OpenLatchWriter[uint64](view); return err },
	"OpenOddEven":       func(view []byte) error { _, err := seqlock.OpenOddEven[uint64](view); return err },
	"OpenOddEvenWriter": func(view []byte) error { _, err := seqlock.OpenOddEvenWriter[uint64](view); return err },
}

// makers are all ways to make a latch.
var makers = map[string]func(view []byte) error{
	"Format":     func(view []byte) error { return seqlock.Format(view, 64, 4) },
	"NewLatch":   func(view []byte) error { _, err := seqlock.NewLatch[[8]uint64](view, 4); return err },
	"NewOddEven": func(view []byte) error { _, err := seqlock.NewOddEven[[8]uint64](view); return err },
}

// TestBadViews: views that are missing, too short or misaligned.
func TestBadViews(t *testing.T) {
	whole := formattedView(t, 64, 4)
	for what, open := range openers {
		for _, n := range []int{0, 1, 8, 31} {
			wantLayout(t, what, open(whole[:n:n]), seqlock.ErrGeometry)
		}
		wantLayout(t, what+" of nil", open(nil), seqlock.ErrGeometry)
		wantLayout(t, what+" of zeros", open(heap(t, 4096)), seqlock.ErrNotFormatted)
		for off := 1; off < 8; off++ {
			wantLayout(t, what+" misaligned", open(heap(t, 4096)[off:]), seqlock.ErrGeometry)
		}
	}
	for what, make := range makers {
		for _, n := range []int{0, 1, 8, 31, 32, 95} {
			wantLayout(t, what, make(heap(t, 4096)[:n:n]), seqlock.ErrGeometry)
		}
		wantLayout(t, what+" of nil", make(nil), seqlock.ErrGeometry)
		wantLayout(t, what+" misaligned", make(heap(t, 4096)[4:]), seqlock.ErrGeometry)
	}
	// One byte short of what the header says, which was true once.
	wantLayout(t, "OpenReader", openers["OpenReader"](whole[:len(whole)-1]), seqlock.ErrGeometry)
	wantLayout(t, "OpenWriter", openers["OpenWriter"](whole[:len(whole)-1]), seqlock.ErrGeometry)
	if err := openers["OpenReader"](whole); err != nil {
		t.Error(err)
	}
}

// TestWrongForm: a view that holds another latch than the one asked for.
func TestWrongForm(t *testing.T) {
	for made, mk := range makers {
		view := heap(t, 4096)
		if err := mk(view); err != nil {
			t.Fatal(err)
		}
		for what, open := range openers {
			err := open(view)
			if made == "Format" && (what == "OpenReader" || what == "OpenWriter") {
				if err != nil {
					t.Errorf("%s after %s: %v", what, made, err)
				}
				continue
			}
			wantLayout(t, what+" after "+made, err, seqlock.ErrMismatch)
		}
		for what, again := range makers {
			wantLayout(t, what+" after "+made, again(view), seqlock.ErrFormatted)
		}
	}
}

// TestHostileHeader: every field of the header is what another process says, and is
// bounded by the view.
func TestHostileHeader(t *testing.T) {
	for _, c := range []struct {
		what           string
		payload, slots uint32
	}{
		{"payload beyond the view", 1 << 20, 4},
		{"payload 0", 0, 4},
		{"largest payload", math.MaxUint32, 4},
		{"slots beyond the view", 64, 5},
		{"no slots", 64, 0},
		{"two slots", 64, 2},
		{"most slots", 64, math.MaxUint32},
		{"both", math.MaxUint32, math.MaxUint32},
	} {
		view := formattedView(t, 64, 4)
		binary.NativeEndian.PutUint32(view[8:], c.payload)
		binary.NativeEndian.PutUint32(view[12:], c.slots)
		wantLayout(t, "OpenReader, "+c.what, openers["OpenReader"](view), seqlock.ErrGeometry)
		wantLayout(t, "OpenWriter, "+c.what, openers["OpenWriter"](view), seqlock.ErrGeometry)
	}
	// A version at the end of the numbers would make the successor's counter wrap.
	view := formattedView(t, 64, 4)
	binary.NativeEndian.PutUint64(view, math.MaxUint64)
	wantLayout(t, "OpenWriter, last version", openers["OpenWriter"](view), seqlock.ErrGeometry)
	single := heap(t, 40)
	if _, err := seqlock.NewOddEven[uint64](single); err != nil {
		t.Fatal(err)
	}
	binary.NativeEndian.PutUint64(single, math.MaxUint64)
	wantLayout(t, "OpenOddEvenWriter, last version", openers["OpenOddEvenWriter"](single), seqlock.ErrGeometry)
	r, err := seqlock.OpenReader(view)
	if err != nil {
		t.Fatal(err)
	}
	if p, v, err := r.Read(nil); err != nil || len(p) != 0 || v != math.MaxUint64 {
		t.Errorf("read of the last version: %d bytes, version %d, %v", len(p), v, err)
	}
}

// TestGeometryIsPrivate: what another process makes of the header after the view was
// opened changes nothing.
func TestGeometryIsPrivate(t *testing.T) {
	view := formattedView(t, 64, 4)
	w, err := seqlock.OpenWriter(view)
	if err != nil {
		t.Fatal(err)
	}
	r, err := seqlock.OpenReader(view)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		view[8+i] = 0xff
	}
	for range 10 {
		if _, err := w.Publish([]byte("as before")); err != nil {
			t.Fatal(err)
		}
		if p, _, err := r.Read(nil); string(p) != "as before" || err != nil {
			t.Fatalf("%q, %v", p, err)
		}
	}
}

// TestHostileLength: a length word that leaves its slot is a typed error and is read once.
func TestHostileLength(t *testing.T) {
	view := formattedView(t, 64, 4)
	w, err := seqlock.OpenWriter(view)
	if err != nil {
		t.Fatal(err)
	}
	r, err := seqlock.OpenReader(view)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Publish(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	length := view[128+128:] // slot 1
	for _, n := range []uint64{65, 72, 1 << 31, 1 << 32, math.MaxInt64, 1 << 63, math.MaxUint64} {
		binary.NativeEndian.PutUint64(length, n)
		p, v, err := r.Read(make([]byte, 3, 100))
		var corrupt *seqlock.CorruptError
		if !errors.Is(err, seqlock.ErrCorrupt) || !errors.As(err, &corrupt) || len(p) != 0 || v != 1 || corrupt.Length != n {
			t.Errorf("length %#x: %d bytes, version %d, %v", n, len(p), v, err)
		}
	}
	binary.NativeEndian.PutUint64(length, 64)
	if p, _, err := r.Read(nil); len(p) != 64 || err != nil {
		t.Errorf("a good length again: %d bytes, %v", len(p), err)
	}
}

// TestHostileBool: a bool that is neither 0 nor 1 in memory would make compiled code go
// astray; a load turns it into true.
func TestHostileBool(t *testing.T) {
	type flags struct {
		On    bool
		Count uint32
		More  [3]struct {
			N  uint16
			Ok bool
		}
	}
	size, err := seqlock.LatchSize[flags](4)
	if err != nil {
		t.Fatal(err)
	}
	view := heap(t, size)
	l, err := seqlock.NewLatch[flags](view, 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Store(new(flags)); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		view[128+128+i] = 0xfe
	}
	var f flags
	if _, err := l.Load(&f); err != nil {
		t.Fatal(err)
	}
	table := [2]int{0, 1}
	index := func(b bool) int { // compiled to the byte itself, without a bounds check
		i := 0
		if b {
			i = 1
		}
		return table[i]
	}
	if f.Count != 0xfefefefe || index(f.On)+index(f.More[0].Ok)+index(f.More[2].Ok) != 3 || f.On != true {
		t.Errorf("loaded %+v", f)
	}
}

// TestEmptyLeavesValue: before the first version a load touches nothing.
func TestEmptyLeavesValue(t *testing.T) {
	for _, slots := range []int{4, 5} { // the way of one cache line, and the other one
		l, err := seqlock.NewLatch[[8]uint64](heap(t, 128+5*128), slots)
		if err != nil {
			t.Fatal(err)
		}
		v := [8]uint64{1, 2, 3, 4, 5, 6, 7, 8}
		if version, err := l.Load(&v); version != 0 || !errors.Is(err, seqlock.ErrEmpty) || v != [8]uint64{1, 2, 3, 4, 5, 6, 7, 8} {
			t.Errorf("%d slots: version %d, %v, value %v", slots, version, err, v)
		}
	}
}

func TestNilValue(t *testing.T) {
	l, err := seqlock.NewLatch[[8]uint64](heap(t, 4096+128), 4)
	if err != nil {
		t.Fatal(err)
	}
	o, err := seqlock.NewOddEven[uint64](heap(t, 64))
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := l.Store(nil)
	_, err2 := l.Load(nil)
	_, err3 := o.Store(nil)
	_, err4 := o.Load(nil)
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, seqlock.ErrNilValue) {
			t.Errorf("nil value: %v", err)
		}
	}
	if _, err := l.Store(new([8]uint64)); err != nil {
		t.Error(err)
	}
}
