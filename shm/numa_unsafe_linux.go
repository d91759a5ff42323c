//go:build amd64 || arm64

package shm

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mbind(mapping []byte, policy int, set *nodeSet) error {
	_, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(unsafe.SliceData(mapping))), uintptr(len(mapping)),
		uintptr(policy), uintptr(unsafe.Pointer(set)), maxNode+1, 0) // the kernel takes one bit less than it is told
	if errno != 0 {
		return os.NewSyscallError("mbind", errno)
	}
	return nil
}
