//go:build amd64 || arm64

package shm

import (
	"os"

	"golang.org/x/sys/unix"
)

// Undumpable closes this process to others of the same uid: process_vm_writev
// and process_vm_readv, /proc/PID/mem, /proc/PID/fd, ptrace and pidfd_getfd
// answer EPERM or EACCES from now on. Only a process with CAP_SYS_PTRACE still
// gets in, root for one. An owner calls it before it starts the first worker:
// the seal guards the memory of a segment, this guards the process that may
// write to it.
//
// The price: no core dump, no debugger or profiler that attaches from outside,
// and /proc/PID belongs to root. The kernel sets the flag back when the process
// executes another program, so children are not affected, and neither is what a
// set-uid program gets by itself.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fail("undumpable", "", os.NewSyscallError("prctl", err), "")
	}
	return nil
}
