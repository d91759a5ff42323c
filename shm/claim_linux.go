//go:build amd64 || arm64

package shm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// ownership is an owner's hold on a named file.
type ownership struct {
	dir  *directory // own descriptor
	name string
	temp string // under which the file is linked as long as it lacks its name; "" if under none
	file *os.File
	id   identity
	lock *flock.Flock // exclusive, on the file
}

const tempPrefix = ".shm-"

// tmpfile is O_TMPFILE; a test takes it away.
var tmpfile = unix.O_TMPFILE

// claim makes an empty file that has no name, or a temporary one where the file
// system knows no nameless files, and locks it. The directory is locked, so that
// nobody sweeps the temporary name away before it is locked itself.
func (d *directory) claim(name string) (*ownership, *os.File, error) {
	c := &ownership{name: name}
	f, err := d.openat(".", tmpfile|os.O_RDWR, 0o600)
	if tmpfile == 0 || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		c.temp = tempPrefix + rand.Text()
		f, err = d.openat(c.temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	}
	if err != nil {
		return nil, nil, err
	}
	c.file, c.id = f, identityOf(f)
	own, err := d.dup()
	if err == nil {
		c.dir = own
		c.lock = lockOf(f)
		var ok bool
		if ok, err = c.lock.TryLock(); err == nil && !ok {
			err = fmt.Errorf("%w: lock on a new file", ErrBusy)
		}
	}
	if err != nil {
		if c.temp != "" {
			unix.Unlinkat(int(d.Fd()), c.temp, 0)
		}
		f.Close()
		if own != nil {
			own.Close()
		}
		return nil, nil, err
	}
	return c, f, nil
}

func (d *directory) dup() (*directory, error) {
	fd, err := unix.FcntlInt(d.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	return &directory{os.NewFile(uintptr(fd), d.path), d.path}, nil
}

// link gives the file a further name, which must be free.
func (c *ownership) link(name string) error {
	var err error
	if c.temp != "" {
		err = unix.Linkat(int(c.dir.Fd()), c.temp, int(c.dir.Fd()), name, 0)
	} else {
		err = unix.Linkat(unix.AT_FDCWD, selfFD(c.file), int(c.dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	}
	return os.NewSyscallError("linkat", err)
}

// publish gives the file its name. The directory is locked.
func (c *ownership) publish() error {
	if err := c.link(c.name); err != nil {
		return err
	}
	c.dropTemp()
	return nil
}

// takeOver lets the name lead from old to c, in one step.
func (c *ownership) takeOver(old *ownership) error {
	return c.dir.exclusively(time.Now().Add(busyLimit), func() error {
		if !c.dir.leadsToID(old.name, old.id) {
			return fmt.Errorf("%w: the name was taken away", os.ErrNotExist)
		}
		if c.temp == "" {
			temp := tempPrefix + rand.Text()
			if err := c.link(temp); err != nil {
				return err
			}
			c.temp = temp
		}
		err := unix.Renameat(int(c.dir.Fd()), c.temp, int(c.dir.Fd()), c.name)
		if err != nil {
			return os.NewSyscallError("renameat", err)
		}
		c.temp = ""
		return nil
	})
}

func (c *ownership) dropTemp() {
	if c.temp != "" {
		unix.Unlinkat(int(c.dir.Fd()), c.temp, 0)
		c.temp = ""
	}
}

// withdraw removes the names of the file, as far as they still lead to it.
func (c *ownership) withdraw() error {
	c.dropTemp()
	if !c.dir.leadsToID(c.name, c.id) {
		return nil
	}
	err := unix.Unlinkat(int(c.dir.Fd()), c.name, 0)
	if err == unix.ENOENT {
		err = nil
	}
	return os.NewSyscallError("unlinkat", err)
}

// release ends the ownership. It comes last: whoever finds the lock free may
// take the file for a dead owner's.
func (c *ownership) release() error {
	return errors.Join(c.lock.Unlock(), c.dir.Close())
}

// abandon undoes claim.
func (c *ownership) abandon() {
	c.dropTemp()
	c.release()
}

// sweep removes temporary names whose makers have died. The directory is locked.
func (d *directory) sweep() {
	again, err := d.openat(".", os.O_RDONLY|unix.O_DIRECTORY, 0) // with an offset of its own
	if err != nil {
		return
	}
	defer again.Close()
	names, _ := again.Readdirnames(-1)
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		if f, live, err := d.probe(name, os.O_RDONLY); err == nil && f != nil {
			if !live {
				unix.Unlinkat(int(d.Fd()), name, 0)
			}
			f.Close()
		}
	}
}
