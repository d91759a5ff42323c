//go:build amd64 || arm64

package shm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// room compares the need with the limits first. This is not a substitute for
// the reservation, since others may be faster, but it must come before it: the
// kernel answers a reservation beyond the limit of a memory cgroup, or beyond
// the machine, not with an error but by killing somebody.
func room(f *os.File, need uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err == nil && limit.Cur < need {
		return &SpaceError{"RLIMIT_FSIZE", need, limit.Cur, nil}
	}
	fs, err := statfs(f)
	if err != nil {
		return err
	}
	if fs.Type == unix.HUGETLBFS_MAGIC {
		info, err := readMeminfo()
		if err != nil {
			return err
		}
		free := (info["HugePages_Free"] - min(info["HugePages_Free"], info["HugePages_Rsvd"])) * info["Hugepagesize"]
		if need > free {
			return &SpaceError{"the hugetlb pool", need, free, nil}
		}
		return nil
	}
	if free := fs.Bavail * uint64(fs.Frsize); fs.Blocks != 0 && need > free {
		return &SpaceError{fsName(fs) + " under " + f.Name(), need, free, nil}
	}
	if fs.Type != unix.TMPFS_MAGIC && fs.Type != unix.RAMFS_MAGIC {
		return nil // on disk: the page cache gives way
	}
	return memoryRoom(need)
}

// chunk is what fallocate is asked for at a time. A signal interrupts it, and
// it undoes what it has done: with small steps it makes progress all the same.
const chunk = 64 << 20

// allocate puts real memory or disk behind the first total bytes of f, without
// asking the limits.
func allocate(f *os.File, total int64) error {
	for offset := int64(0); offset < total; {
		n := min(chunk, total-offset)
		err := unix.Fallocate(int(f.Fd()), 0, offset, n)
		switch {
		case err == nil:
			offset += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP): // a file system without it: write the zeros
			if err := writeZeros(f, offset, total); err != nil {
				return exhausted(f, err, total)
			}
			return nil
		default:
			return exhausted(f, os.NewSyscallError("fallocate", err), total)
		}
	}
	return nil
}

func writeZeros(f *os.File, offset, total int64) error {
	zeros := make([]byte, min(1<<20, total-offset))
	for offset < total {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), total-offset)], offset)
		if err != nil {
			return err
		}
		offset += int64(n)
	}
	return nil
}

// exhausted makes a SpaceError of an error that means a lack of room.
func exhausted(f *os.File, err error, total int64) error {
	fs, fsErr := statfs(f)
	if fsErr != nil {
		return err
	}
	free := fs.Bavail * uint64(fs.Frsize)
	if fs.Blocks == 0 { // memory without a limit of its own
		info, _ := readMeminfo()
		free = info["MemAvailable"]
	}
	if s, ok := space(err, fsName(fs)+" under "+f.Name(), uint64(total), free); ok {
		return s
	}
	return err
}

// spaceOr is err, as a SpaceError if that is what it means.
func spaceOr(err error, where string, total int) error {
	info, _ := readMeminfo()
	if s, ok := space(err, where, uint64(total), info["MemAvailable"]); ok {
		return s
	}
	return err
}

func space(err error, where string, need, free uint64) (*SpaceError, bool) {
	for _, e := range []error{unix.ENOSPC, unix.ENOMEM, unix.EDQUOT, unix.EFBIG} {
		if errors.Is(err, e) {
			return &SpaceError{where, need, free, err}, true
		}
	}
	return nil, false
}

func statfs(f *os.File) (fs unix.Statfs_t, err error) {
	for {
		err = unix.Fstatfs(int(f.Fd()), &fs)
		if err != unix.EINTR {
			return fs, os.NewSyscallError("fstatfs", err)
		}
	}
}

func fsName(fs unix.Statfs_t) string {
	switch fs.Type {
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.HUGETLBFS_MAGIC:
		return "hugetlbfs"
	}
	return fmt.Sprintf("file system %#x", fs.Type)
}

// advice is what to do about errors that come from outside.
func advice(err error) string {
	var s *SpaceError
	switch {
	case errors.As(err, &s) && s.Where == "RLIMIT_MEMLOCK":
		return "raise it (ulimit -l), or do not ask for Lock"
	case errors.As(err, &s):
		return "free or raise it, or make the segment smaller"
	case errors.Is(err, unix.EMFILE):
		var limit unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
		return fmt.Sprintf("raise RLIMIT_NOFILE, which is %d", limit.Cur)
	case errors.Is(err, unix.ENFILE):
		return "raise /proc/sys/fs/file-max"
	case errors.Is(err, os.ErrInvalid):
		return "use nodes of /sys/devices/system/node/online"
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return "the kernel or a system call filter does not allow it"
	}
	return ""
}
