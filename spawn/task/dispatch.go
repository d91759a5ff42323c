package task

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"shmkit/spawn"
)

// A dispatcher is what a pool is without its types: it knows which worker has which
// job.
type dispatcher struct {
	o    Options
	gone chan struct{} // closed by close

	mu     sync.Mutex
	closed bool
	last   uint64
	queue  []*job // waiting, oldest first
	seats  []*seat
}

// A job is a task on its way.
type job struct {
	id       uint64
	arg      []byte
	attempts int
	at       *seat // who has it; nil while it waits
	ended    bool
	end      func(result []byte, err error)
	unfollow func() bool // lets go of the caller's context
}

func newDispatcher(o Options) *dispatcher { return &dispatcher{o: o, gone: make(chan struct{})} }

func (d *dispatcher) capacity() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.seats) * d.o.InFlight
}

func (d *dispatcher) submit(j *job) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		d.finish(j, nil, ErrClosed)
		return
	}
	d.last++
	j.id = d.last
	d.queue = append(d.queue, j)
	d.deal()
	d.mu.Unlock()
}

// finish ends a job, once.
func (d *dispatcher) finish(j *job, result []byte, err error) {
	d.mu.Lock()
	was, unfollow := j.ended, j.unfollow
	j.ended = true
	d.mu.Unlock()
	if was {
		return
	}
	if unfollow != nil {
		unfollow()
	}
	j.end(result, err)
}

// follow notes what lets go of the context of a job that was submitted.
func (d *dispatcher) follow(j *job, unfollow func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j.unfollow = unfollow
	if j.ended {
		unfollow()
	}
}

func (d *dispatcher) cancel(j *job, why error) {
	d.mu.Lock()
	if j.ended {
		d.mu.Unlock()
		return
	}
	d.queue = slices.DeleteFunc(d.queue, func(o *job) bool { return o == j })
	if j.at != nil {
		j.at.tell(kindCancel, j.id, nil) // its place stays taken until it answers
	}
	d.mu.Unlock()
	d.finish(j, nil, why)
}

func (d *dispatcher) close() {
	d.mu.Lock()
	if !d.closed {
		close(d.gone)
	}
	d.closed = true
	left := d.queue
	d.queue = nil
	for _, s := range d.seats {
		for _, j := range s.running {
			left = append(left, j)
		}
	}
	d.mu.Unlock()
	for _, j := range left {
		d.finish(j, nil, ErrClosed)
	}
}

// busyPause is how long a worker that does not read its messages is left alone.
const busyPause = time.Millisecond

// deal gives waiting jobs to the workers that have the fewest, with mu held.
func (d *dispatcher) deal() {
	for len(d.queue) > 0 {
		var to *seat
		for _, s := range d.seats {
			if len(s.running) < d.o.InFlight && !s.busy && (to == nil || len(s.running) < len(to.running)) {
				to = s
			}
		}
		if to == nil {
			return
		}
		j := d.queue[0]
		switch err := to.tell(kindTask, j.id, j.arg); {
		case err == nil:
			d.queue = d.queue[1:]
			j.at = to
			j.attempts++
			to.running[j.id] = j
		case !isSendError(err): // there is no memory for its argument
			d.queue = d.queue[1:]
			go d.finish(j, nil, fmt.Errorf("task: send the argument: %w", err))
		default: // it is dead, which we shall hear, or does not read
			to.busy = true
			if errors.Is(err, spawn.ErrBusy) {
				time.AfterFunc(busyPause, func() {
					d.mu.Lock()
					defer d.mu.Unlock()
					to.busy = false
					d.deal()
				})
			}
		}
	}
}

func isSendError(err error) bool {
	var m *spawn.MessageError
	return errors.As(err, &m)
}

// A seat is a worker of the pool: its lease.
type seat struct {
	d     *dispatcher
	group string
	rank  int

	// Under d.mu.
	pid     int
	send    func(payload []byte, files ...*os.File) error
	running map[uint64]*job
	busy    bool
	exit    *spawn.Exit
}

// Started is called by the server.
func (s *seat) Started(pid int, send func(payload []byte, files ...*os.File) error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.pid, s.send = pid, send
}

// tell sends a message, with d.mu held. It does not wait.
func (s *seat) tell(kind byte, id uint64, payload []byte) error {
	msg, file, err := pack(kind, id, payload)
	if err != nil {
		return err
	}
	if file == nil {
		return s.send(msg)
	}
	defer file.Close()
	return s.send(msg, file)
}

// Message is called by the server. The worker may be hostile: a number that it was not
// given is ignored.
func (s *seat) Message(msg []byte, files []*os.File) {
	kind, id, payload, err := unpack(msg, files, s.d.o.MaxSize)
	s.d.mu.Lock()
	if kind == kindReady && err == nil {
		if !slices.Contains(s.d.seats, s) && s.exit == nil {
			s.d.seats = append(s.d.seats, s)
			s.d.deal()
		}
		s.d.mu.Unlock()
		return
	}
	j := s.running[id]
	if j == nil || kind < kindResult || kind > kindPanic {
		s.d.mu.Unlock()
		return
	}
	delete(s.running, id)
	s.d.deal()
	s.d.mu.Unlock()
	switch {
	case err != nil:
		s.d.finish(j, nil, &RemoteError{Group: s.group, Rank: s.rank, Pid: s.pid, Text: err.Error()})
	case kind == kindResult:
		s.d.finish(j, payload, nil)
	default:
		text, stack, _ := bytes.Cut(payload, []byte{0})
		s.d.finish(j, nil, &RemoteError{Group: s.group, Rank: s.rank, Pid: s.pid, Text: string(text), Stack: string(stack)})
	}
}

// Ended is called by the server with the worker's end: its jobs go to others, or fail.
func (s *seat) Ended(x spawn.Exit) {
	d := s.d
	d.mu.Lock()
	s.exit = &x
	d.seats = slices.DeleteFunc(d.seats, func(o *seat) bool { return o == s })
	var again, lost []*job
	for _, j := range s.running {
		j.at = nil
		if j.attempts <= d.o.Retries && !d.closed && !j.ended {
			again = append(again, j)
		} else {
			lost = append(lost, j)
		}
	}
	clear(s.running)
	slices.SortFunc(again, func(a, b *job) int { return int(int64(a.id - b.id)) })
	d.queue = append(again, d.queue...)
	d.deal()
	d.mu.Unlock()
	for _, j := range lost {
		d.finish(j, nil, &DiedError{x, j.attempts})
	}
}

// Close is called by the server when the worker is gone, or was never started.
func (s *seat) Close() error { return nil }
