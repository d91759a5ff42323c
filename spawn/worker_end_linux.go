package spawn

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// linger is how long, after the end of a worker, the rest of its process group
// may go on writing before it is killed, if something of it still holds the output:
// in a shell script with exec > >(tee log), tee has the last lines. A variable for
// tests.
var linger = 250 * time.Millisecond

// awaitDeath returns when the process is dead and not yet reaped. lost says that
// somebody else has reaped it.
func (w *worker) awaitDeath() (lost bool) {
	w.pidConn.Read(func(fd uintptr) bool {
		var info unix.Siginfo
		for {
			err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
			switch err {
			case syscall.EINTR:
				continue
			case nil, syscall.EAGAIN:
				return info.Signo != 0
			}
			lost = true
			return true
		}
	})
	return lost
}

// isZombie reports whether a dead worker still waits to be reaped. If not, some
// other code of this process has waited for it, and its pid is not to be used.
func (w *worker) isZombie() (yes bool) {
	w.pidConn.Control(func(fd uintptr) {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		yes = err != syscall.ECHILD
	})
	return yes
}

// awaitOutput waits, for a short while, for whoever else has the worker's output.
func (w *worker) awaitOutput() {
	if w.isStopping() {
		return
	}
	var timeout <-chan time.Time
	for _, c := range w.out {
		select {
		case <-c.done:
			continue
		default:
		}
		if timeout == nil {
			t := time.NewTimer(linger)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-c.done:
		case <-timeout:
			return
		}
	}
}

// reap takes the exit status and makes the account.
func (w *worker) reap(lost bool) Exit {
	var ws syscall.WaitStatus
	var ru syscall.Rusage
	w.mu.Lock()
	defer w.mu.Unlock()
	if beats, _ := w.pulse.read(); beats != w.beats {
		w.beats, w.lastBeat = beats, time.Now()
	}
	for !lost {
		_, err := syscall.Wait4(w.pid, &ws, 0, &ru)
		if err == nil {
			break
		}
		lost = err != syscall.EINTR
	}
	w.reaped = true
	x := Exit{
		Group: w.g.name, Rank: w.rank, Pid: w.pid,
		Stopped:    w.stopping,
		Reason:     w.reason,
		Message:    w.message,
		UserTime:   time.Duration(ru.Utime.Nano()),
		SystemTime: time.Duration(ru.Stime.Nano()),
		MaxRSS:     int64(ru.Maxrss) << 10,
		Beats:      w.beats,
		LastBeat:   w.lastBeat,
		Started:    w.started,
		Ended:      time.Now(),
	}
	switch {
	case lost:
		x.Code = -1
		if x.Message == "" {
			x.Message = "other code of this process has waited for it (wait4(-1)?)"
		}
	case ws.Signaled():
		x.Signal, x.Core = ws.Signal(), ws.CoreDump()
		x.Code = 128 + int(x.Signal)
		x.OOM = x.Signal == syscall.SIGKILL && !w.stopping && w.g.s.oom.claim()
	default:
		x.Code = ws.ExitStatus()
	}
	w.outMu.Lock()
	x.Stderr = w.tail.last()
	w.outMu.Unlock()
	w.exit = x
	return x
}

// tellEnd tells the leases how their worker ended.
func (w *worker) tellEnd(x Exit) {
	for _, l := range w.leases {
		if e, ok := l.Closer.(Ender); ok {
			e.Ended(x)
		}
	}
}

func closeLeases(leases []lease) error {
	var errs []error
	for _, l := range leases {
		if l.Closer == nil {
			continue
		}
		if err := l.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close resource %q: %w", l.name, err))
		}
	}
	return errors.Join(errs...)
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
