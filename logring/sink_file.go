package logring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"shmkit/internal/filelock"
)

// FileOptions for [OpenFile]. The zero value appends JSON lines to a file that
// nobody else writes.
type FileOptions struct {
	Format Format      // default [JSONFormat]
	Perm   fs.FileMode // of a file that is created, before the umask; default 0o644

	// NoLock does without the lock, for a file system that has none or for
	// a file whose other writers know how to append whole lines.
	NoLock bool
}

// OpenFile returns a sink that appends lines to a file, creating the file if it is
// missing. The sink owns the file and locks it: a second writer is refused, with
// an error that names the first one's process. It ends a half line that a crash
// may have left there. Flush and Close make it durable, and whatever else
// [SinkOptions.Sync] says.
//
// The sink is a [Reopener]: after somebody has renamed the file, Reopen
// makes it go on in a new one of the old name, from a whole line on. Until that
// succeeds it writes to the renamed one.
func OpenFile(path string, o FileOptions) (Sink, error) {
	f, err := o.Format.lines()
	if err != nil {
		return nil, fmt.Errorf("logring: open log file %s: %w", path, err)
	}
	if o.Format == "" {
		o.Format = JSONFormat
	}
	t, err := openFile(path, o)
	if err != nil {
		return nil, fmt.Errorf("logring: open log file: %w", withHint(err))
	}
	return &lineSink{name: string(o.Format) + ":" + path, format: f, to: t}, nil
}

// OpenJSON is [OpenFile] in the format of [JSON].
func OpenJSON(path string) (Sink, error) { return OpenFile(path, FileOptions{}) }

// OpenText is [OpenFile] in the format of [Text].
func OpenText(path string) (Sink, error) { return OpenFile(path, FileOptions{Format: TextFormat}) }

// withHint adds what to do about an error of the file system.
func withHint(err error) error {
	hint := ""
	switch {
	case errors.Is(err, filelock.ErrLocked):
		return err // says it itself
	case errors.Is(err, fs.ErrNotExist):
		hint = "create its folder first"
	case errors.Is(err, fs.ErrPermission):
		hint = "choose a path that this user may write"
	case errors.Is(err, syscall.EROFS):
		hint = "choose a path on a file system that is mounted for writing"
	case errors.Is(err, syscall.EISDIR):
		hint = "it is a folder: choose a path in it"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "make room there, or choose a path on another file system"
	default:
		hint = "choose another path"
	}
	return fmt.Errorf("%w: %s", err, hint)
}

// A fileTarget is a file that only this sink appends to. It knows where the
// file must end, so that it never cuts off what somebody else appended.
type fileTarget struct {
	path string
	o    FileOptions

	f       *os.File
	lock    *filelock.Lock // nil: none
	regular bool
	end     int64
}

func openFile(path string, o FileOptions) (*fileTarget, error) {
	if o.Perm == 0 {
		o.Perm = 0o644
	}
	t := &fileTarget{path: path, o: o}
	return t, t.open()
}

// open opens the path and locks the file. Pipes and devices are shared things.
func (t *fileTarget) open() error {
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, t.o.Perm)
	if err != nil {
		return err
	}
	t.f = f
	st, err := f.Stat()
	if err == nil && st.Mode().IsRegular() {
		t.regular = true
		if !t.o.NoLock {
			t.lock, err = filelock.File(f)
		}
		if err == nil {
			t.end = st.Size()
			if now, err := f.Stat(); err == nil { // the one that held the lock may have written
				t.end = now.Size()
			}
			err = t.endLine()
		}
	}
	if err != nil {
		t.Close()
	}
	return err
}

// endLine ends the half line that a crash may have left, so that it does not
// spoil the first one of ours.
func (t *fileTarget) endLine() error {
	if t.end == 0 {
		return nil
	}
	r, err := os.Open(t.path)
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

// Renew opens the path anew, unless it still names the file that is open.
func (t *fileTarget) Renew() error {
	if now, err := os.Stat(t.path); err == nil {
		if st, err := t.f.Stat(); err == nil && os.SameFile(now, st) {
			return nil
		}
	}
	fresh, err := openFile(t.path, t.o)
	if err != nil {
		return withHint(err)
	}
	old := *t
	*t = *fresh
	return errors.Join(old.Sync(), old.Close())
}

func (t *fileTarget) Write(b []byte) (int, error) {
	n, err := t.f.Write(b)
	t.end += int64(max(n, 0))
	return n, err
}

// Retract truncates the file, if it still ends where we ended it.
func (t *fileTarget) Retract(n int) bool {
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

func (t *fileTarget) Close() error {
	err := t.f.Close()
	if t.lock != nil {
		err = errors.Join(err, t.lock.Release())
	}
	return err
}
