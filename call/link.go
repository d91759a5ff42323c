package call

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A link is one end of the socket. A record is sent whole or not at all, so a
// sender can give up at any time and leaves nothing half said.
type link struct {
	conn *net.UnixConn
	raw  syscall.RawConn
	max  int           // bytes of a message without its header
	turn chan struct{} // holds a token while somebody sends
}

func newLink(f *os.File, limit int) (*link, error) {
	c, err := net.FileConn(f) // has a copy of the descriptor
	f.Close()
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s is no Unix socket", c.LocalAddr().Network())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	return &link{conn: u, raw: raw, max: limit, turn: make(chan struct{}, 1)}, nil
}

// send sends one message, and waits for its turn and for room as long as ctx
// allows. When the link is closed or its other end is gone, the error is
// os.ErrClosed.
func (l *link) send(ctx context.Context, msg []byte) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	full, err := l.write(msg, false)
	if !full {
		return err
	}
	// The other side does not read. A deadline in the past ends the wait.
	gaveUp := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(gaveUp)
		l.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	_, err = l.write(msg, true)
	if !stop() {
		<-gaveUp
		l.conn.SetWriteDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

// write sends a record now, or when there is room.
func (l *link) write(msg []byte, wait bool) (full bool, err error) {
	var sent error
	err = l.raw.Write(func(fd uintptr) bool {
		for {
			if sent = sendRecord(fd, msg); sent != syscall.EINTR {
				break
			}
		}
		full = sent == syscall.EAGAIN
		return !(full && wait)
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return true, err
	case err != nil:
		return false, os.ErrClosed
	case full:
		return true, nil
	case sent == syscall.EPIPE, sent == syscall.ECONNRESET, sent == syscall.ENOTCONN:
		return false, os.ErrClosed
	}
	return false, sent
}

// buffers are for receive: whoever waits for a message holds none, so that a thousand
// idle workers cost no memory here.
var buffers = sync.Pool{New: func() any { return new([headerSize + MaxMessage + 1]byte) }}

// receive hands each message to take until that returns an error, or the link ends,
// which is not an error. The message is valid until take returns.
func (l *link) receive(take func(frame) error) error {
	for {
		var buf *[headerSize + MaxMessage + 1]byte
		var n int
		var err error
		closed := l.raw.Read(func(fd uintptr) bool {
			buf = buffers.Get().(*[headerSize + MaxMessage + 1]byte)
			if n, err = readRecord(fd, buf[:headerSize+l.max+1]); err == syscall.EAGAIN {
				buffers.Put(buf)
				return false
			}
			return true
		})
		if closed != nil {
			return nil
		}
		if err == nil && n > 0 {
			var f frame
			if f, err = l.parse(buf[:n]); err == nil {
				err = take(f)
			}
		} else {
			n, err = 0, nil // the end
		}
		buffers.Put(buf)
		if err != nil || n == 0 {
			return err
		}
	}
}

// parse takes a record apart.
func (l *link) parse(b []byte) (frame, error) {
	if len(b) > headerSize+l.max {
		return frame{}, fmt.Errorf("message of more than %d bytes", l.max)
	}
	return parseFrame(b)
}

// next waits for the next message, which is in buf. The error is io.EOF at the end of
// the link, os.ErrDeadlineExceeded after a read deadline, and any other what is
// wrong with the message.
func (l *link) next(buf []byte) (frame, error) {
	n, err := l.conn.Read(buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return frame{}, os.ErrDeadlineExceeded
	case err != nil:
		return frame{}, io.EOF
	}
	return l.parse(buf[:n])
}

// buffer is for next: one byte more than a message has, so that one which is too
// large shows.
func (l *link) buffer() []byte { return make([]byte, headerSize+l.max+1) }

// close wakes everybody who sends or receives.
func (l *link) close() { l.conn.Close() }
