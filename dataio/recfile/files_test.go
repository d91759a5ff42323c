package recfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"shmkit/dataio/recfile"
)

// What a run with rotation has left.
type leftBehind struct {
	next       []int // how many records each worker has
	unfinished bool  // there is a file without its name
	rest       int   // bytes behind its last whole record
}

// readFiles reads the complete files and the unfinished one, and fails the test if one
// does not begin with the header "header", if a complete one does not end with a whole
// record, or if a worker's records do not come in order and without gaps.
func readFiles(t *testing.T, path string, format recfile.Format, workers int) (l leftBehind) {
	t.Helper()
	l.next = make([]int, workers)
	for part := 1; !l.unfinished; part++ {
		name := fmt.Sprintf("%s.%04d.csv", strings.TrimSuffix(path, ".csv"), part)
		b, err := os.ReadFile(name)
		if l.unfinished = errors.Is(err, fs.ErrNotExist); l.unfinished {
			name = path + ".partial"
			b, err = os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				l.unfinished = false
				return l
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		valid, err := format.ValidPrefix(bytes.NewReader(b))
		if l.rest = len(b) - int(valid); err != nil || l.rest > 0 && !l.unfinished {
			t.Fatalf("%s: %d of %d bytes are whole records: %v", name, valid, len(b), err)
		}
		for i, rec := range split(b[:valid], format) {
			if i == 0 {
				if string(rec) != "header" {
					t.Fatalf("%s begins with %q", name, rec)
				}
				continue
			}
			rank, err := strconv.Atoi(string(rec[:1]))
			if err != nil || rank >= workers {
				t.Fatalf("%s: record %d is %q", name, i, rec)
			}
			if want := record(strconv.Itoa(rank), l.next[rank]); !bytes.Equal(rec, want) {
				t.Fatalf("%s: record %d is %q, want %q", name, i, rec, want)
			}
			l.next[rank]++
		}
	}
	return l
}

// split returns the records of whole ones.
func split(b []byte, format recfile.Format) (recs [][]byte) {
	if format == recfile.Lines {
		for line := range bytes.Lines(b) {
			recs = append(recs, line[:len(line)-1])
		}
		return recs
	}
	for rec, err := range recfile.Records(bytes.NewReader(b)) {
		if err == nil {
			recs = append(recs, bytes.Clone(rec))
		}
	}
	return recs
}
