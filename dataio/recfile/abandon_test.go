package recfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"shmkit/dataio/recfile"
)

// A server that cannot be made leaves the files of its other names as they were.
func TestNothingChangedByFailure(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.partial", "not torn\ntorn")
	write("b.partial", "to be replaced\n")
	write("d", "complete\n")
	files := map[string]recfile.Options{
		"a": {Path: filepath.Join(dir, "a"), Resume: true},
		"b": {Path: filepath.Join(dir, "b"), Replace: true},
		"c": {Path: filepath.Join(dir, "c")},
		"d": {Path: filepath.Join(dir, "d")}, // there
	}
	if _, err := recfile.NewServer(files); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	for name, want := range map[string]string{"a.partial": "not torn\ntorn", "b.partial": "to be replaced\n", "d": "complete\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
}

// An abandoned file stays unfinished, for Resume; one that never had a record is removed.
func TestAbandon(t *testing.T) {
	dir := t.TempDir()
	options := func(resume bool) map[string]recfile.Options {
		return map[string]recfile.Options{
			"used":   {Path: filepath.Join(dir, "used"), Header: []byte("h"), Resume: resume},
			"unused": {Path: filepath.Join(dir, "unused"), Header: []byte("h"), Resume: resume},
		}
	}
	for round := range 3 {
		s := serve(t, options(round > 0))
		c, lease := local(t, s)
		if err := c.File("used").Append(record("0", round)); err != nil {
			t.Fatal(err)
		}
		if err := lease.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Abandon(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 || left[0] != filepath.Join(dir, "used.partial") {
			t.Errorf("left: %v", left)
		}
	}
	if err := serve(t, options(true)).Close(); err != nil {
		t.Fatal(err)
	}
	check(t, filepath.Join(dir, "used"), "h", map[string]int{"0": 3})
	check(t, filepath.Join(dir, "unused"), "h", nil)
}
