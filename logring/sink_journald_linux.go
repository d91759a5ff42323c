package logring

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Journald returns a sink that writes to the systemd journal in its native protocol:
// the message is MESSAGE, the level PRIORITY (see [Syslog]) and SHMKIT_LEVEL, where it
// comes from SHMKIT_GROUP, SHMKIT_WORKER, SHMKIT_PID and SHMKIT_STREAM, its time
// SHMKIT_TIME, since the journal notes the time of arrival, and an attribute
// http.status is HTTP_STATUS. Values are stored as they are. An entry that is too
// large for a datagram goes by a sealed memfd.
//
// A record counts as written once it is in the queue of journald's socket.
func Journald(o JournaldOptions) (Sink, error) {
	s := &journalSink{path: cmp.Or(o.Socket, journalSocket)}
	s.format.identifier = strings.ReplaceAll(cmp.Or(o.Identifier, filepath.Base(os.Args[0])), "\n", "_")
	if err := s.connect(); err != nil {
		return nil, fmt.Errorf("logring: journald: %w", err)
	}
	return s, nil
}

type journalSink struct {
	path   string
	format journalFormat
	conn   *net.UnixConn // nil: none now
	buf    []byte
}

func (s *journalSink) String() string { return "journald" }
func (s *journalSink) Sync() error    { return nil }
func (s *journalSink) Patient()       {}

func (s *journalSink) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

func (s *journalSink) connect() error {
	if s.conn != nil {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: s.path})
	if err != nil {
		return fmt.Errorf("%w: does systemd-journald run here?", err)
	}
	s.conn = c
	return nil
}

func (s *journalSink) Write(batch []Record) error {
	if err := s.connect(); err != nil {
		return &WriteError{Retry: true, Err: err}
	}
	s.conn.SetWriteDeadline(time.Now().Add(syslogPatience))
	for i := range batch {
		s.buf = s.format.append(s.buf[:0], &batch[i])
		if err := s.send(s.buf); err != nil {
			s.Close() // a restarted journald has another socket
			return &WriteError{Written: i, Retry: true, Err: err}
		}
		if cap(s.buf) > 1<<20 {
			s.buf = nil
		}
	}
	return nil
}

func (s *journalSink) send(entry []byte) error {
	_, err := s.conn.Write(entry)
	if !errors.Is(err, syscall.EMSGSIZE) && !errors.Is(err, syscall.ENOBUFS) {
		return err
	}
	f, err := sealed(entry)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	rights := unix.UnixRights(int(f.Fd()))
	sent := raw.Write(func(fd uintptr) bool { // net does not send descriptors on a connected datagram socket
		err = unix.Sendmsg(int(fd), nil, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN
	})
	return cmp.Or(sent, os.NewSyscallError("sendmsg", err))
}

// sealed returns a memfd that holds b and cannot be changed any more, which is what
// journald asks for.
func sealed(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "journal-entry")
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
	}
	return f, nil
}
