package shm

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// sampleHeader is a good header for a file of three pages.
func sampleHeader() header {
	return header{
		total:        3 * PageSize,
		kind:         uint32(KindOf("TEST")),
		flags:        flagReadOnly | 7<<generationShift,
		schema:       0x5eed,
		regionLength: 5000,
		uuid:         [16]byte{1, 2, 3},
		pid:          42,
	}.encode()
}

// resum makes the checksum right again after a field was changed.
func (h header) resum() header {
	h.checksum = xxhash.Sum64(h.bytes()[:checkedBytes])
	return h
}

// The format, byte by byte: a C or Python program reads it at these places.
func TestHeaderBytes(t *testing.T) {
	h := sampleHeader()
	b := h.bytes()
	for _, f := range []struct {
		at   int
		want string
	}{
		{0, "\x89SHMKIT\n"},
		{8, "\x01\x00\x00\x00"},
		{12, "\x04\x03\x02\x01"},
		{16, "\x00\x30\x00\x00\x00\x00\x00\x00"},
		{24, "\x78\x00\x00\x00\x00\x10\x00\x00"},
		{32, "TEST"},
		{36, "\x01\x07\x00\x00"},
		{40, "\xed\x5e\x00\x00\x00\x00\x00\x00"},
		{48, "\x00\x10\x00\x00\x00\x00\x00\x00"},
		{56, "\x88\x13\x00\x00\x00\x00\x00\x00"},
		{64, "\x01\x02\x03\x00"},
		{80, "\x2a\x00\x00\x00\x00\x00\x00\x00"},
		{128, "\x00\x00\x00\x00"},
	} {
		if got := string(b[f.at : f.at+len(f.want)]); got != f.want {
			t.Errorf("byte %d: %q, want %q", f.at, got, f.want)
		}
	}
}

// Whatever is wrong with a header has an error of its own, which says what to do.
func TestHeaderRefused(t *testing.T) {
	good := sampleHeader()
	if _, _, err := decodeHeader(good.bytes(), 3*PageSize); err != nil {
		t.Fatalf("a good header: %v", err)
	}
	change := func(f func(h *header)) []byte {
		h := good
		f(&h)
		return bytes.Clone(h.bytes())
	}
	resum := func(f func(h *header)) []byte {
		h := good
		f(&h)
		h = h.resum()
		return bytes.Clone(h.bytes())
	}
	cases := []struct {
		name string
		raw  []byte
		size int64
		want error
	}{
		{"empty file", nil, 0, ErrNotSegment},
		{"a few letters", []byte("text"), 4, ErrNotSegment},
		{"short read", good.bytes()[:100], 3 * PageSize, ErrTruncated},
		{"shorter than a page", good.bytes(), PageSize - 1, ErrTruncated},
		{"text", bytes.Repeat([]byte("text"), headerBytes/4), 3 * PageSize, ErrNotSegment},
		{"zeros", make([]byte, headerBytes), 3 * PageSize, ErrNotSegment},
		{"other byte order", change(func(h *header) { h.magic = magicSwapped; h.endian = endianSwapped }), 3 * PageSize, ErrEndian},
		{"other byte order in the tag only", change(func(h *header) { h.endian = endianSwapped }), 3 * PageSize, ErrEndian},
		{"no byte order", change(func(h *header) { h.endian = 7 }), 3 * PageSize, ErrEndian},
		{"older layout", resum(func(h *header) { h.major = layoutMajor - 1 }), 3 * PageSize, ErrVersion},
		{"newer layout", resum(func(h *header) { h.major = layoutMajor + 1 }), 3 * PageSize, ErrVersion},
		{"newer layout with another checksum", change(func(h *header) { h.major = layoutMajor + 1 }), 3 * PageSize, ErrVersion},
		{"a flipped bit", change(func(h *header) { h.schema ^= 1 << 40 }), 3 * PageSize, ErrChecksum},
		{"a wrong checksum", change(func(h *header) { h.checksum++ }), 3 * PageSize, ErrChecksum},
		{"truncated", good.bytes(), 2 * PageSize, ErrTruncated},
		{"extended", good.bytes(), 4 * PageSize, ErrSize},
		{"region too long", resum(func(h *header) { h.regionLength = 2*PageSize + 1 }), 3 * PageSize, ErrSize},
		{"region overflows", resum(func(h *header) { h.regionLength = 1<<64 - PageSize }), 3 * PageSize, ErrSize},
		{"no region", resum(func(h *header) { h.regionLength = 0 }), 3 * PageSize, ErrSize},
		{"region elsewhere", resum(func(h *header) { h.regionOffset = 64 }), 3 * PageSize, ErrSize},
		{"other page size", resum(func(h *header) { h.pageSize = 1 << 16 }), 3 * PageSize, ErrSize},
		{"header too small", resum(func(h *header) { h.headerSize = 8 }), 3 * PageSize, ErrSize},
		{"absurdly large", resum(func(h *header) { h.total = 1 << 62; h.regionLength = 1 << 61 }), 1 << 62, ErrSize},
	}
	for _, c := range cases {
		_, do, err := decodeHeader(c.raw, c.size)
		var m *MismatchError
		if !errors.Is(err, c.want) || !errors.As(err, &m) || do == "" {
			t.Errorf("%s: %v (%s), want %v", c.name, err, do, c.want)
		}
	}
	// A later minor version adds to reserved bytes only: it can be read.
	minor := resum(func(h *header) { h.minor++ })
	if _, _, err := decodeHeader(minor, 3*PageSize); err != nil {
		t.Errorf("newer minor version: %v", err)
	}
}

func TestHeaderExpected(t *testing.T) {
	h := sampleHeader()
	for _, c := range []struct {
		want Expect
		err  error
	}{
		{Expect{}, nil},
		{Expect{Kind: KindOf("TEST"), Schema: 0x5eed, MinSize: 5000}, nil},
		{Expect{Kind: KindOf("RING")}, ErrKind},
		{Expect{Schema: 1}, ErrSchema},
		{Expect{MinSize: 5001}, ErrSize},
		{Expect{MinSize: -1}, nil},
	} {
		if do, err := h.check(c.want); !errors.Is(err, c.err) || err != nil && do == "" {
			t.Errorf("%+v: %v (%s), want %v", c.want, err, do, c.err)
		}
	}
}

// The message names the object, what is wrong, and what to do.
func TestErrorText(t *testing.T) {
	err := fail("attach", "wordcount.config", &MismatchError{ErrVersion, "3.1", "4.x"}, "restart the workers")
	if got, want := err.Error(), `shm: attach "wordcount.config": layout 3.1, this build reads 4.x: restart the workers`; got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	for _, e := range []error{ErrNotSegment, ErrVersion, ErrEndian, ErrSize, ErrChecksum, ErrSchema, ErrKind, ErrTruncated} {
		if m := (&MismatchError{e, "x", "y"}); m.Error() == "" || !strings.Contains(m.Error(), "x") || !errors.Is(m, e) {
			t.Errorf("%v: %v", e, m)
		}
	}
	if s := (&SpaceError{"tmpfs", 10, 5, nil}).Error(); s != "need 10 bytes, tmpfs has 5 available" {
		t.Error(s)
	}
}

func TestKind(t *testing.T) {
	for code, want := range map[string]string{"RING": "RING", "AB": "AB", "": "", "TOOLONG": "TOOL", "\x00\x01\x02\x03": "0x3020100"} {
		if got := KindOf(code).String(); got != want {
			t.Errorf("KindOf(%q) = %q, want %q", code, got, want)
		}
	}
	if KindOf("RING") != 0x474e4952 {
		t.Errorf("RING is %#x", uint32(KindOf("RING")))
	}
}

// Identity is demanded of whatever is accepted: the bytes that were decoded are
// those of the header encoded again, and every size in it can be used as it is.
func FuzzHeader(f *testing.F) {
	good := sampleHeader()
	f.Add(good.bytes(), int64(3*PageSize))
	f.Add(good.bytes()[:50], int64(3*PageSize))
	f.Add(make([]byte, headerBytes), int64(0))
	f.Add([]byte{}, int64(-1))
	huge := good
	huge.total, huge.regionLength = 1<<63, 1<<63
	huge = huge.resum()
	f.Add(huge.bytes(), int64(-1<<63))
	f.Fuzz(func(t *testing.T, raw []byte, size int64) {
		decode := func(raw []byte) {
			h, do, err := decodeHeader(raw, size)
			if err != nil {
				var m *MismatchError
				if !errors.As(err, &m) || m.Error() == "" || do == "" {
					t.Fatalf("untyped error %v (%s)", err, do)
				}
				return
			}
			if !bytes.Equal(h.bytes(), raw[:headerBytes]) {
				t.Fatal("decoded something else")
			}
			if int64(h.total) != size || h.regionOffset != PageSize || h.regionLength == 0 ||
				h.regionLength > h.total-h.regionOffset || int(h.regionLength) < 1 {
				t.Fatalf("accepted sizes that do not fit: %+v, file of %d", h, size)
			}
		}
		decode(raw)
		if len(raw) >= headerBytes {
			// The same with a checksum that fits, or nothing behind it would be reached.
			var h header
			copy(h.bytes(), raw)
			h.magic, h.endian, h.major = magic, endianTag, layoutMajor
			h = h.resum()
			decode(h.bytes())
		}
	})
}
