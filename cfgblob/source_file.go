package cfgblob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// filePoll is how often a followed file is looked at: one stat(2) each time. A
// notification of the kernel would be quicker and would miss network file systems,
// files that are replaced, and links above the file; a stat misses none of them.
const filePoll = time.Second

// File is a Source that holds the JSON object in a file, with the line of each
// key. It follows changes: writes, replacement by rename, and links that are
// turned to another folder, as Kubernetes does with mounted ConfigMaps.
//
// The file is read whole and has to parse whole. Of a writer that truncates and
// then writes, an unfinished file is an error that passes with the next change;
// until then what was read before stays in use.
func File(path string) Source { return &file{path: path, poll: filePoll} }

type file struct {
	path string
	poll time.Duration
}

func (f *file) Name() string { return f.path }

func (f *file) Read(context.Context) (Layer, error) {
	doc, err := os.ReadFile(f.path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the path stands in front already
		}
		return Layer{}, err
	}
	tree, where, err := parseWhere(doc)
	return Layer{Name: f.path, Tree: tree, Where: where}, err
}

func (f *file) Follow(ctx context.Context, changed func()) error {
	tick := time.NewTicker(f.poll)
	defer tick.Stop()
	var told os.FileInfo // as it was when changed was called
	last, _ := os.Stat(f.path)
	for first := true; ; first = false {
		// The first look catches a change between Read and Follow. After that a
		// file counts when it has been the same for two looks: a writer in the
		// middle of its work is let finish.
		now, _ := os.Stat(f.path)
		if first || sameFile(now, last) && !sameFile(now, told) {
			told = now
			changed()
		}
		last = now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sameFile tells whether two stats are of one file with one content, as far as
// that can be known without reading it. nil is a file that is not there.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
