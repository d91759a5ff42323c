package seqlock_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"syscall"
	"testing"

	"shmkit/seqlock"
)

// cage is memory with nothing mapped before and after it: an access outside of a view
// that fills one end of it ends the process.
type cage struct{ pages []byte }

const cagePages = 16

func newCage(tb testing.TB) *cage {
	page := syscall.Getpagesize()
	all, err := syscall.Mmap(-1, 0, (cagePages+2)*page, syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { syscall.Munmap(all) })
	c := &cage{all[page : (cagePages+1)*page]}
	if err := syscall.Mprotect(c.pages, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		tb.Fatal(err)
	}
	return c
}

// atStart and atEnd put image right behind, or right before, unmapped memory.
func (c *cage) atStart(image []byte) []byte {
	n := copy(c.pages, image)
	return c.pages[:n:n]
}

func (c *cage) atEnd(image []byte) []byte {
	// 8-byte aligned: an image of another length leaves some bytes before the fence.
	at := (len(c.pages) - len(image)) &^ 7
	n := copy(c.pages[at:], image)
	return c.pages[at:][:n:n]
}

// seedImages are valid latches of all forms, before and after publications, and some
// with one field spoilt.
func seedImages(tb testing.TB) [][]byte {
	bytesForm := formattedView(tb, 40, 3)
	w, err := seqlock.OpenWriter(bytesForm)
	if err != nil {
		tb.Fatal(err)
	}
	images := [][]byte{nil, make([]byte, 32), bytes.Clone(bytesForm)}
	for range 5 {
		if _, err := w.Publish([]byte("a document of some length")); err != nil {
			tb.Fatal(err)
		}
		images = append(images, bytes.Clone(bytesForm))
	}
	typed := heap(tb, 128+4*128)
	l, err := seqlock.NewLatch[[8]uint64](typed, 4)
	if err != nil {
		tb.Fatal(err)
	}
	l.Store(&[8]uint64{1, 2, 3})
	images = append(images, bytes.Clone(typed))
	single := heap(tb, 40)
	o, err := seqlock.NewOddEven[uint64](single)
	if err != nil {
		tb.Fatal(err)
	}
	v := uint64(1)
	o.Store(&v)
	images = append(images, bytes.Clone(single))
	for _, f := range []struct {
		off int
		v   byte
	}{{0, 0xff}, {7, 0xff}, {8, 0}, {8, 41}, {11, 0xff}, {12, 0}, {12, 2}, {12, 4}, {15, 0xff}, {16, 'x'}, {128 + 2*128, 0xff}, {128 + 2*128 + 7, 0x80}} {
		image := bytes.Clone(bytesForm)
		image[f.off] = f.v
		images = append(images, image)
	}
	return images
}

// FuzzImage: whatever bytes a view holds, opening and reading ends in a value within the
// view or in one of the package's errors; and a writer that can be opened on it publishes
// what its readers then read, to the byte.
func FuzzImage(f *testing.F) {
	seeds := seedImages(f)
	if len(seeds) < 10 {
		f.Fatal("the seeds are gone")
	}
	for _, s := range seeds {
		f.Add(s, []byte("payload"))
	}
	c := newCage(f)
	f.Fuzz(func(t *testing.T, image, payload []byte) {
		if len(image) > len(c.pages) {
			image = image[:len(c.pages)]
		}
		for _, view := range [][]byte{c.atStart(image), c.atEnd(image)} {
			readAll(t, view)
			publish(t, view, payload)
			readAll(t, view)
		}
	})
}

// readAll goes through every way of reading.
func readAll(t *testing.T, view []byte) {
	before := bytes.Clone(view)
	if r, err := seqlock.OpenReader(view); typed(t, err) {
		p, _, err := r.Read(nil)
		typed(t, err)
		if len(p) > r.MaxPayload() || r.MaxPayload() > len(view) {
			t.Fatalf("%d bytes read from slots of %d in a view of %d", len(p), r.MaxPayload(), len(view))
		}
		if len(p) > 0 && !bytes.Contains(view, p) {
			t.Fatalf("read % x, which is not in the view", p)
		}
		r.Version()
	}
	if l, err := seqlock.OpenLatch[[8]uint64](view); typed(t, err) {
		_, err := l.Load(new([8]uint64))
		typed(t, err)
	}
	if l, err := seqlock.OpenLatch[[3]byte](view); typed(t, err) {
		_, err := l.Load(new([3]byte))
		typed(t, err)
	}
	if l, err := seqlock.OpenOddEven[uint64](view); typed(t, err) {
		_, err := l.Load(new(uint64))
		typed(t, err)
	}
	if !bytes.Equal(before, view) {
		t.Fatal("a reader wrote to the view")
	}
}

// publish goes on with whatever latch the view holds.
func publish(t *testing.T, view, payload []byte) {
	if w, err := seqlock.OpenWriter(view); typed(t, err) {
		payload := payload[:min(len(payload), w.MaxPayload())]
		for range 5 {
			v, err := w.Publish(payload)
			if err != nil {
				t.Fatal(err)
			}
			r, err := seqlock.OpenReader(view)
			if err != nil {
				t.Fatal(err)
			}
			if got, rv, err := r.Read(nil); err != nil || rv != v || !bytes.Equal(got, payload) {
				t.Fatalf("published version %d, % x; read version %d, % x, %v", v, payload, rv, got, err)
			}
		}
	}
	if l, err := seqlock.OpenLatchWriter[[8]uint64](view); typed(t, err) {
		var in, out [8]uint64
		for i := 0; i < len(in) && i*8+8 <= len(payload); i++ {
			in[i] = binary.LittleEndian.Uint64(payload[i*8:])
		}
		v, err := l.Store(&in)
		if err != nil {
			t.Fatal(err)
		}
		if rv, err := l.Load(&out); err != nil || rv != v || in != out {
			t.Fatalf("stored version %d, %v; loaded version %d, %v, %v", v, in, rv, out, err)
		}
	}
	if l, err := seqlock.OpenOddEvenWriter[uint64](view); typed(t, err) {
		in, out := uint64(len(payload)), uint64(0)
		v, err := l.Store(&in)
		if err != nil {
			t.Fatal(err)
		}
		if rv, err := l.Load(&out); err != nil || rv != v || in != out {
			t.Fatalf("stored version %d, %d; loaded version %d, %d, %v", v, in, rv, out, err)
		}
	}
}

// typed reports whether err is nil, and fails for an error that is not the package's.
func typed(t *testing.T, err error) bool {
	t.Helper()
	for _, want := range []error{nil, seqlock.ErrEmpty, seqlock.ErrContended, seqlock.ErrNotFormatted,
		seqlock.ErrMismatch, seqlock.ErrGeometry, seqlock.ErrCorrupt} {
		if errors.Is(err, want) {
			return err == nil
		}
	}
	t.Fatalf("an error of no known kind: %v", err)
	return false
}

// TestMutations runs the fuzz target's checks on the seeds with every byte of header and
// length word set to a few values, and on random ones.
func TestMutations(t *testing.T) {
	c := newCage(t)
	values := []byte{0, 1, 2, 3, 4, 0x7f, 0x80, 0xff}
	for _, seed := range seedImages(t) {
		for off := range len(seed) {
			if off >= 32 && off%128 >= 8 {
				continue
			}
			for _, b := range values {
				image := bytes.Clone(seed)
				image[off] = b
				for _, view := range [][]byte{c.atStart(image), c.atEnd(image)} {
					readAll(t, view)
					publish(t, view, []byte("payload"))
				}
			}
		}
	}
}
