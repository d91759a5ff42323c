package call

import (
	"os"
	"syscall"
)

const soPassRights = 83 // SO_PASSRIGHTS

// socketpair makes the two ends of a link.
func socketpair() (ours, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	// Descriptors that come with a message are none of ours, and closing one can take
	// as long as its maker likes: from Linux 6.16 on the kernel refuses to pass them.
	// Before, they are closed by the reader of the connection they came on.
	syscall.SetsockoptInt(fds[0], syscall.SOL_SOCKET, soPassRights, 0)
	return os.NewFile(uintptr(fds[0]), "call"), os.NewFile(uintptr(fds[1]), "call"), nil
}

// sendRecord sends one record without waiting, and without a SIGPIPE.
func sendRecord(fd uintptr, b []byte) error {
	return syscall.Sendto(int(fd), b, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, nil)
}

// readRecord takes one record without waiting; 0 bytes are the end.
func readRecord(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
