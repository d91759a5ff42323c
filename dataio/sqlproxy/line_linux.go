package sqlproxy

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

type line struct{ conn *net.UnixConn }

// newLine makes a line: this end, and the one for the worker to inherit.
func newLine() (*line, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	far := os.NewFile(uintptr(fds[1]), "sqlproxy.line")
	near, err := lineOver(os.NewFile(uintptr(fds[0]), "sqlproxy.line"))
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// lineOver takes ownership of f.
func lineOver(f *os.File) (*line, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a unix socket")
	}
	return &line{u}, nil
}

func (l *line) Close() error { return l.conn.Close() }

func (l *line) send(msg []byte, f *os.File) error {
	var oob []byte
	if f != nil {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		// Within Control the descriptor cannot be closed, and it stays non-blocking,
		// which Fd would change.
		var sendErr error
		err = raw.Control(func(fd uintptr) {
			oob = syscall.UnixRights(int(fd))
			_, _, sendErr = l.conn.WriteMsgUnix(msg, oob, nil)
		})
		return errors.Join(err, sendErr)
	}
	_, _, err := l.conn.WriteMsgUnix(msg, nil, nil)
	return err
}

// receive returns the next message and at most one descriptor that came with it.
func (l *line) receive() (msg []byte, f *os.File, err error) {
	buf, oob := make([]byte, maxLine), make([]byte, 64)
	n, on, flags, _, err := l.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, nil, err
	}
	for _, fd := range rights(oob[:on]) {
		if f != nil {
			syscall.Close(fd)
			continue
		}
		syscall.SetNonblock(fd, true)
		f = os.NewFile(uintptr(fd), "sqlproxy.session")
	}
	if n == 0 {
		err = io.EOF
	} else if flags&syscall.MSG_TRUNC != 0 {
		err = errMalformed
	}
	return buf[:n], f, err
}

func rights(oob []byte) (fds []int) {
	msgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		if got, err := syscall.ParseUnixRights(&m); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// newPair makes the sockets of a session: stream, non-blocking.
func newPair() (near, far *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "sqlproxy.session"), os.NewFile(uintptr(fds[1]), "sqlproxy.session"), nil
}
