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

// hugeBytes is how much of the mapping is in huge pages now.
func hugeBytes(mapping []byte, p pages) int {
	if p.hugetlb {
		return len(mapping)
	}
	return max(smaps(mapping, "ShmemPmdMapped:"), smaps(mapping, "FilePmdMapped:"))
}

// whyNotTransparent says what the system's setting for transparent huge pages of
// shared memory is, which is the usual reason for having none.
func whyNotTransparent() string {
	const path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
	s, _ := readProc(path)
	_, s, _ = strings.Cut(s, "[")
	s, _, _ = strings.Cut(s, "]")
	return fmt.Sprintf("no transparent ones: %s says %q", path, s)
}

// smaps is what the kernel says about a mapping under the given name, in bytes.
func smaps(mapping []byte, name string) int {
	all, _ := readProc("/proc/self/smaps")
	_, all, ok := strings.Cut("\n"+all, fmt.Sprintf("\n%08x-", spanOf(mapping).lo))
	if !ok {
		return 0
	}
	for line := range strings.Lines(all) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return int(kilobytes(f[1]))
		} else if len(f) > 0 && f[0] == "VmFlags:" {
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
