package recfile_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"shmkit/dataio/recfile"
)

// What Resume keeps are whole records; what it cuts off is beside the file; nothing
// else is there. From any file, in both formats.
func FuzzResume(f *testing.F) {
	torn := frames([]byte("one"), []byte("two\n"), nil)
	for _, seed := range [][]byte{
		nil, []byte("one\ntwo\n"), []byte("one\ntwo"), []byte("\n\n"), []byte("header\n1\n"),
		frames([]byte("one"), nil, []byte("two\n")), torn[:len(torn)-1], append(torn, 0, 0, 0, 0, 0, 0, 0, 0),
		append(torn, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), frames(bytes.Repeat([]byte{7}, 5000)),
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, there []byte, lines bool) {
		format := recfile.Frames
		if lines {
			format = recfile.Lines
		}
		path := filepath.Join(t.TempDir(), "r")
		if err := os.WriteFile(path+".partial", there, 0o600); err != nil {
			t.Fatal(err)
		}
		content, st, _ := resumed(t, recfile.Options{Path: path, Format: format, MaxRecord: 16})
		kept, ok := bytes.CutPrefix(there, content)
		if !ok || int(st.Cut) != len(kept) {
			t.Fatalf("%q became %q, %d bytes cut", there, content, st.Cut)
		}
		if beside, _ := os.ReadFile(path + ".cut-1"); !bytes.Equal(beside, kept) {
			t.Fatalf("%q is beside the file, want %q", beside, kept)
		}
		// What was kept are records by another account than ours, and the next one is none.
		if lines {
			if want := there[:bytes.LastIndexByte(there, '\n')+1]; !bytes.Equal(content, want) {
				t.Fatalf("%q was kept of %q", content, there)
			}
			return
		}
		if again := frames(split(content, recfile.Frames)...); !bytes.Equal(again, content) {
			t.Fatalf("%q was kept, which is %q", content, again)
		}
		var last error
		n := 0
		for rec, err := range recfile.Records(bytes.NewReader(there)) {
			if last = err; err == nil {
				n += 8 + len(rec)
			}
		}
		if n != len(content) || (last != nil) != (len(kept) > 0) || last != nil && last != recfile.ErrTorn {
			t.Fatalf("Records has read %d bytes, %v, of %q", n, last, there)
		}
		if len(kept) >= 8 { // the frame behind: cut short, or with a wrong checksum
			size := int(binary.LittleEndian.Uint32(kept))
			if size <= len(kept)-8 && bytes.Equal(frames(kept[8:8+size]), kept[:8+size]) {
				t.Fatalf("a whole record was cut off: %q", kept[:8+size])
			}
		}
	})
}

// A valid file, cut anywhere, comes back as its whole records; with a flipped bit, as
// those before it.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("a,bb,,ccc"), uint(3), uint(0))
	f.Add([]byte(",,,"), uint(100), uint(17))
	f.Add(bytes.Repeat([]byte("long"), 2000), uint(5000), uint(9))
	f.Fuzz(func(t *testing.T, text []byte, cut, flip uint) {
		recs := bytes.Split(text, []byte(","))
		whole := frames(recs...)
		check := func(file []byte, below int) {
			t.Helper()
			want := 0
			for at := 0; want < len(recs) && at+8+len(recs[want]) <= below; want++ {
				at += 8 + len(recs[want])
			}
			got := split(file, recfile.Frames)
			if len(got) != want {
				t.Fatalf("%d records, want %d", len(got), want)
			}
			for i, rec := range got {
				if !bytes.Equal(rec, recs[i]) {
					t.Fatalf("record %d is %q, want %q", i, rec, recs[i])
				}
			}
		}
		check(whole, len(whole))
		n := int(cut % uint(len(whole)+1))
		check(whole[:n], n)
		bit := flip % uint(8*len(whole))
		whole[bit/8] ^= 1 << (bit % 8)
		check(whole, int(bit/8))
	})
}

// A worker that writes anything into its segment costs the node nothing: no panic, no
// hang, no memory. The other worker's records are there, and the file is made of lines;
// the account is right.
func FuzzHostileWorker(f *testing.F) {
	word := func(at uint16, v uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(nil, at), v)
	}
	const producer, data = 4096, 8192
	f.Add([]byte(nil))
	f.Add(word(producer, 16))                                                        // one empty record, of what is there
	f.Add(slices.Concat(word(data, 3|7<<32), word(data+8, 'a'), word(producer, 16))) // one record, with a strange tag
	f.Add(slices.Concat(word(data, 3), word(data+8, '\n'), word(producer, 16)))      // with a newline
	f.Add(slices.Concat(word(data, 1<<31), word(producer, 16)))                      // a huge one
	f.Add(slices.Concat(word(data, 100), word(producer, 1024), word(data, 0)))
	f.Add(word(producer, 1<<40))
	f.Add(word(producer, 7))
	f.Add(slices.Concat(word(producer+8, 1), word(producer, 512)))                 // overwriting
	f.Add(slices.Concat(word(0, 1<<63), word(128, 1), word(144, 5), word(192, 1))) // the node's own page
	f.Fuzz(func(t *testing.T, stores []byte) {
		path := filepath.Join(t.TempDir(), "r")
		s := quick(t, map[string]recfile.Options{"r": {Path: path, MaxRecord: 64, RingSize: 1024}})
		good, goodLease := local(t, s)
		bad, badLease := local(t, s)
		region := bad.Region()
		for ; len(stores) >= 10; stores = stores[10:] {
			at := int(binary.LittleEndian.Uint16(stores)) % (len(region) - 7) &^ 7
			atomic.StoreUint64((*uint64)(unsafe.Pointer(&region[at])), binary.LittleEndian.Uint64(stores[2:]))
			badLease.Message(nil, nil)
			if err := good.File("r").Append([]byte("good")); err != nil {
				t.Fatal(err)
			}
		}
		if err := good.File("r").Append([]byte("good")); err != nil {
			t.Fatal(err)
		}
		if err := good.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		badLease.Close() // an error, or none: it may have kept the rules
		if err := goodLease.Close(); err != nil {
			t.Fatal(err)
		}
		s.Close() // an error where records were refused
		st := s.Stats("r")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(b, []byte("\n")); lines != int(st.Written) || st.Attempted != st.Written+st.Refused || len(b) > 0 && b[len(b)-1] != '\n' {
			t.Fatalf("%d lines, %+v", lines, st)
		}
	})
}
