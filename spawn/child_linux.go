package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// serverGoneGrace is how long such a worker has to end by itself after its
	// context ended.
	serverGoneGrace = 2 * time.Second

	// maxHeld is the number of messages kept for a resource without a handler.
	maxHeld = 64
)

// A Child is the worker's side: who it is, what it was given, and its line to the
// server. There is one per process. Its methods can be called at the same time.
type Child struct {
	Run, Group, Func string
	Rank, Size       int // Rank is 0 … Size−1

	dir       string
	guest     bool          // joined; not this server's child
	gone      chan struct{} // closed when the server has hung up
	exiting   bool          // the server said so; set before gone is closed
	server    int           // the server's pid, of a guest
	stopOn    []os.Signal   // beside SIGTERM and SIGINT
	ctl       *control      // neverCloseThisSocket: its end is this process's
	resources []*childResource
	ctx       context.Context
	cancel    context.CancelCauseFunc
	signals   sync.Once
	pulse     *pulse
}

type childResource struct {
	addr  uint16
	name  string
	files []*os.File
	words []string

	// bell is 1 while a goroutine waits to send a doorbell. Stored 1 by whoever
	// finds the socket full, 0 by that goroutine before each attempt to send;
	// loaded by everybody who rings. Whoever loads 1 does so before the 0 is
	// stored, so what it has written earlier is visible to those who get the bell:
	// sync/atomic is sequentially consistent, by XCHG on amd64 and LDAR/STLR on
	// arm64.
	bell atomic.Uint32

	mu      sync.Mutex
	handler func(payload []byte, files []*os.File)
	held    []message
}

// Attach connects a function worker to its server. Call it as early as possible,
// before anything that starts processes: it takes the plumbing out of the
// environment and makes the inherited descriptors close-on-exec, so that the
// worker's own children get neither. In a process that is no worker the error
// wraps [ErrNotWorker]. Later calls return the same Child.
//
// From then on the process ends with [ExitServerGone], two seconds after the end of
// its context, when the server is gone.
func Attach() (*Child, error) { return attachOnce() }

var attachOnce = sync.OnceValues(attach)

func attach() (*Child, error) {
	fn, plumb := os.Getenv(envFunc), os.Getenv(envFD)
	os.Unsetenv(envFunc)
	os.Unsetenv(envFD)
	if fn == "" || plumb == "" {
		return nil, ErrNotWorker
	}
	pl, err := parsePlumbing(plumb)
	if err != nil {
		return nil, fmt.Errorf("spawn: attach: %s: %w", envFD, err)
	}
	if err := isOurSocket(pl.cookie); err != nil {
		return nil, fmt.Errorf("%w: it inherited the environment of one: %w", ErrNotWorker, err)
	}
	exe := firstFileFD + pl.nfiles()
	for fd := controlFD; fd < exe; fd++ {
		unix.CloseOnExec(fd)
	}
	unix.Close(exe)
	nameThread()
	var files []*os.File
	if os.Getenv(envRank) == "" {
		var rank, size string
		if pl, rank, size, files, err = awaitAssignment(); err != nil {
			return nil, fmt.Errorf("spawn: attach: %w", err)
		}
		os.Setenv(envRank, rank)
		os.Setenv(envSize, size)
	} else {
		for fd := firstFileFD; fd < exe; fd++ {
			files = append(files, os.NewFile(uintptr(fd), "donated"))
		}
	}
	c := &Child{Run: os.Getenv(envRun), Group: os.Getenv(envGroup), Func: fn, dir: os.Getenv(envDir), gone: make(chan struct{})}
	var err1, err2 error
	c.Rank, err1 = strconv.Atoi(os.Getenv(envRank))
	c.Size, err2 = strconv.Atoi(os.Getenv(envSize))
	if err := errors.Join(err1, err2); err != nil || c.Rank < 0 || c.Rank >= c.Size {
		return nil, fmt.Errorf("spawn: attach: %s=%q %s=%q: want 0 ≤ rank < size", envRank, os.Getenv(envRank), envSize, os.Getenv(envSize))
	}
	for i, d := range pl.resources {
		r := &childResource{addr: uint16(i), name: d.name, words: d.words}
		r.files, files = files[:d.nfiles:d.nfiles], files[d.nfiles:]
		c.resources = append(c.resources, r)
	}
	if c.pulse, err = attachPulse(c); err != nil {
		return nil, fmt.Errorf("spawn: attach: %w", err)
	}
	if c.ctl, err = newControl(controlFD, "control socket"); err != nil {
		return nil, fmt.Errorf("spawn: attach: %w", err)
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	go c.listen()
	return c, nil
}

// isOurSocket tells the control socket from whatever descriptor 3 is in a process
// that merely inherited the environment.
func isOurSocket(cookie uint64) error {
	typ, err := unix.GetsockoptInt(controlFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_SEQPACKET {
		return fmt.Errorf("descriptor %d is no control socket", controlFD)
	}
	got, err := unix.GetsockoptUint64(controlFD, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err == nil && cookie != 0 && got != cookie {
		return fmt.Errorf("descriptor %d is another socket", controlFD)
	}
	return nil
}

// nameThread gives the process its program's name in ps and top: the kernel took
// that of the link it was executed through, a number.
func nameThread() {
	os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
}

// listen delivers messages until the server is gone, and then ends the process.
func (c *Child) listen() {
	c.ctl.receive(func() int { return len(c.resources) }, func(m message) bool {
		if m.addr != addrSpawn {
			c.resources[m.addr].take(m)
		} else if m.op == opStop {
			c.cancel(ErrAskedToLeave)
		} else if m.op == opExiting {
			c.exiting = true
		}
		return true
	})
	close(c.gone)
	c.cancel(ErrServerGone)
	if !c.guest {
		time.AfterFunc(serverGoneGrace, func() { os.Exit(ExitServerGone) })
	}
}

// Dir returns the runtime directory of the run's server.
func (c *Child) Dir() string { return c.dir }

// Resource returns what the resource of that name gave to this worker. The files
// are the same at each call; whoever uses them may close them.
func (c *Child) Resource(name string) (files []*os.File, words []string, ok bool) {
	r := c.resource(name)
	if r == nil {
		return nil, nil, false
	}
	return r.files, r.words, true
}

func (c *Child) resource(name string) *childResource {
	for _, r := range c.resources {
		if r.name == name {
			return r
		}
	}
	return nil
}

// Send sends a message to the named resource in the server. A doorbell (no payload,
// no files) never waits: when there is no room it is sent as soon as there is some,
// once for all that were rung meanwhile. Any other message waits for room. The
// files stay the caller's. When the server is gone the error wraps [os.ErrClosed].
func (c *Child) Send(resource string, payload []byte, files ...*os.File) error {
	r := c.resource(resource)
	if r == nil {
		return &MessageError{fmt.Sprintf("resource %q", resource), errors.New("this worker was given no resource of that name")}
	}
	var err error
	if len(payload) == 0 && len(files) == 0 {
		err = c.ring(r)
	} else {
		err = c.ctl.sendWait(r.addr, 0, payload, files)
	}
	if err != nil {
		return &MessageError{fmt.Sprintf("%q of the server", resource), err}
	}
	return nil
}

// ring sends a doorbell now, or leaves it to a goroutine that waits for room.
func (c *Child) ring(r *childResource) error {
	if r.bell.Load() == 1 {
		return nil // one will be sent, and not before now
	}
	err := c.ctl.send(r.addr, 0, nil, nil)
	if !errors.Is(err, ErrBusy) {
		return err
	}
	if r.bell.Swap(1) == 0 {
		go c.ctl.conn.Write(func(fd uintptr) bool {
			r.bell.Store(0)
			head := putFrameHeader(r.addr, 0)
			if sendmsg(int(fd), head[:], nil, nil) != syscall.EAGAIN {
				return true // sent, or the server is gone
			}
			return r.bell.Swap(1) == 1 // somebody else waits by now
		})
	}
	return nil
}

// Handle sets the function that takes the messages of the named resource. What
// has arrived before, up to 64 messages, is delivered first; of more the oldest
// are lost. The messages of one resource come one at a time and in order. While fn
// runs no other message is taken, nor is the end of the server noticed, so it
// should not wait for long; nor may it call Handle. Payload and files belong to
// fn. Handle does nothing for a name the worker was not given.
func (c *Child) Handle(resource string, fn func(payload []byte, files []*os.File)) {
	r := c.resource(resource)
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handler = fn
	for _, m := range r.held {
		fn(m.payload, m.files())
	}
	r.held = nil
}

func (r *childResource) take(m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handler != nil {
		r.handler(m.payload, m.files())
		return
	}
	if len(r.held) == maxHeld {
		closeFDs(r.held[0].fds)
		r.held = append(r.held[:0], r.held[1:]...)
	}
	r.held = append(r.held, m)
}

// Context ends when the worker is to stop. [context.Cause] says why: a
// *[SignalError], [ErrServerGone], or [ErrAskedToLeave]. From the first call on, the first SIGTERM or
// SIGINT ends the context in place of the process; a second one ends the process
// in the usual way. A worker that never calls it is simply ended by the first. In a
// process that joined all of them are taken: batch systems send SIGTERM several
// times, and SIGKILL when they mean it.
func (c *Child) Context() context.Context {
	c.signals.Do(func() {
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, append([]os.Signal{syscall.SIGTERM, syscall.SIGINT}, c.stopOn...)...)
		go func() {
			sig := <-ch
			if !c.guest {
				signal.Stop(ch) // back to the default, unless somebody else listens
			}
			c.cancel(&SignalError{sig})
		}()
	})
	return c.ctx
}

// Ready tells the server that this worker is at work ([Spec].ReadyTimeout). Only the
// first call counts, and none is needed without a ReadyTimeout.
func (c *Child) Ready() error {
	if err := c.ctl.sendWait(addrSpawn, opReady, nil, nil); err != nil {
		return &MessageError{"the server", err}
	}
	return nil
}

// Fail reports the worker's own account of its failure, for [Exit].Message. The
// last report counts; it is cut at 4 KiB. It does not end the process.
func (c *Child) Fail(msg string) error {
	msg = strings.ToValidUTF8(msg[:min(len(msg), maxFail)], "")
	if err := c.ctl.sendWait(addrSpawn, opFail, []byte(msg), nil); err != nil {
		return &MessageError{"the server", err}
	}
	return nil
}
