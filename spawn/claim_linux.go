package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// A claim is the exclusive right to one run: the directory DIR/RUN and the file
// lock in it, both locked with flock(2).
//
// The lock of the directory decides. It cannot be taken away by removing a file,
// and it keeps systemd-tmpfiles from ageing what is in there. The lock of the
// file is the one others look at: they may take it shared for a moment to see
// whether the run lives, and never get in the way of a starting server. The file
// holds one line for people: lockHeader and the holder's pid.
//
// Both are removed as the last act of their holder, under the lock. So whoever
// gets a lock looks whether the path still names what it locked, and starts over
// if not; the kernel ends the locks of a killed holder, and the next claim of
// that name finds its leftovers and removes them.
type claim struct {
	parent    runtimeDir
	path      string
	dir, file *flock.Flock
}

const (
	lockName   = "lock"
	lockHeader = "shmkit run 1, pid "
)

// patience is how long a claim waits for a run that is being started, closed or
// pruned, which takes well under a millisecond. A variable for tests.
var patience = 3 * time.Second

var (
	errVanished = errors.New("was removed by another process while it was being opened")
	errInMotion = errors.New("is being started or closed by another process")
)

// claimRun makes DIR/RUN and locks it. What a killed holder left is removed. The
// error is a *RunningError when there is a live one.
func claimRun(parent runtimeDir, run string) (*claim, error) {
	c := &claim{parent: parent, path: filepath.Join(parent.path, run)}
	deadline := time.Now().Add(patience)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := parent.ensure()
		if err == nil {
			err = c.try(true)
		}
		if err == nil {
			if err = c.occupy(); err != nil {
				c.unlock()
			}
			return c, err
		}
		again := errors.Is(err, errVanished) || errors.Is(err, errInMotion)
		if again && time.Now().Before(deadline) {
			time.Sleep(pause)
			continue
		}
		if errors.Is(err, errInMotion) {
			err = c.running()
		} else if err == errVanished {
			err = &DirError{c.path, err}
		}
		parent.drop()
		return nil, err
	}
}

// try takes both locks, or neither. create says whether to make what is missing.
func (c *claim) try(create bool) error {
	if create {
		if err := os.Mkdir(c.path, 0o700); errors.Is(err, fs.ErrNotExist) {
			return errVanished
		} else if err != nil && !errors.Is(err, fs.ErrExist) {
			return &DirError{c.path, errors.Unwrap(err)}
		}
	}
	fi, err := os.Lstat(c.path)
	if err != nil {
		return c.explain(err)
	}
	if err := checkOwnDir(fi); err != nil {
		return &DirError{c.path, err}
	}
	c.dir = flock.New(c.path, flock.SetFlag(os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW), flock.SetPermissions(0))
	if ok, err := c.dir.TryLock(); err != nil {
		return c.explain(err)
	} else if !ok {
		// A server that was killed while it forked leaves the locks, for a moment,
		// to a child that has not yet executed its program. So a dead holder is no
		// answer yet, as little as one that does not hold the lock file (any more),
		// or has not written who it is: that may be somebody who tidies up (Prune).
		if pid, live := probe(c.lockPath()); live && pid > 0 && !isDead(pid) {
			return c.running()
		}
		return errInMotion
	}
	if !stillNames(c.path, c.dir) {
		c.unlock()
		return errVanished
	}
	// The directory is ours from here on. Is it one of ours, though?
	if err := c.recognise(); err != nil {
		c.unlock()
		return err
	}
	c.file = flock.New(c.lockPath(), flock.SetFlag(os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW), flock.SetPermissions(0o600))
	switch ok, err := c.file.TryLock(); {
	case errors.Is(err, syscall.ELOOP):
		c.unlock()
		return &DirError{c.path, errors.New("its lock file is a symbolic link: remove it")}
	case err != nil:
		c.unlock()
		return c.explain(err)
	case !ok: // somebody looks at it
		c.unlock()
		return errInMotion
	case !stillNames(c.lockPath(), c.file):
		c.unlock()
		return errVanished
	}
	return nil
}

// recognise refuses to take over, and empty, a directory that is not a run's:
// somebody may have given a directory of other things as the runtime directory.
// A run's has a lock file with our line in it. It is missing only between the
// making of the directory and of the line, when nothing else is in there either.
func (c *claim) recognise() error {
	entries, err := os.ReadDir(c.path)
	if err != nil {
		return &DirError{c.path, errors.Unwrap(err)}
	}
	head, err := readLock(c.lockPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if errors.Is(err, syscall.ELOOP) {
			err = errors.New("its lock file is a symbolic link: remove it")
		}
		return &DirError{c.path, err}
	}
	if bytes.HasPrefix(head, []byte(lockHeader)) || len(entries) == 0 ||
		len(entries) == 1 && entries[0].Name() == lockName && len(head) == 0 {
		return nil
	}
	return &DirError{c.path, errors.New("holds other things than a run: choose another run name or runtime directory, or remove it")}
}

// occupy makes the locked directory a fresh one with our pid in it.
func (c *claim) occupy() error {
	if err := os.Chmod(c.path, 0o700); err != nil {
		return &DirError{c.path, errors.Unwrap(err)}
	}
	if err := c.sweep(); err != nil {
		return err
	}
	line := lockHeader + strconv.Itoa(os.Getpid()) + "\n"
	if err := os.WriteFile(c.lockPath(), []byte(line), 0o600); err != nil {
		return &DirError{c.path, err}
	}
	return nil
}

// sweep removes everything but the lock file.
func (c *claim) sweep() error {
	entries, err := os.ReadDir(c.path)
	if err != nil {
		return &DirError{c.path, errors.Unwrap(err)}
	}
	var first error
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.path, e.Name())); err != nil && first == nil {
			first = &DirError{c.path, fmt.Errorf("cannot be emptied: %w", err)}
		}
	}
	return first
}

// release removes the run's directory, and the runtime directory when this was
// its last run, and gives up the locks. A directory that was removed behind our
// back, and may be another server's by now, is left alone.
func (c *claim) release() error {
	defer c.parent.drop()
	defer c.unlock()
	if !stillNames(c.path, c.dir) {
		return nil
	}
	if err := c.sweep(); err != nil {
		return err
	}
	if err := os.Remove(c.lockPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &DirError{c.path, err}
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &DirError{c.path, err}
	}
	return nil
}

// unlock gives up what is locked and closes the descriptors.
func (c *claim) unlock() {
	for _, l := range []**flock.Flock{&c.file, &c.dir} {
		if *l != nil {
			(*l).Unlock()
			*l = nil
		}
	}
}

func (c *claim) lockPath() string { return filepath.Join(c.path, lockName) }

func (c *claim) running() error {
	pid, _ := probe(c.lockPath())
	return &RunningError{Run: filepath.Base(c.path), Dir: c.path, Pid: pid}
}

func (c *claim) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errVanished
	}
	return &DirError{c.path, err}
}

// stillNames reports whether path still is the file that l has locked.
func stillNames(path string, l *flock.Flock) bool {
	a, err := os.Lstat(path)
	if err != nil {
		return false
	}
	b, err := l.Stat()
	return err == nil && os.SameFile(a, b)
}

// probe reads the holder's pid from a lock file and reports whether it lives. It
// holds the lock shared for a moment to find out.
func probe(path string) (pid int, live bool) {
	head, err := readLock(path)
	if err != nil {
		return 0, false
	}
	if rest, ok := bytes.CutPrefix(head, []byte(lockHeader)); ok {
		pid, _ = strconv.Atoi(string(bytes.TrimSpace(rest)))
	}
	l := flock.New(path, flock.SetFlag(os.O_RDONLY|syscall.O_NOFOLLOW), flock.SetPermissions(0))
	ok, err := l.TryRLock()
	if ok {
		l.Unlock()
	}
	return pid, err == nil && !ok
}

// isDead reports whether a process is known to be dead; one in another pid
// namespace looks like it.
func isDead(pid int) bool {
	if pid <= 0 {
		return false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err == unix.ESRCH
	}
	defer unix.Close(fd)
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n == 1 // a zombie
}

// readLock returns the beginning of a lock file. It neither follows a link nor
// waits at a FIFO that somebody put there.
func readLock(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 64)
	n, _ := f.Read(b)
	return b[:n], nil
}
