package spawn

import (
	"os"
	"syscall"
	"time"
)

// signal sends sig to the worker's process group, and to the worker itself if it
// has left that. It never reaches a stranger: a pid is given to somebody else only
// after it was reaped, and that happens under the same lock.
func (w *worker) signal(sig syscall.Signal) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reaped {
		return os.ErrProcessDone
	}
	err := syscall.Kill(-w.pid, sig)
	if pgid, e := syscall.Getpgid(w.pid); e == nil && pgid != w.pid {
		err = syscall.Kill(w.pid, sig)
	}
	if err == syscall.ESRCH {
		return os.ErrProcessDone
	}
	return err
}

// terminate asks the worker to stop, once. SIGCONT lets one that was stopped by a
// signal take notice.
func (w *worker) terminate() {
	if !w.setStopping(ReasonStop) {
		w.signal(syscall.SIGTERM)
		w.signal(syscall.SIGCONT)
	}
}

func (w *worker) kill() {
	w.setStopping(ReasonStop)
	w.signal(syscall.SIGKILL)
}

// end asks the worker to stop, for a reason, and kills it when the time is over. A
// negative time kills at once.
func (w *worker) end(why Reason, timeout time.Duration) {
	if timeout < 0 {
		w.setStopping(why)
		w.kill()
		return
	}
	if w.setStopping(why) {
		return
	}
	w.signal(syscall.SIGTERM)
	w.signal(syscall.SIGCONT)
	w.killIn(timeout)
}

// killIn kills the worker when it has not ended by then.
func (w *worker) killIn(timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reaped {
		w.deadline = time.AfterFunc(timeout, w.kill)
	}
}

func (w *worker) cancelDeadline() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadline != nil {
		w.deadline.Stop()
	}
}

// setStopping notes that the server ends the worker; the first reason counts, but
// nothing is a reason once it is dead.
func (w *worker) setStopping(why Reason) (was bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was, w.stopping = w.stopping, true
	if !was {
		w.reason = why
	}
	return was
}

func (w *worker) isStopping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping
}
