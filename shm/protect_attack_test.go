//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// An attack tries to change one page of a segment that was handed out
// read-only. It has the worker's descriptor and mapping, and knows everything
// about the owner that a process of the same uid can find out.
type attack struct {
	name string
	try  func(v victim, page int) error
}

type victim struct {
	fd      int     // the worker's descriptor
	mapping []byte  // the worker's mapping, read-only
	pid     int     // the owner
	ownerFD int     // the owner's own descriptor, in its process
	region  uintptr // address in the owner's process
}

// at is the offset in the file of a page of the region.
func (v victim) at(page int) int64 { return PageSize + int64(page)*PageSize }

// The attacks on the memory: all that can go through a descriptor or a mapping.
// The seal stops them.
var memoryAttacks = []attack{
	{"mmap for writing", func(v victim, page int) error { return mmapAndWrite(v.fd, v.at(page)) }},
	{"mprotect of the read-only mapping", func(v victim, page int) error { return mprotectAndWrite(v.mapping, v.at(page)) }},
	{"pwrite", func(v victim, page int) error { return write(v.fd, v.at(page)) }},
	{"ftruncate", func(v victim, page int) error { return unix.Ftruncate(v.fd, 0) }},
	{"punch a hole", func(v victim, page int) error { return punch(v.fd, v.at(page)) }},
	{"MADV_REMOVE through the mapping", func(v victim, page int) error {
		return unix.Madvise(v.mapping[v.at(page):v.at(page)+PageSize], unix.MADV_REMOVE)
	}},
	{"read into the mapping", func(v victim, page int) error {
		f, err := os.Open("/dev/zero")
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = unix.Read(int(f.Fd()), v.mapping[v.at(page):v.at(page)+1])
		return err
	}},
	{"write to the mapping through /proc/self/mem", func(v victim, page int) error {
		return writeMem("/proc/self/mem", uintptr(unsafe.Pointer(&v.mapping[v.at(page)])))
	}},
	{"write to a private mapping", func(v victim, page int) error {
		m, err := unix.Mmap(v.fd, 0, int(v.at(page)+PageSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		defer unix.Munmap(m)
		m[v.at(page)] = scar
		return errors.New("a private copy")
	}},
	{"lift the seals", func(v victim, page int) error {
		_, err := unix.FcntlInt(uintptr(v.fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
		return err
	}},
	{"reopen /proc/self/fd, mmap", reopened(selfPath, mmapAndWrite)},
	{"chmod, reopen, mmap", reopened(chmodSelfPath, mmapAndWrite)},
	{"chmod, reopen, mmap read-only, mprotect", reopened(chmodSelfPath, func(fd int, at int64) error {
		m, err := unix.Mmap(fd, 0, int(at)+PageSize, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		defer unix.Munmap(m)
		return mprotectAndWrite(m, at)
	})},
	{"chmod, reopen, pwrite", reopened(chmodSelfPath, write)},
	{"chmod, reopen, punch a hole", reopened(chmodSelfPath, punch)},
	{"chmod, reopen, ftruncate", reopened(chmodSelfPath, func(fd int, _ int64) error { return unix.Ftruncate(fd, PageSize) })},
	{"chmod, reopen, splice", reopened(chmodSelfPath, spliceInto)},
	{"reopen /proc/OWNER/fd, mmap", reopened(ownerPath, mmapAndWrite)},
	{"reopen /proc/OWNER/fd, pwrite", reopened(ownerPath, write)},
	{"pidfd_getfd, mmap", stolen(mmapAndWrite)},
	{"pidfd_getfd, pwrite", stolen(write)},
	{"pidfd_getfd, punch a hole", stolen(punch)},
	{"pidfd_getfd, ftruncate", stolen(func(fd int, _ int64) error { return unix.Ftruncate(fd, PageSize) })},
}

// The attacks on the process that owns the memory. Undumpable stops them.
var processAttacks = []attack{
	{"process_vm_writev", func(v victim, page int) error {
		b := []byte{scar}
		local := []unix.Iovec{{Base: &b[0], Len: 1}}
		remote := []unix.RemoteIovec{{Base: v.region + uintptr(page*PageSize), Len: 1}}
		_, err := unix.ProcessVMWritev(v.pid, local, remote, 0)
		return err
	}},
	{"write to /proc/OWNER/mem", func(v victim, page int) error {
		return writeMem(fmt.Sprintf("/proc/%d/mem", v.pid), v.region+uintptr(page*PageSize))
	}},
	{"ptrace", func(v victim, page int) error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.PtraceAttach(v.pid); err != nil {
			return err
		}
		defer unix.PtraceDetach(v.pid)
		var status unix.WaitStatus
		if _, err := unix.Wait4(v.pid, &status, unix.WALL, nil); err != nil {
			return err
		}
		_, err := unix.PtracePokeData(v.pid, v.region+uintptr(page*PageSize), []byte{scar, scar, scar, scar, scar, scar, scar, scar})
		return err
	}},
}

var attacks = append(append([]attack{}, memoryAttacks...), processAttacks...)

const scar = 0xee // what a successful attack leaves

func mmapAndWrite(fd int, at int64) error {
	m, err := unix.Mmap(fd, 0, int(at)+PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	m[at] = scar
	return nil
}

func mmapAllAndWrite(fd, total int) error {
	m, err := unix.Mmap(fd, 0, total, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	m[0] = scar
	return nil
}

func mprotectAndWrite(m []byte, at int64) error {
	page := m[at : at+PageSize]
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	page[0] = scar
	return nil
}

func write(fd int, at int64) error {
	_, err := unix.Pwrite(fd, []byte{scar}, at)
	return err
}

func punch(fd int, at int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, PageSize)
}

func spliceInto(fd int, at int64) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := unix.Write(p[1], []byte{scar}); err != nil {
		return err
	}
	_, err := unix.Splice(p[0], nil, fd, &at, 1, 0)
	return err
}

func writeMem(path string, addr uintptr) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{scar}, int64(addr))
	return err
}

func selfPath(v victim) (string, error) { return fmt.Sprintf("/proc/self/fd/%d", v.fd), nil }

func chmodSelfPath(v victim) (string, error) {
	if err := unix.Fchmod(v.fd, 0o600); err != nil {
		return "", err
	}
	return selfPath(v)
}

func ownerPath(v victim) (string, error) { return fmt.Sprintf("/proc/%d/fd/%d", v.pid, v.ownerFD), nil }

// reopened opens a path for writing and goes on from there.
func reopened(path func(victim) (string, error), then func(fd int, at int64) error) func(victim, int) error {
	return func(v victim, page int) error {
		p, err := path(v)
		if err != nil {
			return err
		}
		fd, err := unix.Open(p, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer unix.Close(fd)
		return then(fd, v.at(page))
	}
}

// stolen takes the owner's own descriptor, which is open for writing.
func stolen(then func(fd int, at int64) error) func(victim, int) error {
	return func(v victim, page int) error {
		pidfd, err := unix.PidfdOpen(v.pid, 0)
		if err != nil {
			return err
		}
		defer unix.Close(pidfd)
		fd, err := unix.PidfdGetfd(pidfd, v.ownerFD, 0)
		if err != nil {
			return fmt.Errorf("pidfd_getfd: %w", err)
		}
		defer unix.Close(fd)
		return then(fd, v.at(page))
	}
}

// attacker tries everything and prints what the system answered.
var attacker = proctest.Helper("attacker", func(args []string) {
	number := func(i int) int { n, err := strconv.Atoi(args[i]); check(err); return n }
	v := victim{fd: 3, pid: number(0), ownerFD: number(1), region: uintptr(number(2))}
	var st unix.Stat_t
	check(unix.Fstat(v.fd, &st))
	var err error
	v.mapping, err = unix.Mmap(v.fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	check(err)
	for page, a := range attacks {
		if err := a.try(v, page); err != nil {
			fmt.Printf("%-45s %v\n", a.name, err)
		} else {
			fmt.Printf("%-45s no error\n", a.name)
		}
	}
})
