package recfile_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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
