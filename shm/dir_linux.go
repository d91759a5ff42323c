//go:build amd64 || arm64

package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// A directory holds named segments. Everything in it is reached through the
// descriptor of the directory that was verified, never through its path again.
//
// Two locks decide who is who, both of them flock, which the kernel lets go of
// when the holder dies:
//
//   - The owner of a segment holds its file exclusively, from before the name
//     appears until after it is gone. Others find out with a shared lock, which
//     they drop at once: whether the owner is alive is never a guess.
//   - Whoever gives or removes a name holds the directory exclusively. Under it
//     it looks once more whether the name still leads to the dead segment.
//     Attaching needs no lock.
type directory struct {
	*os.File
	path string
}

// Network file systems on which flock is emulated, slow, or not there at all.
var networkFS = map[int64]string{
	0x6969:     "NFS",
	0x0bd00bd0: "Lustre",
	0x47504653: "GPFS",
	0x19830326: "BeeGFS",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x517b:     "SMB",
	0x00c36400: "Ceph",
	0x5346414f: "AFS",
	0x7461636f: "OCFS2",
	0x01161970: "GFS2",
	0xaad7aaea: "PanFS",
}

// openDirectory opens and verifies a directory.
func openDirectory(path string) (*directory, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		err = &os.PathError{Op: "open", Path: path, Err: err}
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
			err = fmt.Errorf("%w: %w", ErrUnsafeDir, err)
		}
		return nil, err
	}
	d := &directory{os.NewFile(uintptr(fd), path), path}
	if err := d.verify(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func openOrMakeDirectory(path string) (*directory, error) {
	if err := unix.Mkdir(path, 0o700); err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EACCES) {
		return nil, &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return openDirectory(path)
}

func (d *directory) verify() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if uid := os.Geteuid(); int(st.Uid) != uid {
		return fmt.Errorf("%w: %s belongs to uid %d, not to %d", ErrUnsafeDir, d.path, st.Uid, uid)
	}
	if mode := st.Mode & 0o7777; mode&0o077 != 0 {
		return fmt.Errorf("%w: %s has mode %#o, others can enter", ErrUnsafeDir, d.path, mode)
	}
	fs, err := statfs(d.File)
	if err != nil {
		return err
	}
	return refuseNetwork(d.path, int64(fs.Type))
}

func refuseNetwork(path string, fsType int64) error {
	if name, bad := networkFS[fsType&0xffffffff]; bad {
		return fmt.Errorf("%w: %s is on %s, whose locks and mappings do not hold between processes", ErrUnsafeDir, path, name)
	}
	return nil
}

func dirAdvice(err error) string {
	if errors.Is(err, ErrUnsafeDir) {
		return "use a directory of your own with mode 0700 on this machine, such as one under /dev/shm or $XDG_RUNTIME_DIR"
	}
	return advice(err)
}

// checkFileName refuses names that are no plain file names.
func checkFileName(op, name string) error {
	if err := checkName(op, name); err != nil {
		return err
	}
	if name == "" || name[0] == '.' || strings.ContainsRune(name, '/') {
		return fail(op, name, fmt.Errorf("%w: not a file name", os.ErrInvalid), "use letters, digits, - and _, and dots inside")
	}
	return nil
}

// openat opens a file in the directory. It follows no link and waits for no
// other end of a FIFO.
func (d *directory) openat(name string, flags int, mode uint32) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(d.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
		if err == nil {
			unix.SetNonblock(fd, false) // or package os would hand it to the poller
			return os.NewFile(uintptr(fd), d.path+"/"+name), nil
		}
		if err != unix.EINTR {
			return nil, &os.PathError{Op: "open", Path: d.path + "/" + name, Err: err}
		}
	}
}

// probe opens what the name leads to and reports whether its owner is alive. The
// file is nil if there is none.
func (d *directory) probe(name string, flags int) (f *os.File, live bool, err error) {
	f, err = d.openat(name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	var free bool
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() { // opening it once more might block
		err = &MismatchError{ErrNotSegment, "file of type " + fi.Mode().Type().String(), "a regular file"}
	}
	if err == nil {
		l := lockOf(f)
		if free, err = l.TryRLock(); err == nil && free {
			err = l.Unlock()
		}
	}
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return f, !free, nil
}

// lockOf is a lock on f with an open file description of its own, which no
// worker ever gets.
func lockOf(f *os.File) *flock.Flock {
	return flock.New(selfFD(f), flock.SetFlag(os.O_RDONLY))
}

// tryLock locks the directory. The error is ErrBusy if another process holds it.
func (d *directory) tryLock() (unlock func(), err error) {
	l := lockOf(d.File)
	ok, err := l.TryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s is locked%s", ErrBusy, d.path, d.holder())
	}
	return func() { l.Unlock() }, nil
}

// exclusively calls fn with the directory locked.
func (d *directory) exclusively(limit time.Time, fn func() error) error {
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		unlock, err := d.tryLock()
		if err == nil {
			defer unlock()
			return fn()
		}
		if !errors.Is(err, ErrBusy) || time.Now().After(limit) {
			return err
		}
		time.Sleep(pause)
	}
}

// holder names the process that holds the directory's lock, for a message.
func (d *directory) holder() string {
	locks, _ := readProc("/proc/locks")
	id := identityOf(d.File)
	at := fmt.Sprintf("%02x:%02x:%d", unix.Major(id.dev), unix.Minor(id.dev), id.ino)
	for line := range strings.Lines(locks) {
		// 1: FLOCK  ADVISORY  WRITE 1234 00:19:5678 0 EOF
		if f := strings.Fields(line); len(f) > 5 && f[1] == "FLOCK" && f[5] == at {
			return " by process " + f[4]
		}
	}
	return ""
}

// reclaim removes a name whose owner is dead. The directory is locked. It does
// not remove a file that was never a segment.
func (d *directory) reclaim(name string, f *os.File) error {
	if !d.leadsTo(name, f) {
		return fmt.Errorf("%w: the name has changed hands", ErrBusy)
	}
	if !wasSegment(f) {
		return notOurs
	}
	return os.NewSyscallError("unlinkat", unix.Unlinkat(int(d.Fd()), name, 0))
}

// notOurs is why a file is left alone.
var notOurs = &MismatchError{ErrNotSegment, "a file of another kind", "a segment"}

// wasSegment reports whether f is what is left of a segment, of any version and
// in any condition: its magic is there, or nothing at all.
func wasSegment(f *os.File) bool {
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	var b [8]byte
	n, _ := f.ReadAt(b[:], 0)
	m := binary.LittleEndian.Uint64(b[:])
	return n == 0 && fi.Size() == 0 || n == 8 && (m == magic || m == magicSwapped || m == 0)
}

// An identity tells files apart whatever their names are.
type identity struct{ dev, ino uint64 }

func identityOf(f *os.File) identity {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return identity{}
	}
	return identity{uint64(st.Dev), st.Ino}
}

func (d *directory) leadsTo(name string, f *os.File) bool {
	return d.leadsToID(name, identityOf(f))
}

func (d *directory) leadsToID(name string, id identity) bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && id != identity{} && id == identity{uint64(st.Dev), st.Ino}
}

// planPages is planPages for a file in this directory.
func (d *directory) planPages(o Options) (pages, error) {
	fs, err := statfs(d.File)
	switch {
	case err != nil:
		return pages{}, err
	case fs.Type == unix.HUGETLBFS_MAGIC:
		return pages{size: int(fs.Bsize), hugetlb: true}, nil
	case o.HugePages == HugePagesRequire:
		return pages{}, fmt.Errorf("%w: %s is not on a hugetlbfs", errors.ErrUnsupported, d.path)
	}
	p := pages{size: os.Getpagesize()}
	if o.HugePages == HugePagesTry {
		p = p.withoutHugetlb(fmt.Errorf("%s is not on a hugetlbfs", d.path))
	}
	return p, nil
}
