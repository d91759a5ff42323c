package cfgblob

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

func sample() *Snapshot {
	return &Snapshot{
		Version: 7, Time: time.Unix(1700000000, 123456789), Author: "cli",
		Schema: 0xfeed, Doc: []byte(`{"a":1,"b":[true]}`),
	}
}

// seal makes the checksum right after a change: a writer that means it.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint64(b[offHash:], xxhash.Sum64(b[offVersion:]))
	return b
}

func TestBlobRoundTrip(t *testing.T) {
	for _, author := range []string{"", "cli", strings.Repeat("a", maxAuthor)} {
		want := sample()
		want.Author = author
		got, err := parseBlob("x", appendBlob([]byte("before"), want)[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if got.Version != want.Version || !got.Time.Equal(want.Time) || got.Author != want.Author ||
			got.Schema != want.Schema || string(got.Doc) != string(want.Doc) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// The documented offsets, byte by byte: this test fails when the format moves.
func TestBlobBytes(t *testing.T) {
	b := appendBlob(nil, sample())
	le := binary.LittleEndian
	for what, ok := range map[string]bool{
		"magic":   string(b[0:4]) == "CFGB",
		"format":  le.Uint16(b[4:]) == 1,
		"header":  le.Uint16(b[6:]) == 128,
		"hash":    le.Uint64(b[8:]) == xxhash.Sum64(b[16:]),
		"version": le.Uint64(b[16:]) == 7,
		"time":    le.Uint64(b[24:]) == 1700000000123456789,
		"schema":  le.Uint64(b[32:]) == 0xfeed,
		"length":  le.Uint64(b[40:]) == 18,
		"flags":   le.Uint64(b[48:]) == 0,
		"author":  le.Uint16(b[56:]) == 3 && string(b[58:64]) == "\x00\x00\x00\x00\x00\x00" && string(b[64:68]) == "cli\x00",
		"doc":     string(b[128:]) == `{"a":1,"b":[true]}`,
	} {
		if !ok {
			t.Errorf("%s is not where the format says", what)
		}
	}
}

func TestBlobHostileBytes(t *testing.T) {
	change := func(f func(b []byte)) []byte {
		b := appendBlob(nil, sample())
		f(b)
		return seal(b)
	}
	le := binary.LittleEndian
	for name, c := range map[string]struct {
		blob []byte
		want string
	}{
		"empty":           {nil, "record of 0 bytes"},
		"half a header":   {make([]byte, headerSize-1), "record of 127 bytes"},
		"zeros":           {make([]byte, headerSize), "magic 0x0"},
		"magic":           {change(func(b []byte) { b[0]++ }), "not a configuration"},
		"format":          {change(func(b []byte) { b[offFormat] = 2 }), "record format 2, this build reads 1: restart the worker"},
		"header small":    {change(func(b []byte) { le.PutUint16(b[offHeader:], 127) }), "header of 127"},
		"header large":    {change(func(b []byte) { le.PutUint16(b[offHeader:], 65535) }), "header of 65535"},
		"length small":    {change(func(b []byte) { le.PutUint64(b[offLength:], 17) }), "document of 17"},
		"length large":    {change(func(b []byte) { le.PutUint64(b[offLength:], 19) }), "document of 19"},
		"length huge":     {change(func(b []byte) { le.PutUint64(b[offLength:], 1<<64-1) }), "document of 18446744073709551615"},
		"length wraps":    {change(func(b []byte) { le.PutUint64(b[offLength:], 1<<64-headerSize) }), "in a record of"},
		"version 0":       {change(func(b []byte) { le.PutUint64(b[offVersion:], 0) }), "version 0, the first is 1"},
		"author too long": {change(func(b []byte) { le.PutUint16(b[offAuthorLen:], 65) }), "author of 65 bytes"},
		"author no text":  {change(func(b []byte) { b[offAuthor] = 0xff }), "author is not valid UTF-8"},
		"checksum":        {func() []byte { b := appendBlob(nil, sample()); b[offHash]++; return b }(), "checksum"},
	} {
		_, err := parseBlob("job.config", c.blob)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), `"job.config"`) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
}

// Every single changed byte after the checksum is noticed.
func TestBlobEveryByteCounts(t *testing.T) {
	good := appendBlob(nil, sample())
	for i := range good {
		b := append([]byte(nil), good...)
		b[i] ^= 0x20
		if _, err := parseBlob("x", b); err == nil {
			t.Errorf("byte %d changed, and nobody noticed", i)
		}
	}
}

// Within format 1 the header may grow: the document is where it says.
func TestBlobLongerHeader(t *testing.T) {
	b := appendBlob(nil, sample())
	longer := append(append(append([]byte(nil), b[:headerSize]...), make([]byte, 64)...), b[headerSize:]...)
	binary.LittleEndian.PutUint16(longer[offHeader:], headerSize+64)
	got, err := parseBlob("x", seal(longer))
	if err != nil || string(got.Doc) != string(sample().Doc) {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzBlob(f *testing.F) {
	good := appendBlob(nil, sample())
	f.Add(good, true)
	f.Add(good[:headerSize], true)
	f.Add(good[:20], true)
	f.Add([]byte{}, false)
	for _, at := range []int{0, offFormat, offHeader, offLength, offAuthorLen, headerSize} {
		b := append([]byte(nil), good...)
		b[at] ^= 0x81
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= offVersion {
			seal(b)
		}
		s, err := parseBlob("x", b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if len(s.Author) > maxAuthor || len(s.Doc) > len(b)-headerSize {
			t.Fatalf("more came out than went in: %v", s)
		}
		// What was accepted can be used: it parses, or says why not.
		var syntax *SyntaxError
		if _, err := s.Get("a"); err != nil && !errors.Is(err, ErrNoKey) && !errors.As(err, &syntax) {
			t.Fatalf("Get: %v", err)
		}
		if _, err := decode[map[string]any](*s); err != nil && !errors.As(err, &syntax) {
			t.Fatalf("decode: %v", err)
		}
	})
}

func TestCleanAuthor(t *testing.T) {
	for in, want := range map[string]string{
		"cli":                         "cli",
		strings.Repeat("é", 40):       strings.Repeat("é", 32),
		"x" + strings.Repeat("é", 40): "x" + strings.Repeat("é", 31),
		"bad\xff":                     "bad\ufffd",
	} {
		if got := cleanAuthor(in); got != want {
			t.Errorf("cleanAuthor(%q) = %q, want %q", in, got, want)
		}
	}
}
