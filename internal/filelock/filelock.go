// Package filelock sees to it that one file has one writing process on this
// machine. The lock is flock(2), taken through gofrs/flock: the kernel releases it
// when its holder ends, however that happens.
package filelock

import (
	"errors"
	"fmt"
	"os"

	"github.com/gofrs/flock"
)

// ErrLocked is what a [LockedError] is.
var ErrLocked = errors.New("another process writes it")

// A LockedError says that a file has a writer already.
type LockedError struct {
	Path string
	PID  int // of the writer; 0 if it cannot be seen from here
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is being written by another process: choose another path, or end that process", e.Path)
	}
	return fmt.Sprintf("%s is being written by process %d: choose another path, or end that process", e.Path, e.PID)
}

func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// A Lock is held until Release.
type Lock struct {
	f    *flock.Flock
	path string
	own  bool // the file is only there for the lock
}

// File locks a file that the caller has open. The lock belongs to the file, not
// to its name: when somebody renames the file, the new one of that name is free.
func File(f *os.File) (*Lock, error) {
	if err := local(f); err != nil {
		return nil, err
	}
	l, err := try(f.Name(), os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	mine, err := f.Stat()
	if err == nil {
		var locked os.FileInfo
		if locked, err = l.f.Stat(); err == nil && !os.SameFile(mine, locked) {
			err = fmt.Errorf("%s was replaced while it was opened: try again", f.Name())
		}
	}
	if err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

// Beside locks a name for a program that replaces the file of that name: the
// lock is on path.lock, which Release removes.
func Beside(path string) (*Lock, error) {
	path += ".lock"
	for {
		l, err := try(path, os.O_CREATE|os.O_RDWR)
		if err != nil {
			return nil, err
		}
		l.own = true
		locked, err := l.f.Stat()
		if err != nil {
			l.f.Unlock()
			return nil, err
		}
		// Whoever releases the lock removes the file: ours may be the old one.
		if now, err := os.Stat(path); err == nil && os.SameFile(now, locked) {
			return l, l.checkLocal()
		}
		l.f.Unlock()
	}
}

func (l *Lock) checkLocal() error {
	f, err := os.Open(l.path)
	if err == nil {
		err = local(f)
		f.Close()
	}
	if err != nil {
		l.Release()
	}
	return err
}

func try(path string, flag int) (*Lock, error) {
	l := &Lock{f: flock.New(path, flock.SetFlag(flag), flock.SetPermissions(0o600)), path: path}
	ok, err := l.f.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", path, err)
	case !ok:
		return nil, &LockedError{Path: path, PID: holder(path)}
	}
	return l, nil
}

// Release lets go of the lock. It may be called twice.
func (l *Lock) Release() error {
	if l.own {
		l.own = false
		os.Remove(l.path) // while we hold it: nobody else does
	}
	return l.f.Unlock()
}
