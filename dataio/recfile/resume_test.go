package recfile_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"shmkit/dataio/recfile"
	"shmkit/internal/proctest"
)

var _ = proctest.Helper("doomed-node", func(args []string) {
	s, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {Path: args[0], Header: []byte("h"), Resume: true}})
	if err != nil {
		die(err)
	}
	files, words, lease, err := s.Donate("w", 0, 1)
	if err != nil {
		die(err)
	}
	m := lease.(messenger)
	c, err := recfile.Attach(files, words, func() error { m.Message(nil, nil); return nil })
	if err != nil {
		die(err)
	}
	first, _ := strconv.Atoi(args[1])
	for i := first; ; i++ {
		if err := c.File("results.csv").Append(record("0", i)); err != nil {
			die(err)
		}
		if i%100 == 0 {
			c.Flush(context.Background())
			fmt.Println(i)
		}
	}
})

// What a killed node left is gone on with: the torn end, put there by hand, is cut off,
// and nothing that was written is lost or there twice.
func TestResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.csv")
	next := 0
	for round := range 3 {
		cmd := proctest.Command(t, "doomed-node", path, strconv.Itoa(next))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		flushed := 0
		for in.Scan() {
			if flushed, _ = strconv.Atoi(in.Text()); flushed >= next+2000 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		b, err := os.ReadFile(path + ".partial")
		if err != nil {
			t.Fatal(err)
		}
		if next = bytes.Count(b, []byte("\n")) - 1; next <= flushed {
			t.Fatalf("round %d: %d records, %d were flushed", round, next, flushed)
		}
		f, err := os.OpenFile(path+".partial", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("0,99999,torn")
		f.Close()
	}
	if _, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {Path: path}}); !errors.Is(err, recfile.ErrUnfinished) || !strings.Contains(err.Error(), "set Resume") {
		t.Errorf("without Resume: %v", err)
	}
	s := serve(t, map[string]recfile.Options{"results.csv": {Path: path, Header: []byte("h"), Resume: true}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, path, "h", map[string]int{"0": next})
}

// Frames hold any bytes, and a damaged one ends the valid beginning.
func TestFrames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.bin")
	o := recfile.Options{Path: path, Format: recfile.Frames, MaxRecord: 3 << 20}
	s := serve(t, map[string]recfile.Options{"r": o})
	c, lease := local(t, s)
	var want [][]byte
	for _, n := range []int{0, 1, 100, 70_000, 3 << 20} {
		rec := bytes.Repeat([]byte{'\n', 0, byte(n)}, n/3+1)[:n]
		want = append(want, rec)
		if err := c.File("r").Append(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := lease.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	read := func(path string) (got [][]byte, err error) {
		f, openErr := os.Open(path)
		if openErr != nil {
			t.Fatal(openErr)
		}
		defer f.Close()
		for rec, e := range recfile.Records(f) {
			if err = e; err == nil {
				got = append(got, bytes.Clone(rec))
			}
		}
		return got, err
	}
	same := func(got [][]byte, n int) {
		t.Helper()
		if len(got) != n {
			t.Fatalf("%d records, want %d", len(got), n)
		}
		for i, rec := range got {
			if !bytes.Equal(rec, want[i]) {
				t.Errorf("record %d of %d bytes differs", i, len(want[i]))
			}
		}
	}
	got, err := read(path + ".partial")
	if same(got, 5); err != nil {
		t.Error(err)
	}
	// A flipped bit in the fourth record: three are valid.
	b, err := os.ReadFile(path + ".partial")
	if err != nil {
		t.Fatal(err)
	}
	b[8+9+8+108+50] ^= 1
	if err := os.WriteFile(path+".partial", b, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err = read(path + ".partial")
	if same(got, 3); err != recfile.ErrTorn {
		t.Error(err)
	}
	o.Resume = true
	s = serve(t, map[string]recfile.Options{"r": o})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err = read(path)
	if same(got, 3); err != nil {
		t.Error(err)
	}
}

// resumed opens what is in path.partial, completes it, and returns the file's content
// and the error that was told, if any.
func resumed(t *testing.T, o recfile.Options) (content []byte, st recfile.Stats, told error) {
	t.Helper()
	o.Resume, o.OnError = true, func(err error) { told = err }
	s := quick(t, map[string]recfile.Options{"r": o})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	return content, s.Stats("r"), told
}

// frames makes a file of them by the description in docs/FORMAT.md.
func frames(recs ...[]byte) (b []byte) {
	for _, rec := range recs {
		n := binary.LittleEndian.AppendUint32(nil, uint32(len(rec)))
		b = append(b, n...)
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(append(n, rec...), crc32.MakeTable(crc32.Castagnoli)))
		b = append(b, rec...)
	}
	return b
}

// Resume keeps every whole record, however large MaxRecord is now, and what it cuts off
// is beside the file, told and counted.
func TestResumeKeeps(t *testing.T) {
	big := bytes.Repeat([]byte{'x'}, 100_000)
	flipped := frames([]byte("one"), []byte("two"), []byte("three"))
	flipped[8+3+8] ^= 1
	header := []byte("a header that is longer than MaxRecord")
	for _, c := range []struct {
		name        string
		o           recfile.Options
		there, kept []byte
	}{
		{"a lowered MaxRecord", recfile.Options{Format: recfile.Frames, MaxRecord: 16}, frames(big, nil, []byte("end")), frames(big, nil, []byte("end"))},
		{"a header larger than MaxRecord", recfile.Options{Format: recfile.Frames, MaxRecord: 16, Header: header}, frames(header, []byte("r")), frames(header, []byte("r"))},
		{"lines longer than MaxRecord", recfile.Options{MaxRecord: 16}, append(big, '\n'), append(big, '\n')},
		{"a torn line", recfile.Options{}, []byte("one\ntwo\nthr"), []byte("one\ntwo\n")},
		{"a torn frame", recfile.Options{Format: recfile.Frames}, frames([]byte("one"), []byte("two"))[:20], frames([]byte("one"))},
		{"a flipped bit", recfile.Options{Format: recfile.Frames}, flipped, frames([]byte("one"))},
		// What a power failure may leave behind the last flushed record: were zeros a
		// valid frame, they would be many empty records.
		{"a tail of zeros", recfile.Options{Format: recfile.Frames}, append(frames([]byte("one")), make([]byte, 4096)...), frames([]byte("one"))},
		{"a tail of zeros behind lines", recfile.Options{}, append([]byte("one\n"), make([]byte, 4096)...), []byte("one\n")},
		{"a torn header", recfile.Options{Header: []byte("header")}, []byte("hea"), []byte("header\n")},
		{"no file of this format", recfile.Options{Format: recfile.Frames}, []byte("one\ntwo\n"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Path = filepath.Join(t.TempDir(), "r.bin")
			if err := os.WriteFile(c.o.Path+".cut-1", []byte("of another time"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(c.o.Path+".partial", c.there, 0o600); err != nil {
				t.Fatal(err)
			}
			content, st, told := resumed(t, c.o)
			if !bytes.Equal(content, c.kept) {
				t.Errorf("kept: %q, want %q", content, c.kept)
			}
			cut, ok := bytes.CutPrefix(c.there, c.kept)
			if !ok { // of the header nothing was kept
				cut = c.there
			}
			if st != (recfile.Stats{Cut: int64(len(cut))}) {
				t.Errorf("%+v, want %d bytes cut", st, len(cut))
			}
			beside, err := os.ReadFile(c.o.Path + ".cut-2")
			if len(cut) == 0 {
				if err == nil || told != nil {
					t.Errorf("nothing is to be cut, but %q, %v", beside, told)
				}
				return
			}
			if err != nil || !bytes.Equal(beside, cut) {
				t.Errorf("beside the file: %q, %v, want %q", beside, err, cut)
			}
			if !errors.Is(told, recfile.ErrCut) || !strings.Contains(told.Error(), c.o.Path+".cut-2") {
				t.Errorf("told: %v", told)
			}
		})
	}
}

// An unfinished file is gone on with below its own header only.
func TestResumeAnotherHeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.csv")
	was := []byte("a,b\n1,2\n")
	if err := os.WriteFile(path+".partial", was, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"a,b,c", "a", "A,b"} {
		_, err := recfile.NewServer(map[string]recfile.Options{"r": {Path: path, Header: []byte(header), Resume: true}})
		if err == nil || !strings.Contains(err.Error(), "begins with another header") {
			t.Errorf("%q: %v", header, err)
		}
	}
	if b, err := os.ReadFile(path + ".partial"); err != nil || !bytes.Equal(b, was) {
		t.Errorf("changed: %q, %v", b, err)
	}
	if content, _, _ := resumed(t, recfile.Options{Path: path, Header: []byte("a,b")}); !bytes.Equal(content, was) {
		t.Errorf("%q", content)
	}
}
