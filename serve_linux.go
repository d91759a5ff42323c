package shmkit

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// detach gives the process a session of its own: what is sent to the process
// group or the terminal of its starter does not reach it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func setCloseOnExec(f *os.File) { unix.CloseOnExec(int(f.Fd())) }

// startWide starts a process that may run on all processors of the job: launchers
// bind each rank to its own, and the node serves them all. The kernel cuts the
// mask down to the job's cpuset.
func startWide(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var own, wide unix.CPUSet
	if unix.SchedGetaffinity(0, &own) == nil {
		for i := range len(wide) * 64 {
			wide.Set(i)
		}
		if unix.SchedSetaffinity(0, &wide) == nil {
			defer unix.SchedSetaffinity(0, &own)
		}
	}
	return cmd.Start()
}
