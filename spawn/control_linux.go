package spawn

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A control is one end of the socket between the server and a function worker.
// The kernel keeps the records apart and in order, and tells the end of the
// other side by the end of the stream.
//
// The server's end takes whatever a hostile worker sends: a flood costs that
// worker's own goroutine, a malformed record is counted and its files are
// closed, and nothing it does can make a send wait.
type control struct {
	f    *os.File
	conn syscall.RawConn

	// Counts of messages nobody wanted, and of those that found no room. Stored by
	// the reader and by senders, loaded by Infos. They are figures and guard no
	// other memory, so no order is needed, on amd64 or arm64.
	rejected, unsent atomic.Uint64

	// held: the end of receive does not hang up, the closing of f does. Set by
	// deliver, in receive's goroutine.
	held bool

	// closing holds a token for each goroutine that closes unwanted files.
	closing chan struct{}
}

// Closing a descriptor takes as long as the one who made it likes (a lingering
// socket, a dead file server), and the reader must not wait for that. So others do,
// up to maxClosing of them; a worker that keeps all of them waiting for
// closingPatience loses its control socket.
const (
	maxClosing      = 8
	closingPatience = time.Second
)

// A message is what a well-formed record said.
type message struct {
	addr, op uint16
	payload  []byte
	fds      []int
}

// files makes files of the descriptors.
func (m message) files() []*os.File {
	var files []*os.File
	for _, fd := range m.fds {
		files = append(files, os.NewFile(uintptr(fd), "message"))
	}
	return files
}

// record is a buffer for one message and its descriptors.
type record struct {
	data [frameHeader + MaxMessage + 1]byte // one more: an oversize record shows
	oob  [80]byte                           // one SCM_RIGHTS of MaxMessageFiles
}

var records = sync.Pool{New: func() any { return new(record) }}

func newControl(fd int, name string) (*control, error) {
	f, conn, err := pollable(fd, name)
	if err != nil {
		return nil, err
	}
	return &control{f: f, conn: conn, closing: make(chan struct{}, maxClosing)}, nil
}

// receive calls deliver for each well-formed message until that returns false, the
// stream ends, the read deadline passes (then everything that had arrived was
// delivered), or the other side has misbehaved too much. The payload and the
// descriptors belong to deliver.
func (c *control) receive(resources func() int, deliver func(message) (goOn bool)) {
	one := func(fd int, rec *record) (again, end bool) {
		n, fds, flags, err := recvmsg(fd, rec)
		if err == syscall.EAGAIN {
			return true, false
		}
		if err != nil || n == 0 {
			c.discard(fds)
			return false, true // the end; or an empty record, which nobody sends in good faith
		}
		addr, op, payload, err := parseFrame(rec.data[:n], resources())
		if err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(fds) > MaxMessageFiles || op != 0 && len(fds) > 0 {
			return false, !c.reject(fds)
		}
		m := message{addr: addr, op: op, fds: fds}
		if len(payload) > 0 {
			m.payload = append(m.payload, payload...)
		}
		return false, !deliver(m)
	}
	// Whoever ends the listening hangs up: the other side shall not talk to a wall.
	defer func() {
		if !c.held {
			c.conn.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
	}()
	for {
		var end bool
		err := c.conn.Read(func(fd uintptr) bool {
			rec := records.Get().(*record)
			defer records.Put(rec)
			var again bool
			again, end = one(int(fd), rec)
			return !again
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.drain(one)
			return
		}
		if err != nil || end {
			return
		}
	}
}

// maxDrained bounds what is taken from a dead worker's socket. The kernel's own
// bound, the sender's buffer, holds fewer.
const maxDrained = 4096

// drain takes what had arrived. A descendant of the worker may still hold the
// other end and go on sending.
func (c *control) drain(one func(int, *record) (bool, bool)) {
	rec := records.Get().(*record)
	defer records.Put(rec)
	c.conn.Control(func(fd uintptr) {
		for range maxDrained {
			if again, end := one(int(fd), rec); again || end {
				return
			}
		}
	})
}

// cut makes receive deliver what had arrived and return.
func (c *control) cut() { c.f.SetReadDeadline(time.Unix(1, 0)) }

// reject counts a message that nobody wants and closes its descriptors. It returns
// false if the other side is to lose the connection.
func (c *control) reject(fds []int) (goOn bool) {
	c.rejected.Add(1)
	return c.discard(fds)
}

// discard closes descriptors without waiting for it, or for little.
func (c *control) discard(fds []int) (goOn bool) {
	if len(fds) == 0 {
		return true
	}
	goOn = true
	select {
	case c.closing <- struct{}{}:
	default:
		timeout := time.NewTimer(closingPatience)
		defer timeout.Stop()
		select {
		case c.closing <- struct{}{}:
		case <-timeout.C:
			goOn = false
		}
	}
	go func() {
		closeFDs(fds)
		if goOn {
			<-c.closing
		}
	}()
	return goOn
}

// send sends one message without waiting.
func (c *control) send(addr, op uint16, payload []byte, files []*os.File) error {
	head, oob, err := prepare(addr, op, payload, files)
	if err != nil {
		return err
	}
	var sendErr error
	if err := c.conn.Control(func(fd uintptr) { sendErr = sendmsg(int(fd), head[:], payload, oob) }); err != nil {
		return os.ErrClosed
	}
	err = explainSend(sendErr)
	if errors.Is(err, ErrBusy) {
		c.unsent.Add(1)
	}
	return err
}

// explainSend says what the result of a sendmsg means. ETOOMANYREFS: this user has
// too many descriptors under way between processes.
func explainSend(err error) error {
	switch err {
	case syscall.EAGAIN, syscall.ENOBUFS, syscall.ETOOMANYREFS:
		return fmt.Errorf("%w (%w)", ErrBusy, err)
	case syscall.EPIPE, syscall.ECONNRESET, syscall.ENOTCONN:
		return os.ErrClosed
	}
	return err
}

// sendWait sends one message and waits for room.
func (c *control) sendWait(addr, op uint16, payload []byte, files []*os.File) error {
	head, oob, err := prepare(addr, op, payload, files)
	if err != nil {
		return err
	}
	var sendErr error
	err = c.conn.Write(func(fd uintptr) bool {
		sendErr = sendmsg(int(fd), head[:], payload, oob)
		return sendErr != syscall.EAGAIN
	})
	if err != nil {
		return os.ErrClosed
	}
	return explainSend(sendErr)
}

func prepare(addr, op uint16, payload []byte, files []*os.File) (head [frameHeader]byte, oob []byte, err error) {
	if len(payload) > MaxMessage {
		return head, nil, fmt.Errorf("payload of %d bytes, at most %d: put it into shared memory and send a file", len(payload), MaxMessage)
	}
	if len(files) > MaxMessageFiles {
		return head, nil, fmt.Errorf("%d files, at most %d: send them in several messages", len(files), MaxMessageFiles)
	}
	if len(files) > 0 {
		fds, err := rawFDs(files)
		if err != nil {
			return head, nil, err
		}
		oob = unix.UnixRights(fds...)
	}
	return putFrameHeader(addr, op), oob, nil
}

// rawFDs returns the numbers of open files. Unlike Fd it leaves their blocking
// mode alone. The numbers are valid as long as nobody closes the files.
func rawFDs(files []*os.File) ([]int, error) {
	fds := make([]int, len(files))
	for i, f := range files {
		if f == nil {
			return nil, os.ErrInvalid
		}
		conn, err := f.SyscallConn()
		if err == nil {
			err = conn.Control(func(fd uintptr) { fds[i] = int(fd) })
		}
		if err != nil {
			return nil, err
		}
	}
	return fds, nil
}

func sendmsg(fd int, head, payload, oob []byte) error {
	for {
		_, err := unix.SendmsgBuffers(fd, [][]byte{head, payload}, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != syscall.EINTR {
			return err
		}
	}
}

// recvmsgWait is recvmsg on a blocking socket: it waits.
func recvmsgWait(fd int, rec *record) (n int, fds []int, flags int, err error) {
	for {
		n, fds, flags, err = recvmsg(fd, rec)
		if err != syscall.EAGAIN {
			return n, fds, flags, err
		}
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
	}
}

// recvmsg takes one record. All descriptors that came with it are returned,
// whatever else is wrong.
func recvmsg(fd int, rec *record) (n int, fds []int, flags int, err error) {
	var oobn int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, rec.data[:], rec.oob[:], unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, 0, err
	}
	if oobn > 0 {
		msgs, err := unix.ParseSocketControlMessage(rec.oob[:oobn])
		if err != nil {
			return n, nil, flags | unix.MSG_CTRUNC, nil
		}
		for _, m := range msgs {
			if got, err := unix.ParseUnixRights(&m); err == nil {
				fds = append(fds, got...)
			}
		}
	}
	return n, fds, flags, nil
}
