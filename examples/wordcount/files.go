package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"shmkit/shm"
)

// listFiles returns the regular files below root that end in .go, in lexical
// order. Links are not followed, so that nothing is counted twice.
func listFiles(root string) ([]string, error) {
	if fi, err := os.Stat(root); err != nil {
		return nil, fmt.Errorf("input folder %w: name another with -input", err)
	} else if !fi.IsDir() {
		return nil, fmt.Errorf("input %s is no folder: name one with -input", root)
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && strings.HasSuffix(d.Name(), ".go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the input folder: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("input folder %s: no .go file in it: name another with -input", root)
	}
	return files, nil
}

// A fileList is the list of paths in one read-only segment that all workers map:
// paths parted by NUL, which no path contains. Every worker has the same list
// and takes its share by rank, so nobody hands out work while the job runs.
type fileList struct{ seg *shm.Segment }

var kindFiles = shm.KindOf("LIST")

func newFileList(run string, files []string) (*fileList, error) {
	list := []byte(strings.Join(files, "\x00"))
	seg, err := shm.Create(shm.Options{Name: run + ".files", Kind: kindFiles, Size: len(list), HandOff: shm.ReadOnly})
	if err != nil {
		return nil, err
	}
	copy(seg.Region(), list)
	return &fileList{seg}, nil
}

func (l *fileList) Close() error { return l.seg.Close() }

// Donate gives a worker a descriptor of its own for the segment.
func (l *fileList) Donate(group string, rank, size int) ([]*os.File, []string, io.Closer, error) {
	f, err := l.seg.Reopen()
	if err != nil {
		return nil, nil, nil, err
	}
	return []*os.File{f}, nil, shared{}, nil
}

// shared is a lease with nothing to give back.
type shared struct{}

func (shared) Close() error { return nil }

// openFileList copies the list out of the segment that a worker was given.
func openFileList(f *os.File) ([]string, error) {
	seg, err := shm.Attach(f, shm.Expect{Name: "wordcount.files", Kind: kindFiles, Access: shm.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer seg.Close()
	return strings.Split(string(seg.Region()), "\x00"), nil
}
