package spawn

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

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
