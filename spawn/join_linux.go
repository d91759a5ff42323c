package spawn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Join makes this process, which no server started, a member of a run on this
// machine, with the same resources as the function workers have. The server has to
// allow it ([Options].Guests). Its end is noticed by the kernel closing the
// connection, which is close-on-exec; [Child.Leave] ends the membership in
// order.
//
// When the server is gone the context ends with [ErrServerGone] and the process
// lives on: what it has mapped stays valid, what it sends is refused.
//
// A *[JoinError] says why it could not join; it wraps [io/fs.ErrNotExist] if no
// such run is alive, and [ErrEnding] if it is about to end.
func Join(ctx context.Context, o JoinOptions) (*Child, error) {
	if o.Run == "" {
		o.Run = os.Getenv(envRun)
	}
	if err := checkName(o.Run); err != nil {
		return nil, &JoinError{o.Run, fmt.Errorf("run name %w", err)}
	}
	dir, err := resolveRuntimeDir(o.Dir)
	if err != nil {
		return nil, &JoinError{o.Run, err}
	}
	conn, err := dialGuests(ctx, filepath.Join(dir.path, o.Run))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("no node of that run lives in %s, or it takes no guests: start it first: %w", dir.path, fs.ErrNotExist)
		}
		return nil, &JoinError{o.Run, err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	c, err := joinOver(conn, o)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &JoinError{o.Run, err}
	}
	c.dir = dir.path
	c.server, _ = peerOf(conn)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	go c.listen()
	return c, nil
}

func dialGuests(ctx context.Context, dir string) (conn *net.UnixConn, err error) {
	err = viaDir(dir, func(dir string) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unixpacket", filepath.Join(dir, joinName))
		if err == nil {
			conn = c.(*net.UnixConn)
		}
		return err
	})
	return conn, err
}

// joinOver says hello and takes what the welcome promises.
func joinOver(conn *net.UnixConn, o JoinOptions) (_ *Child, err error) {
	b, err := json.Marshal(hello{Version: joinVersion, Group: o.Group, Rank: o.Rank, Size: o.Size})
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	buf := make([]byte, maxWelcome)
	n, err := conn.Read(buf)
	if err != nil {
		return nil, fmt.Errorf("the node did not answer: %w", err)
	}
	var in welcome
	if err := json.Unmarshal(buf[:n], &in); err != nil {
		return nil, fmt.Errorf("the answer is not one of a node: %w", err)
	}
	if in.Ending {
		return nil, ErrEnding
	}
	if in.Error != "" {
		return nil, errors.New(in.Error)
	}
	pl, err := parsePlumbing(in.Plumbing)
	if err != nil {
		return nil, err
	}
	c := &Child{Run: in.Run, Group: in.Group, Rank: in.Rank, Size: in.Size, guest: true, pulse: new(pulse), gone: make(chan struct{}), stopOn: o.StopSignals}
	files, err := receiveFiles(conn, pl.nfiles())
	if err == nil {
		c.ctl, err = controlOver(conn)
	}
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	for i, d := range pl.resources {
		r := &childResource{addr: uint16(i), name: d.name, words: d.words, files: files[:d.nfiles:d.nfiles]}
		files = files[d.nfiles:]
		c.resources = append(c.resources, r)
	}
	return c, nil
}

// receiveFiles takes n files. Those it returns beside an error are to be closed.
func receiveFiles(conn *net.UnixConn, n int) (files []*os.File, err error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4*MaxMessageFiles))
	for len(files) < n {
		_, oobn, flags, _, err := conn.ReadMsgUnix(b[:], oob)
		if err != nil {
			return files, fmt.Errorf("the node's files did not come: %w", err)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return files, err
		}
		before := len(files)
		for _, m := range msgs {
			fds, err := unix.ParseUnixRights(&m)
			if err != nil {
				return files, err
			}
			for _, fd := range fds {
				files = append(files, os.NewFile(uintptr(fd), "resource"))
			}
		}
		if flags&unix.MSG_CTRUNC != 0 || len(files) == before {
			return files, errors.New("too many open files here: raise the limit (ulimit -n)")
		}
	}
	if len(files) > n {
		return files, errors.New("the node sent more files than it said")
	}
	return files, nil
}

// Leave ends the membership of a process that joined, and returns when the server
// has taken all that it left in its rings and closed its leases, or with ctx's
// error; then the server does so all the same. The last to leave a server that ends
// with its guests waits for its end. It may be called again. For a worker
// that the server started it does nothing: its end is its leave.
func (c *Child) Leave(ctx context.Context) error {
	if !c.guest {
		return nil
	}
	if err := c.ctl.sendWait(addrSpawn, opLeave, nil, nil); err != nil && !errors.Is(err, os.ErrClosed) {
		return &MessageError{"the server", err}
	}
	select {
	case <-c.gone:
		c.ctl.f.Close()
	case <-ctx.Done():
		return fmt.Errorf("spawn: leave run %q: the node is still taking what this process left: %w", c.Run, ctx.Err())
	}
	if c.exiting && c.server > 0 {
		if err := awaitProcess(ctx, c.server); err != nil {
			return fmt.Errorf("spawn: leave run %q: the node (pid %d) has not ended yet: %w", c.Run, c.server, err)
		}
	}
	return nil
}

// awaitProcess returns when a process, which need not be a child, has ended.
func awaitProcess(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil // it has
	}
	f, conn, err := pollable(fd, "pidfd")
	if err != nil {
		return err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })()
	err = conn.Read(func(fd uintptr) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n == 1
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}
