package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// notices is how commands say that they are ready, as sd_notify(3) does: by a
// datagram with the line READY=1 to the socket that NOTIFY_SOCKET names. Who sent it
// is the kernel's word (SO_PASSCRED), and it is for the worker whose process group
// the sender is in. All else that a service may say is nobody's here and is dropped.
type notices struct {
	s    *Server
	c    *net.UnixConn
	path string
	done chan struct{} // closed when the listening has ended

	// early are the process groups of which no worker was known yet: it may say that
	// it is ready before the launcher has said that it runs. Under the server's mu.
	early map[int]bool
}

const (
	envNotify  = "NOTIFY_SOCKET"
	notifyName = "notify"
	maxNotice  = 4 << 10
	maxEarly   = 1024
	maxAddress = 107 // bytes of the path of a Unix socket
)

// notifyAt returns the path of the socket, which is made for the first group that
// needs it and lives as long as the server.
func (s *Server) notifyAt() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notices != nil {
		return s.notices.path, nil
	}
	n := &notices{s: s, path: filepath.Join(s.claim.path, notifyName), done: make(chan struct{}), early: map[int]bool{}}
	if len(n.path) > maxAddress {
		return "", &SpecError{"Spec.ReadyTimeout", fmt.Errorf("%s is too long for the name of a socket, at most %d bytes: choose a shorter runtime directory or run name", n.path, maxAddress)}
	}
	var err error
	if n.c, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path, Net: "unixgram"}); err != nil {
		return "", &DirError{n.path, explainFiles(err)}
	}
	raw, err := n.c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	}
	if err != nil {
		n.c.Close()
		return "", &DirError{n.path, err}
	}
	s.notices = n
	go n.listen()
	return n.path, nil
}

func (n *notices) listen() {
	defer close(n.done)
	buf := make([]byte, maxNotice)
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4*MaxMessageFiles))
	for {
		size, oobn, _, _, err := n.c.ReadMsgUnix(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond) // at the descriptor limit, say
			continue
		}
		pid := sender(oob[:oobn])
		if !slices.ContainsFunc(bytes.Split(buf[:size], []byte("\n")), func(line []byte) bool { return string(line) == "READY=1" }) {
			continue
		}
		if pid > 0 {
			n.ready(pid)
		}
	}
}

// ready notes that a process is ready.
func (n *notices) ready(pid int) {
	pgid, err := unix.Getpgid(pid)
	if err != nil {
		pgid = pid // it is dead: it can still have been the worker itself
	}
	n.s.mu.Lock()
	w := n.s.pids[pid]
	if w == nil {
		w = n.s.pids[pgid]
	}
	if w == nil {
		if len(n.early) >= maxEarly {
			clear(n.early) // strangers of this user
		}
		n.early[pgid] = true
	}
	n.s.mu.Unlock()
	if w != nil && w.ctl == nil {
		w.setReady()
	}
}

// wasEarly reports, once, whether the process group pid has said that it is ready.
// The server's mu is held.
func (n *notices) wasEarly(pid int) bool {
	if n == nil || !n.early[pid] {
		return false
	}
	delete(n.early, pid)
	return true
}

// sender returns the pid of who sent a datagram, 0 if unknown. Files that came along
// are closed.
func sender(oob []byte) (pid int) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil && (int(cred.Uid) == os.Geteuid() || cred.Uid == 0) {
			pid = int(cred.Pid)
		}
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			closeFDs(fds)
		}
	}
	return pid
}

// close ends the listening; nil is none.
func (n *notices) close() {
	if n != nil {
		n.c.Close() // removes the socket
		<-n.done
	}
}
