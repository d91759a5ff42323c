//go:build amd64 || arm64

package shm

import (
	"encoding/hex"
	"strconv"
	"strings"
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
func bootID() (id [16]byte) {
	s, _ := readProc("/proc/sys/kernel/random/boot_id")
	if b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), "-", "")); err == nil {
		copy(id[:], b)
	}
	return id
}

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
