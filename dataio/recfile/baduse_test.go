package recfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shmkit/dataio/recfile"
)

func TestBadUse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.csv")
	says := func(err error, is error, texts ...string) {
		t.Helper()
		if err == nil || is != nil && !errors.Is(err, is) {
			t.Errorf("%v, want %v", err, is)
			return
		}
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v\nlacks %q", err, text)
			}
		}
	}
	open := func(o recfile.Options) error {
		_, err := recfile.NewServer(map[string]recfile.Options{"r.csv": o})
		return err
	}
	s := serve(t, map[string]recfile.Options{"r.csv": {Path: path, MaxRecord: 100}})
	c, lease := local(t, s)
	says(c.File("r.cvs").Append(nil), nil, `"r.cvs"`, "unknown file", "the node has: r.csv")
	says(c.File("r.csv").Append([]byte("a\nb")), recfile.ErrNewline, `"r.csv"`, "Frames")
	says(c.File("r.csv").Append(make([]byte, 101)), recfile.ErrTooLarge, "101 bytes, at most 100", "Options.MaxRecord")
	if n, err := fmt.Fprintln(c.File("r.csv"), "one", "line"); n != 9 || err != nil {
		t.Error(n, err)
	}
	says(open(recfile.Options{Path: path, Resume: true}), nil, "another node writes it", "choose a folder")
	lease.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Donate("w", 0, 1); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	says(open(recfile.Options{Path: path}), fs.ErrExist, "set Replace")
	says(open(recfile.Options{Path: filepath.Join(dir, "no", "r.csv")}), fs.ErrNotExist, "choose a folder")
	says(open(recfile.Options{Path: path, Header: []byte("a\nb")}), recfile.ErrNewline, "header")
	if _, err := recfile.NewServer(map[string]recfile.Options{"a b": {}}); err == nil || !strings.Contains(err.Error(), "Options.Path") {
		t.Error(err)
	}
	if _, err := recfile.Attach(nil, nil, nil); err == nil || !strings.Contains(err.Error(), "restart the run") {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
