//go:build amd64 || arm64

package shm

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// pages is a plan for the pages behind a segment.
type pages struct {
	size        int    // bytes; the total is a multiple
	hugetlb     bool   // take them from the hugetlb pool
	transparent bool   // ask for transparent huge pages
	note        string // why not what was asked for
}

func planPages(o Options) (pages, error) {
	p := pages{size: os.Getpagesize()}
	if o.HugePages == HugePagesOff {
		return p, nil
	}
	info, err := readMeminfo()
	if err != nil {
		return p, err
	}
	huge := int(info["Hugepagesize"])
	switch {
	case huge == 0:
		p.note = "this kernel has no huge pages"
	case o.HugePages == HugePagesTry && o.Size < huge:
		p.note = fmt.Sprintf("the region is smaller than one huge page of %d bytes", huge)
	default:
		return pages{size: huge, hugetlb: true}, nil
	}
	if o.HugePages == HugePagesRequire {
		return p, fmt.Errorf("%w: %s", errors.ErrUnsupported, p.note)
	}
	return p, nil
}

// withoutHugetlb is the next best plan after hugetlb pages could not be had.
func (p pages) withoutHugetlb(why error) pages {
	return pages{size: os.Getpagesize(), transparent: true, note: "no hugetlb pages: " + why.Error()}
}

// total is the size of the file for a region of n bytes.
func (p pages) total(n int) int { return (PageSize + n + p.size - 1) / p.size * p.size }

// fillTransparent is fill for transparent huge pages. The kernel decides about
// the size of a page when it is touched, and by the advice for the mapping that
// it is touched through: so map first, touch, and let fallocate add what is
// missing and fail if it cannot.
func (m *memory) fillTransparent(total int) error {
	if err := room(m.file, 0, uint64(total)); err != nil {
		return err
	}
	if err := os.NewSyscallError("ftruncate", unix.Ftruncate(int(m.file.Fd()), int64(total))); err != nil {
		return err
	}
	if err := m.mmap(total); err != nil {
		return err
	}
	if unix.Madvise(m.mapping, unix.MADV_HUGEPAGE) == nil {
		_ = populate(m.mapping, ReadWrite)
	}
	return allocate(m.file, 0, int64(total))
}

// hugeBytes is how much of the mapping is in huge pages now.
func hugeBytes(mapping []byte, p pages) int {
	if p.hugetlb {
		return len(mapping)
	}
	b, _ := readProc("/proc/self/smaps")
	at := fmt.Sprintf("%x-", spanOf(mapping).lo)
	found := false
	for line := range strings.Lines(b) {
		if !found {
			found = strings.HasPrefix(line, at)
			continue
		}
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "ShmemPmdMapped:" || f[0] == "FilePmdMapped:") {
			if n := kilobytes(f[1]); n > 0 {
				return int(n)
			}
		}
		if strings.HasPrefix(line, "VmFlags:") {
			break
		}
	}
	return 0
}

// settle does what was asked for beyond the mapping itself.
func (s *Segment) settle(prefault, lock bool) error {
	if prefault {
		if err := populate(s.mapping, s.access); err != nil {
			return spaceOr(err, "memory", len(s.mapping))
		}
		s.info.Prefaulted = true
	}
	if lock {
		if err := s.mapping.Lock(); err != nil {
			return lockError(err, uint64(len(s.mapping)))
		}
		s.info.Locked = true
	}
	return nil
}

// populate fills the page tables for the mapping.
func populate(mapping []byte, a Access) error {
	advice := unix.MADV_POPULATE_READ
	if a == ReadWrite {
		advice = unix.MADV_POPULATE_WRITE
	}
	for {
		switch err := unix.Madvise(mapping, advice); err {
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.EINVAL: // before Linux 5.14
			return guard(mapping, func() error { touch(mapping, a); return nil })
		default:
			return os.NewSyscallError("madvise", err)
		}
	}
}

// lockError says what the limit for mlock has left. The kernel answers ENOMEM,
// EPERM or EAGAIN depending on its mood.
func lockError(err error, need uint64) error {
	var limit unix.Rlimit
	if e := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); e != nil {
		return os.NewSyscallError("mlock", err)
	}
	available := limit.Cur
	if locked := lockedBytes(); locked < available {
		available -= locked
	} else {
		available = 0
	}
	return &SpaceError{"RLIMIT_MEMLOCK", need, available, os.NewSyscallError("mlock", err)}
}
