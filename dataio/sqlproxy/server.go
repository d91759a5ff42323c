package sqlproxy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Server has the real connections. It is the node's side of the workers' databases:
// a resource that is donated to each worker.
type Server struct {
	dbs []*database // by name

	mu      sync.Mutex
	workers map[*workerLease]struct{}
	closed  bool

	violations atomic.Uint64
}

// A database is a *sql.DB with what workers may do with it.
type database struct {
	name          string
	policy        Policy
	main, readers *gate // readers is nil without Policy.Readers
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// NewServer makes a server for databases by name. They stay the caller's, who closes
// them after the server. A name that is in policies only, or a nil database, is an
// error; a database that cannot be reached is not, until a worker uses it: as
// sql.Open.
func NewServer(databases map[string]*sql.DB, policies map[string]Policy) (*Server, error) {
	s := &Server{workers: map[*workerLease]struct{}{}}
	for _, name := range slices.Sorted(maps.Keys(databases)) {
		switch {
		case !nameRule.MatchString(name):
			return nil, &Error{name, "serve", errors.New("bad name"), "use 1 to 64 letters, digits, '.', '_' and '-'"}
		case databases[name] == nil:
			return nil, &Error{name, "serve", errors.New("the *sql.DB is nil"), "open it first"}
		}
		d := &database{name: name, policy: policies[name].withDefaults(), main: newGate(databases[name])}
		if d.policy.Readers != nil {
			d.readers = newGate(d.policy.Readers)
		}
		s.dbs = append(s.dbs, d)
	}
	for name := range policies {
		if databases[name] == nil {
			return nil, &Error{name, "serve", errors.New("there is a policy for it, but no database"), "correct the name"}
		}
	}
	return s, nil
}

// Donate makes the line to one worker: a socket for it to inherit, and the names of
// the databases, for [Attach] in the worker. The lease's Close ends all that the
// worker had begun and returns when it is rolled back; the death of the worker does
// the same at once, without it. Started tells it the worker's pid, for messages.
func (s *Server) Donate(group string, rank, size int) (files []*os.File, words []string, lease io.Closer, err error) {
	w := &workerLease{server: s, group: group, rank: rank, sessions: map[uint32]*session{}, count: make([]int, len(s.dbs))}
	near, far, err := newLine()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("sqlproxy: line to %s: %w", w, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		near.Close()
		far.Close()
		return nil, nil, nil, fmt.Errorf("sqlproxy: line to %s: %w", w, os.ErrClosed)
	}
	w.line = near
	w.life, w.end = context.WithCancelCause(context.Background())
	s.workers[w] = struct{}{}
	w.wg.Go(w.listen)
	for _, d := range s.dbs {
		words = append(words, fmt.Sprintf("%s=%d", d.name, d.policy.MaxConns))
	}
	return []*os.File{far}, words, w, nil
}

// Close ends all work of all workers. Workers see [ErrNodeGone], or
// [ErrOutcomeUnknown] for what was under way.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	workers := slices.Collect(maps.Keys(s.workers))
	s.mu.Unlock()
	var errs []error
	for _, w := range workers {
		w.kill()
	}
	for _, w := range workers {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}

// Violations counts the sessions that were ended because a worker broke the protocol.
func (s *Server) Violations() uint64 { return s.violations.Load() }

// A workerLease is one worker: its line, and its sessions.
type workerLease struct {
	server *Server
	group  string
	rank   int
	pid    atomic.Int64 // for messages; stored by Started
	line   *line
	life   context.Context // ends with the worker
	end    context.CancelCauseFunc
	wg     sync.WaitGroup // the line's goroutine and the sessions'

	mu       sync.Mutex
	sessions map[uint32]*session
	count    []int // sessions of each database
	lastID   uint32
	dead     bool
}

func (w *workerLease) String() string {
	if pid := w.pid.Load(); pid != 0 {
		return fmt.Sprintf("%s/%d (pid %d)", w.group, w.rank, pid)
	}
	return fmt.Sprintf("%s/%d", w.group, w.rank)
}

// Started takes the pid.
func (w *workerLease) Started(pid int, _ func([]byte, ...*os.File) error) { w.pid.Store(int64(pid)) }

// errWorkerDead is why a dead worker's statements end.
var errWorkerDead = errors.New("the worker is dead")

// kill ends what the worker has begun, without waiting for it.
func (w *workerLease) kill() {
	w.mu.Lock()
	w.dead = true
	for _, s := range w.sessions {
		s.sock.Close() // also ends a write that the worker does not read
	}
	w.mu.Unlock()
	w.end(errWorkerDead)
	w.line.Close()
}

// closePatience is how long Close waits for drivers that do not obey a context.
const closePatience = 5 * time.Second

// Close ends the worker's work and waits until it is rolled back.
func (w *workerLease) Close() error {
	w.kill()
	ended := make(chan struct{})
	go func() { w.wg.Wait(); close(ended) }()
	timeout := time.NewTimer(closePatience)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-timeout.C:
		return fmt.Errorf("sqlproxy: work of %s: the driver has not ended it within %v after it was cancelled: it does not obey the context", w, closePatience)
	}
	w.server.mu.Lock()
	delete(w.server.workers, w)
	w.server.mu.Unlock()
	return nil
}

func (w *workerLease) violation(error) { w.server.violations.Add(1) }

// listen takes requests for sessions and cancellations until the worker is gone.
func (w *workerLease) listen() {
	defer w.kill()
	for {
		msg, file, err := w.line.receive()
		if file != nil {
			file.Close() // workers have no reason to send any
		}
		if err != nil {
			return
		}
		switch d := (decoder{b: msg}); d.u8() {
		case lineOpen:
			req, db := d.u32(), d.u8()
			if d.bad || int(db) >= len(w.server.dbs) {
				w.violation(errMalformed)
				return
			}
			if w.open(req, int(db)) != nil {
				return
			}
		case lineCancel:
			id, seq := d.u32(), d.u32()
			w.mu.Lock()
			s := w.sessions[id]
			w.mu.Unlock()
			if s != nil {
				s.cancel(seq)
			}
		default:
			w.violation(errMalformed)
			return
		}
	}
}

// open starts a session and sends its socket.
func (w *workerLease) open(req uint32, db int) error {
	d := w.server.dbs[db]
	near, far, err := newPair()
	if err == nil {
		w.mu.Lock()
		switch {
		case w.dead:
			err = os.ErrClosed
		case w.count[db] >= d.policy.MaxConns:
			err = &Error{d.name, "open a connection to", fmt.Errorf("%w: this worker has %d", ErrLimit, w.count[db]), "share them, or raise Policy.MaxConns"}
		}
		if err == nil {
			w.lastID++
			s := &session{id: w.lastID, worker: w, db: d, sock: near, in: frameReader{r: near, max: maxRequest}}
			w.sessions[s.id] = s
			w.count[db]++
			w.wg.Go(s.serve)
			w.mu.Unlock()
			defer far.Close()
			return w.line.send(appendLine(lineOpened, req, s.id), far)
		}
		w.mu.Unlock()
		near.Close()
		far.Close()
	}
	msg := appendError(appendLine(lineRefused, req, 0), err, false)
	return w.line.send(msg[:min(len(msg), maxLine)], nil)
}

func (w *workerLease) remove(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.sessions, s.id)
	w.count[slices.Index(w.server.dbs, s.db)]--
}

// names lists the databases, for messages.
func names(of []string) string {
	if len(of) == 0 {
		return "none"
	}
	return strings.Join(of, ", ")
}
