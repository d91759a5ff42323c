package spawn

import (
	"os"

	"golang.org/x/sys/unix"
)

// openPty makes a pseudo-terminal: our end, and the worker's. Nobody types at it, so
// it does not echo; its size is that of a classical terminal.
func openPty() (master, slave int, err error) {
	master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, explainFiles(&os.PathError{Op: "open", Path: "/dev/ptmx", Err: err})
	}
	fail := func(what string, err error) (int, int, error) {
		unix.Close(master)
		return -1, -1, explainFiles(os.NewSyscallError(what, err))
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return fail("unlock the terminal", err)
	}
	// By the master and not by a path: /dev/pts may be another one's in a container.
	if slave, err = ptyPeer(master); err != nil {
		return fail("open the terminal", err)
	}
	if t, err := unix.IoctlGetTermios(slave, unix.TCGETS); err == nil {
		t.Lflag &^= unix.ECHO
		unix.IoctlSetTermios(slave, unix.TCSETS, t)
	}
	unix.IoctlSetWinsize(slave, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	return master, slave, nil
}

func ptyPeer(master int) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
