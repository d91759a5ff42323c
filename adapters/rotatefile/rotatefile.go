// Package rotatefile is a log file that is replaced in time, by size or by the
// clock, with old ones compressed and removed, through timberjack.
//
//	sink, err := rotatefile.Open("run.jsonl", rotatefile.Options{Megabytes: 100, Every: 24 * time.Hour, Keep: 7, Compress: "gzip"})
//	node, err := shmkit.Start(ctx, shmkit.Options{Sinks: []logring.Sink{sink}})
//
// It is for logs of many processes: they all come to the one process that writes the
// file, so that no record is lost or torn by a rotation. A file begins and ends with
// a whole record. A second writer is refused, see [logring.OpenFile].
//
// The old files of run.jsonl are run-2006-01-02T15-04-05.000-REASON.jsonl in the same
// folder, in UTC, with .gz or .zst behind it once they are compressed.
package rotatefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/DeRuina/timberjack"

	"shmkit/internal/filelock"
	"shmkit/logring"
)

// Options for [Open]. The zero value keeps JSON lines in files of 100 MiB, all of
// them.
type Options struct {
	Format logring.Format // default JSON lines

	Megabytes int           // MiB of a file, default 100; a record that is larger gets a file of its own
	Every     time.Duration // a new file at least so often, when something is written; 0: not by time
	At        []string      // and at these times of day, UTC, as in "00:00"

	Keep      int   // old files to keep; 0: any number
	KeepDays  int   // days to keep them; 0: for ever
	KeepTotal int64 // bytes that all of them may have; 0: any number. The oldest go first.

	Compress string      // "gzip", "zstd", or "" for not at all
	Perm     fs.FileMode // of new files, default 0o640
}

// Open returns the sink. Its Reopen method (see [logring.Reopener]) begins a new file.
func Open(path string, o Options) (logring.Sink, error) {
	t := &target{path: path, o: o}
	err := t.open()
	if err != nil {
		return nil, fmt.Errorf("rotatefile: open %s: %w", path, err)
	}
	s, err := logring.Lines("rotate:"+path, o.Format, t, t.o.Megabytes<<20)
	if err != nil {
		t.Close()
		return nil, err
	}
	return s, nil
}

func (o *Options) check() error {
	if o.Megabytes == 0 {
		o.Megabytes = 100
	}
	if o.Perm == 0 {
		o.Perm = 0o640
	}
	switch {
	case o.Megabytes < 0 || o.Keep < 0 || o.KeepDays < 0 || o.KeepTotal < 0 || o.Every < 0:
		return errors.New("a limit is negative: leave it at 0 for none")
	case o.Compress != "" && o.Compress != "gzip" && o.Compress != "zstd":
		return fmt.Errorf("compression %q: use gzip or zstd", o.Compress)
	}
	for _, at := range o.At {
		if _, err := time.Parse("15:04", at); err != nil || len(at) != 5 {
			return fmt.Errorf("time of day %q: write it as 15:04", at)
		}
	}
	return nil
}

// A rotator is what this package uses of timberjack's Logger.
type rotator interface {
	io.Writer
	Sync() error
	Rotate() error
	Close() error
}

// A target is the file that is written now. Its methods are called by the sink's
// own goroutine.
type target struct {
	path string
	o    Options
	lock *filelock.Lock
	log  rotator
	grew int64 // bytes written since the last look at the old files
}

func (t *target) open() error {
	if err := t.o.check(); err != nil {
		return err
	}
	f, err := os.OpenFile(t.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, t.o.Perm)
	if err != nil {
		return withHint(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("it is not a regular file: choose another path")
	}
	if t.lock, err = filelock.Beside(t.path); err != nil {
		return err
	}
	if err := endLine(f, st.Size()); err != nil {
		t.lock.Release()
		return withHint(err)
	}
	t.log = t.rotator()
	t.prune()
	return nil
}

// endLine ends the half line that a crash may have left.
func endLine(f *os.File, size int64) error {
	var last [1]byte
	if size == 0 {
		return nil
	}
	if _, err := f.ReadAt(last[:], size-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err := f.Write([]byte("\n"))
	return err
}

func withHint(err error) error {
	hint := "choose another path"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "create its folder first"
	case errors.Is(err, fs.ErrPermission):
		hint = "choose a path that this user may write"
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("%w: %s", err, hint)
}

func (t *target) rotator() rotator {
	return &timberjack.Logger{
		Filename: t.path, MaxSize: t.o.Megabytes, MaxAge: t.o.KeepDays, MaxBackups: t.o.Keep,
		Compression: t.o.Compress, RotationInterval: t.o.Every, RotateAt: t.o.At, FileMode: t.o.Perm,
	}
}

// Write takes whole lines, at most a file's worth, or one that is larger.
func (t *target) Write(b []byte) (int, error) {
	write := t.log.Write
	if len(b) > t.o.Megabytes<<20 {
		write = t.writeLarge
	}
	n, err := write(b)
	if t.grew += int64(n); t.grew >= int64(t.o.Megabytes)<<20/4 {
		t.prune()
	}
	if err != nil {
		return n, fmt.Errorf("%s: %w", t.path, err)
	}
	return n, nil
}

// writeLarge writes what timberjack would refuse for ever.
func (t *target) writeLarge(b []byte) (int, error) {
	if err := t.log.Rotate(); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.Write(b)
	if err == nil {
		err = t.again()
	}
	return n, err
}

// again makes timberjack look at the file anew.
func (t *target) again() error {
	err := t.log.Close()
	t.log = t.rotator()
	return err
}

// Retract cuts the file back, so that no rotation comes between the parts of a line.
func (t *target) Retract(n int) bool {
	t.again()
	st, err := os.Stat(t.path)
	return err == nil && st.Size() >= int64(n) && os.Truncate(t.path, st.Size()-int64(n)) == nil
}

// Renew begins a new file.
func (t *target) Renew() error { return t.log.Rotate() }

func (t *target) Sync() error { return t.log.Sync() }

func (t *target) Close() error {
	err := t.log.Close()
	t.prune()
	return errors.Join(err, t.lock.Release())
}

// prune removes the oldest files until the others are within KeepTotal, which
// timberjack does not know.
func (t *target) prune() {
	t.grew = 0
	if t.o.KeepTotal == 0 {
		return
	}
	total := int64(0)
	old, _ := Old(t.path)
	for i := len(old) - 1; i >= 0; i-- {
		if st, err := os.Stat(old[i]); err == nil {
			if total += st.Size(); total > t.o.KeepTotal {
				os.Remove(old[i])
			}
		}
	}
}

// Old returns the paths of the files that path was rotated into, the oldest first.
func Old(path string) ([]string, error) {
	ext := filepath.Ext(path)
	prefix := strings.TrimSuffix(filepath.Base(path), ext) + "-"
	entries, err := os.ReadDir(filepath.Dir(path)) // sorted by name, and so by time
	if err != nil {
		return nil, fmt.Errorf("rotatefile: old files of %s: %w", path, err)
	}
	var old []string
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), prefix)
		const layout = "2006-01-02T15-04-05.000"
		if !ok || len(stamp) < len(layout) || !e.Type().IsRegular() {
			continue
		}
		if _, err := time.Parse(layout, stamp[:len(layout)]); err != nil {
			continue
		}
		file := filepath.Join(filepath.Dir(path), e.Name())
		plain := strings.TrimSuffix(strings.TrimSuffix(file, ".gz"), ".zst")
		if !strings.HasSuffix(plain, ext) || plain != file && slices.Contains(old, plain) {
			continue // of another log, or just being compressed
		}
		old = append(old, file)
	}
	return old, nil
}
