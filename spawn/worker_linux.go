package spawn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// linger is how long, after the end of a worker, the rest of its process group
// may go on writing before it is killed, if something of it still holds the output:
// in a shell script with exec > >(tee log), tee has the last lines. A variable for
// tests.
var linger = 250 * time.Millisecond

// A worker is one child process, from its start to its last line.
type worker struct {
	g       *Group
	rank    int
	size    int // of the group when it was started
	pid     int
	pidfd   *os.File // in the netpoller: readable when the process is dead
	pidConn syscall.RawConn
	plan    *plan
	limits  Recycle    // its own
	pulse   *pulsePage // nil: none
	quiet   silence    // the monitor's own
	out     []*capture // stdout and stderr, or a terminal
	ctl     *control   // nil for foreign commands
	host    *worker    // of a guest: the foreign command that it is part of, if any
	leases  []lease    // in the order of the addresses in messages
	serial  uint64     // in the server
	cookie  uint64     // of the control socket
	started time.Time
	ready   chan struct{} // closed when the worker is ready, or need not tell
	done    chan struct{} // closed when the worker is Exited

	outMu  sync.Mutex  // one line at a time
	tail   tail        // of stderr, under outMu
	takers []Outputter // under outMu

	mu       sync.Mutex
	reaped   bool // from here on the pid may be somebody else's
	stopping bool
	isReady  bool
	reason   Reason
	deadline *time.Timer // SIGKILL after it was told to end
	message  string
	left     bool    // a guest that said so
	guest    *worker // the process that attached itself, of a foreign command

	beats    uint64
	lastBeat time.Time

	restartAnyway bool // whatever Restart.When says

	wasSpare bool
	unseated bool // it ended as a spare; under the group's mu
	exit     Exit // valid once done is closed
}

// A lease is what a resource gave for one worker.
type lease struct {
	name string
	io.Closer
}

// watch follows the worker to its end.
func (w *worker) watch() {
	for _, c := range w.out {
		go c.run()
	}
	if !w.wasSpare {
		w.awaitReady()
	}
	ctlDone := make(chan struct{})
	if w.ctl == nil {
		close(ctlDone)
	} else {
		go func() {
			defer close(ctlDone)
			w.ctl.receive(w.addresses, w.deliver)
		}()
	}

	lost := w.awaitDeath()

	// The process is a zombie: its pid, and its process group's id, still are its
	// own. Nothing of the group shall survive it.
	w.awaitOutput()
	if lost = lost || !w.isZombie(); !lost {
		syscall.Kill(-w.pid, syscall.SIGKILL)
	}
	for _, c := range w.out {
		c.cut()
		c.close()
	}
	if w.ctl != nil {
		w.ctl.cut()
	}
	<-ctlDone
	w.awaitGuest()
	x := w.reap(lost)
	w.g.s.over(w)
	w.pidfd.Close()
	if w.ctl != nil {
		w.ctl.f.Close()
	}
	w.tellEnd(x)
	w.g.leaseErrors(x.Rank, closeLeases(w.leases))

	if fn := w.g.s.opt.Exit; fn != nil && (x.Rank >= 0 || x.Reason == "") {
		fn(x)
	}
	w.cancelDeadline()
	close(w.done)
	w.g.post(func() { w.g.exited(w) })
}

// awaitReady gives the worker its time to become ready.
func (w *worker) awaitReady() {
	limit := w.g.spec.ReadyTimeout
	if limit <= 0 {
		return // it was born ready
	}
	late := time.AfterFunc(limit, func() {
		w.mu.Lock()
		ready := w.isReady
		w.mu.Unlock()
		if !ready {
			w.end(ReasonNotReady, -1)
		}
	})
	go func() {
		defer late.Stop()
		select {
		case <-w.ready:
		case <-w.done:
		}
	}()
}

func (w *worker) setReady() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isReady {
		w.isReady = true
		close(w.ready)
	}
}

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

// takeOutput finds out who takes the output, once the leases are there.
func (w *worker) takeOutput() {
	w.outMu.Lock()
	defer w.outMu.Unlock()
	for _, l := range w.leases {
		if o, ok := l.Closer.(Outputter); ok {
			w.takers = append(w.takers, o)
		}
	}
}

// introduce tells the leases that their worker runs.
func (w *worker) introduce() {
	for addr, l := range w.leases {
		if st, ok := l.Closer.(Starter); ok {
			st.Started(w.pid, w.sender(addr))
		}
	}
}

// tellEnd tells the leases how their worker ended.
func (w *worker) tellEnd(x Exit) {
	for _, l := range w.leases {
		if e, ok := l.Closer.(Ender); ok {
			e.Ended(x)
		}
	}
}

// output is where both captures deliver.
func (w *worker) output(stream string) func(line []byte, continued bool) {
	fn := w.g.s.opt.Output
	return func(line []byte, continued bool) {
		w.outMu.Lock()
		defer w.outMu.Unlock()
		if stream == "stderr" || len(w.out) == 1 {
			w.tail.add(line, continued)
		}
		if fn != nil {
			fn(w.g.name, w.rank, w.pid, stream, line, continued)
		}
		for _, o := range w.takers {
			o.Output(stream, line, continued)
		}
	}
}

// addresses is the number of resources that messages can be for.
func (w *worker) addresses() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.leases)
}

// deliver takes one message from the worker.
func (w *worker) deliver(m message) (goOn bool) {
	if m.addr == addrSpawn && m.op == opReady {
		w.setReady()
		if w.host != nil {
			w.host.setReady()
		}
		return true
	}
	if m.addr == addrSpawn {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch m.op {
		case opFail:
			w.message = string(m.payload)
		case opLeave:
			w.left, w.ctl.held = true, true // it waits for the hanging up, see guests.leave
			return false
		default:
			return w.ctl.reject(m.fds)
		}
		return true
	}
	w.mu.Lock()
	l := w.leases[m.addr]
	w.mu.Unlock()
	if taker, ok := l.Closer.(Messenger); ok {
		taker.Message(m.payload, m.files())
		return true
	}
	return w.ctl.reject(m.fds)
}

// sender returns the send function of one resource.
func (w *worker) sender(addr int) func(payload []byte, files ...*os.File) error {
	return func(payload []byte, files ...*os.File) error {
		if err := w.ctl.send(uint16(addr), 0, payload, files); err != nil {
			return &MessageError{fmt.Sprintf("%q of worker %d of group %q", w.leases[addr].name, w.rank, w.g.name), err}
		}
		return nil
	}
}

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

func (w *worker) info() Info {
	i := Info{Group: w.g.name, Rank: w.rank, Size: w.size, Pid: w.pid, State: Running}
	if w.ctl != nil {
		i.Rejected, i.Unsent = w.ctl.rejected.Load(), w.ctl.unsent.Load()
	}
	w.mu.Lock()
	i.Started = w.started
	if !w.isReady {
		i.State = Starting
	}
	if w.stopping {
		i.State = Stopping
	}
	if i.Beats = w.beats; i.Beats > 0 {
		last := w.lastBeat
		i.LastBeat = &last
	}
	w.mu.Unlock()
	select {
	case <-w.done:
		i.State, i.Code, i.Ended = Exited, &w.exit.Code, &w.exit.Ended
	default:
	}
	return i
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
