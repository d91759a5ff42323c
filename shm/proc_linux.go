//go:build amd64 || arm64

package shm

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// readMeminfo reads /proc/meminfo, in bytes where the kernel speaks of kB.
func readMeminfo() (map[string]uint64, error) {
	s, err := readProc("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	m := make(map[string]uint64, 64)
	for line := range strings.Lines(s) {
		name, value, _ := strings.Cut(line, ":")
		if f := strings.Fields(value); len(f) == 2 {
			m[name] = kilobytes(f[0])
		} else if len(f) == 1 {
			m[name], _ = strconv.ParseUint(f[0], 10, 64)
		}
	}
	return m, nil
}

func kilobytes(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n << 10
}

// lockedBytes is how much this process has locked in memory.
func lockedBytes() uint64 {
	s, _ := readProc("/proc/self/status")
	for line := range strings.Lines(s) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmLck:" {
			return kilobytes(f[1])
		}
	}
	return 0
}

// bootID names the time since the last boot. It is zero if it cannot be read.
func bootID() [16]byte {
	if id := boot.Load(); id != nil {
		return *id
	}
	s, _ := readProc("/proc/sys/kernel/random/boot_id")
	var id [16]byte
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), "-", ""))
	if err == nil && copy(id[:], b) == len(id) {
		boot.Store(&id)
	}
	return id
}

// boot is the boot id once it was read. Stored and loaded by any goroutine of
// this process, always with the same content: which of them stores does not
// matter.
var boot atomic.Pointer[[16]byte]

// startTime is when this process started, in clock ticks since boot: field 22 of
// /proc/self/stat, counted behind the name, which may hold anything. Zero if it
// cannot be read.
func startTime() uint64 {
	s, _ := readProc("/proc/self/stat")
	if i := strings.LastIndexByte(s, ')'); i >= 0 {
		if f := strings.Fields(s[i+1:]); len(f) > 19 {
			n, _ := strconv.ParseUint(f[19], 10, 64)
			return n
		}
	}
	return 0
}

// readNumber reads a file that holds one number. It is not ok if the file is not
// there or says "max".
func readNumber(path string) (n uint64, ok bool, err error) {
	s, err := readProc(path)
	if err != nil || s == "" {
		return 0, false, err
	}
	n, bad := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	return n, bad == nil, nil
}

// readProc reads a file that the kernel makes up, "" if there is none or it is
// hidden from us. Other errors, such as a lack of descriptors, are errors: a
// limit must not be overlooked because of them.
func readProc(path string) (string, error) {
	s, err := readAll(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENODEV) {
		return "", nil
	}
	return s, err
}

// readAll is os.ReadFile without the poller: starting that at the descriptor
// limit ends the process.
func readAll(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var b []byte
	for chunk := make([]byte, 8<<10); ; {
		n, err := unix.Read(fd, chunk)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return string(b), nil
		default:
			b = append(b, chunk[:n]...)
		}
	}
}
