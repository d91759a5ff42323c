package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"shmkit"
)

// stopper turns signals, and a standard output that nobody reads any more, into
// the end of a run.
type stopper struct {
	signals    chan os.Signal
	pipe       chan os.Signal // SIGPIPE, so that a write reports EPIPE instead of ending the process
	broken     chan struct{}  // closed when standard output is gone
	breakOnce  sync.Once
	interrupts int // SIGINTs so far
}

// errAbandoned ends a flush that does not end by itself.
var errAbandoned = &codeError{128 + int(syscall.SIGINT), errors.New("interrupted again while the last records were being written: some may be missing")}

// watchSignals begins to collect signals, more besides the usual ones. They act
// once wait or close runs.
func watchSignals(more ...syscall.Signal) *stopper {
	s := &stopper{
		signals: make(chan os.Signal, 8),
		pipe:    make(chan os.Signal, 1),
		broken:  make(chan struct{}),
	}
	stops := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		stops = append(stops, syscall.SIGHUP)
	}
	for _, sig := range more {
		stops = append(stops, sig)
	}
	signal.Notify(s.signals, stops...)
	signal.Notify(s.pipe, syscall.SIGPIPE)
	return s
}

func (s *stopper) release() {
	signal.Stop(s.signals)
	signal.Stop(s.pipe)
}

// wait returns when all workers of g have ended, with what g.Wait says. The
// first signal stops them; SIGINT after it kills them. Other signals after the
// first mean nothing: some launchers send each one twice.
func (s *stopper) wait(g *shmkit.Group) error {
	patience, kill := context.WithCancel(context.Background())
	defer kill()
	stop := sync.OnceFunc(func() { go g.Stop(patience) })

	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	broken := s.broken
	for stopping := false; ; stopping = true {
		select {
		case err := <-done:
			return err
		case <-broken:
			broken = nil
		case sig := <-s.signals:
			if sig == syscall.SIGINT {
				if s.interrupts++; stopping {
					kill()
				}
			}
		}
		stop()
	}
}

// close closes the node. It gives up when an interrupt comes that is not the
// first one: the reader of our output, or a disk, may be stuck.
func (s *stopper) close(n *shmkit.Node) error {
	done := make(chan error, 1)
	go func() { done <- n.Close() }()
	for {
		select {
		case err := <-done:
			return err
		case sig := <-s.signals:
			if sig != syscall.SIGINT {
				continue
			}
			if s.interrupts++; s.interrupts > 1 {
				return errAbandoned
			}
		}
	}
}

// guard returns w, and stops the run when nobody reads the other end of it any
// more, as in "shmkit run … | head". What is written from then on is swallowed:
// the reader has had enough, that is no fault to be retried or told.
func (s *stopper) guard(w io.Writer) io.Writer { return guardedWriter{w, s} }

type guardedWriter struct {
	io.Writer
	s *stopper
}

func (w guardedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		w.s.breakOnce.Do(func() { close(w.s.broken) })
		return len(p), nil
	}
	return n, err
}

// SyscallConn lets logring see whether this is a terminal.
func (w guardedWriter) SyscallConn() (syscall.RawConn, error) {
	if c, ok := w.Writer.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
