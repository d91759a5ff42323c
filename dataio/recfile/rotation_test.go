package recfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shmkit/dataio/recfile"
)

// With MaxBytes there are several files, each with its header, each complete under its
// name, and no record is torn between two.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.csv")
	s := serve(t, map[string]recfile.Options{"results.csv": {Path: path, Header: []byte("h"), MaxBytes: 2000}})
	c, lease := local(t, s)
	const n = 500
	for i := range n {
		if err := c.File("results.csv").Append(record("0", i)); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	lease.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	parts, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "results.*.csv"))
	if len(parts) < 4 {
		t.Fatalf("parts: %v", parts)
	}
	whole := filepath.Join(filepath.Dir(path), "whole")
	var all []byte
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil || !bytes.HasPrefix(b, []byte("h\n")) || !bytes.HasSuffix(b, []byte("\n")) {
			t.Fatalf("%s: %q… %v", p, b[:min(len(b), 20)], err)
		}
		all = append(all, b[2:]...)
	}
	if err := os.WriteFile(whole, all, 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, whole, "", map[string]int{"0": n})
}

// Numbers go on behind the largest one, and none is taken twice: whoever has moved the
// first files away finds them go on, and not begin again.
func TestRotationNumbers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.csv")
	names := func() (names []string) {
		all, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range all {
			names = append(names, filepath.Base(name))
		}
		return names
	}
	run := func(o recfile.Options, records int) {
		t.Helper()
		o.Path, o.MaxBytes = path, 1
		s := serve(t, map[string]recfile.Options{"r": o})
		c, lease := local(t, s)
		for i := range records {
			if err := c.File("r").Append(record("0", i)); err != nil {
				t.Fatal(err)
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		lease.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want ...string) {
		t.Helper()
		if have := names(); !slices.Equal(have, want) {
			t.Errorf("there are %v, want %v", have, want)
		}
	}
	run(recfile.Options{}, 3)
	want("r.0001.csv", "r.0002.csv", "r.0003.csv")
	if _, err := recfile.NewServer(map[string]recfile.Options{"r": {Path: path, MaxBytes: 1}}); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "set Resume or Replace") {
		t.Error(err)
	}
	os.Remove(filepath.Join(dir, "r.0001.csv"))
	for _, stranger := range []string{"r.5.csv", "r.000x.csv", "r..csv", "r.csv", "r.-001.csv"} {
		os.WriteFile(filepath.Join(dir, stranger), nil, 0o600)
		defer os.Remove(filepath.Join(dir, stranger))
	}
	run(recfile.Options{Resume: true}, 2)
	want("r.-001.csv", "r..csv", "r.0002.csv", "r.0003.csv", "r.0004.csv", "r.0005.csv", "r.000x.csv", "r.5.csv", "r.csv")
	run(recfile.Options{Replace: true}, 2)
	want("r.-001.csv", "r..csv", "r.0001.csv", "r.0002.csv", "r.000x.csv", "r.5.csv", "r.csv")
}

// A name that somebody else has taken in the meantime is not overwritten.
func TestNameTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	s := serve(t, map[string]recfile.Options{"r": {Path: path, Patience: -1}})
	if err := os.WriteFile(path, []byte("somebody else's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "move it away") {
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "somebody else's" {
		t.Errorf("%q", b)
	}
}
