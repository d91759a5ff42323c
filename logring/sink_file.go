package logring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// OpenJSON returns a sink that appends to the file as [JSON] writes, creating the file
// if it is missing. The sink owns the file. Sync (and so [Collector.Flush] and
// Close) makes it durable.
func OpenJSON(path string) (Sink, error) { return openLines("json:", path, &jsonFormat{}) }

// OpenText is [OpenJSON] in the format of [Text].
func OpenText(path string) (Sink, error) { return openLines("text:", path, &textFormat{}) }

func openLines(kind, path string, f format) (Sink, error) {
	t, err := openFile(path)
	if err != nil {
		hint := "choose another path"
		switch {
		case errors.Is(err, fs.ErrNotExist):
			hint = "create its folder first"
		case errors.Is(err, fs.ErrPermission):
			hint = "choose a path that this user may write"
		}
		return nil, fmt.Errorf("logring: open log file: %w: %s", err, hint)
	}
	return &lineSink{name: kind + path, format: f, to: t}, nil
}

// A fileTarget is a file that only this sink appends to. It knows where the
// file must end, so that it never cuts off what somebody else appended.
type fileTarget struct {
	f       *os.File
	regular bool
	end     int64
}

func openFile(path string) (*fileTarget, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	t := &fileTarget{f: f}
	st, err := f.Stat()
	if err == nil && st.Mode().IsRegular() {
		t.regular, t.end = true, st.Size()
		err = t.endLine(path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

// endLine ends the half line that a crash may have left, so that it does not
// spoil the first one of ours.
func (t *fileTarget) endLine(path string) error {
	if t.end == 0 {
		return nil
	}
	r, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil // a file that we may append to but not read
	} else if err != nil {
		return err
	}
	defer r.Close()
	var last [1]byte
	if _, err := r.ReadAt(last[:], t.end-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = t.Write([]byte{'\n'})
	return err
}

func (t *fileTarget) Write(b []byte) (int, error) {
	n, err := t.f.Write(b)
	t.end += int64(max(n, 0))
	return n, err
}

// retract truncates the file, if it still ends where we ended it.
func (t *fileTarget) retract(n int) bool {
	if !t.regular {
		return false
	}
	st, err := t.f.Stat()
	if err != nil || st.Size() != t.end || t.f.Truncate(t.end-int64(n)) != nil {
		return false
	}
	t.end -= int64(n)
	return true
}

func (t *fileTarget) Sync() error {
	if !t.regular {
		return nil // a pipe or a terminal
	}
	return t.f.Sync()
}

func (t *fileTarget) Close() error { return t.f.Close() }
