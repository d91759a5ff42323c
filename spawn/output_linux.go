package spawn

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is how much is read at once: what a pipe holds by default.
const chunk = 64 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// A capture reads one output stream of one worker, through the netpoller, and
// cuts it into lines.
type capture struct {
	f     *os.File
	conn  syscall.RawConn
	split splitter
	done  chan struct{} // closed after the last line was delivered
}

// newCapture takes ownership of fd, the reading end of a pipe.
func newCapture(fd int, name string) (*capture, error) {
	f, conn, err := pollable(fd, name)
	if err != nil {
		return nil, err
	}
	return &capture{f: f, conn: conn, done: make(chan struct{})}, nil
}

// run delivers until the end of the stream, or until cut and what was there then.
func (c *capture) run() {
	defer close(c.done)
	for {
		var (
			buf *[chunk]byte
			n   int
			end bool
		)
		err := c.conn.Read(func(fd uintptr) bool {
			// A buffer is held only while there is something to read.
			buf = chunks.Get().(*[chunk]byte)
			var err error
			n, err = retryRead(int(fd), buf[:])
			if err == syscall.EAGAIN {
				chunks.Put(buf)
				buf = nil
				return false
			}
			end = n <= 0
			return true
		})
		if buf != nil {
			if n > 0 {
				c.split.write(buf[:n])
			}
			chunks.Put(buf)
		}
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			c.drain()
		}
		if err != nil || end {
			break
		}
	}
	c.split.flush()
}

// drain delivers what is in the pipe at this moment, and no more: somebody else
// may hold its other end, and go on writing for ever.
func (c *capture) drain() {
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	c.conn.Control(func(fd uintptr) {
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for err == nil && left > 0 {
			var n int
			n, err = retryRead(int(fd), buf[:min(left, chunk)])
			if n <= 0 {
				break
			}
			c.split.write(buf[:n])
			left -= n
		}
	})
}

// cut ends the stream behind what is in the pipe now. The caller knows that the
// worker itself writes no more.
func (c *capture) cut() {
	c.f.SetReadDeadline(time.Unix(1, 0))
	<-c.done
}

func (c *capture) close() { c.f.Close() }

func retryRead(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// pollable takes ownership of fd, makes it non-blocking and puts it into the
// netpoller.
func pollable(fd int, name string) (*os.File, syscall.RawConn, error) {
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), name)
	conn, err := f.SyscallConn()
	if err == nil {
		err = f.SetReadDeadline(time.Time{}) // fails if it is not in the poller
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, conn, nil
}
