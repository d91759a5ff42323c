package recfile_test

import (
	"bytes"
	"os"
	"path/filepath"
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
