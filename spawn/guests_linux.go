package spawn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guests are the processes that joined from outside: the ranks of an MPI job, or
// programs started by Spec.Cmd that attached themselves. They are given the same
// resources as workers. The server learns of their end by the end of their
// connection, and cannot know their exit status.
type guests struct {
	s    *Server
	l    *net.UnixListener
	path string
	done chan struct{} // closed when the accept loop has ended
	wg   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	exiting bool // told to those who leave: this process ends right after
	seats   map[member]*worker
}

type member struct {
	group string
	rank  int
}

// A newcomer that has not said who it is within helloTimeout is sent away, and at
// most maxNewcomers are listened to at a time.
const (
	helloTimeout = 10 * time.Second
	maxNewcomers = 64
)

func listenGuests(s *Server) (*guests, error) {
	g := &guests{s: s, path: filepath.Join(s.claim.path, joinName), done: make(chan struct{}), seats: map[member]*worker{}}
	err := viaDir(s.claim.path, func(dir string) (err error) {
		g.l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(dir, joinName), Net: "unixpacket"})
		return err
	})
	if err != nil {
		return nil, &DirError{s.claim.path, fmt.Errorf("socket for joining: %w", explainFiles(err))}
	}
	g.l.SetUnlinkOnClose(false) // the path ends with viaDir; close removes the real one
	go g.accept()
	return g, nil
}

// viaDir calls f with a short path of dir: an address holds 107 bytes, the
// runtime directory of an HPC node may be longer.
func viaDir(dir string, f func(dir string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
}

func (g *guests) accept() {
	defer close(g.done)
	slots := make(chan struct{}, maxNewcomers)
	for {
		slots <- struct{}{}
		c, err := g.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-slots
			time.Sleep(50 * time.Millisecond) // at the descriptor limit accept fails at once, for as long as the newcomer waits
			continue
		}
		go func() {
			var once sync.Once
			free := func() { once.Do(func() { <-slots }) }
			defer free()
			g.receive(c, free)
		}()
	}
}

// receive admits one newcomer and stays with it to its end. seated is called when
// it has been answered.
func (g *guests) receive(c *net.UnixConn, seated func()) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(helloTimeout))
	pid, err := peerOf(c)
	if err != nil {
		return // another user: the directory is 0700, so it can only be a descriptor passed on
	}
	buf := make([]byte, maxHello)
	n, err := c.Read(buf)
	if err != nil {
		return
	}
	h, err := parseHello(buf[:n])
	var ctl *control
	if err == nil {
		ctl, err = controlOver(c)
	}
	var w *worker
	if err == nil {
		if w, err = g.seat(pid, ctl, h); err != nil {
			ctl.f.Close()
		}
	}
	if err != nil {
		refuse(c, err)
		return
	}
	defer g.leave(w)
	if err := g.welcome(c, w); err != nil {
		refuse(c, err)
		return
	}
	c.Close() // the control socket has a descriptor of its own
	seated()
	w.introduce()
	if fn := g.s.opt.Joined; fn != nil {
		i := w.info()
		i.Guest = w.host == nil
		fn(i)
	}
	w.ctl.receive(w.addresses, w.deliver)
}

func refuse(c *net.UnixConn, err error) {
	b, _ := json.Marshal(welcome{Error: err.Error(), Ending: errors.Is(err, ErrEnding)})
	c.Write(b)
}

// seat gives a newcomer its place. A process of a group that this server started
// has the place that it was started for: the kernel says which process group it is
// in. Others are who they say, if nobody has that place.
func (g *guests) seat(pid int, ctl *control, h hello) (*worker, error) {
	started := g.s.workerOf(pid)
	w := &worker{pid: pid, ctl: ctl, host: started, started: time.Now(), isReady: true, ready: make(chan struct{}), done: make(chan struct{})}
	close(w.ready)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrEnding
	}
	if started != nil {
		if started.ctl != nil {
			return nil, fmt.Errorf("process %d belongs to function worker %d of group %q, which has its own connection: use that", pid, started.rank, started.g.name)
		}
		w.g, w.rank, w.size = started.g, started.rank, started.size
	} else {
		if slices.ContainsFunc(g.s.live(), func(x *Group) bool { return x.name == h.Group }) {
			return nil, fmt.Errorf("group %q was started by the node, and process %d is not of it: name another group", h.Group, pid)
		}
		if h.Rank == AnyRank {
			for h.Rank = 0; g.seats[member{h.Group, h.Rank}] != nil; h.Rank++ {
			}
			h.Size = max(h.Size, h.Rank+1)
		}
		w.g, w.rank, w.size = &Group{s: g.s, name: h.Group}, h.Rank, h.Size
	}
	if other := g.seats[member{w.g.name, w.rank}]; other != nil {
		return nil, fmt.Errorf("rank %d of group %q is taken by process %d: choose another", w.rank, w.g.name, other.pid)
	}
	if len(g.seats) >= MaxWorkers {
		return nil, fmt.Errorf("%d processes have joined already", len(g.seats))
	}
	g.seats[member{w.g.name, w.rank}] = w
	g.wg.Add(1)
	if started != nil {
		started.setGuest(w)
	}
	return w, nil
}

// welcome gives a guest its part of the resources and makes its connection the
// control socket.
func (g *guests) welcome(c *net.UnixConn, w *worker) error {
	pl := plumbing{}
	files, err := g.s.donate(w, &pl)
	defer closeFiles(files)
	if err != nil {
		return err
	}
	b, err := json.Marshal(welcome{Run: g.s.opt.Run, Group: w.g.name, Rank: w.rank, Size: w.size, Plumbing: pl.String()})
	if err != nil {
		return err
	}
	if _, err := c.Write(b); err != nil {
		return err
	}
	fds, err := rawFDs(files)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(fds, MaxMessageFiles) {
		if _, _, err := c.WriteMsgUnix([]byte{0}, unix.UnixRights(some...), nil); err != nil {
			return err
		}
	}
	return nil
}

// leave closes what a guest was given, when it has hung up, and frees its place.
func (g *guests) leave(w *worker) {
	defer g.wg.Done()
	w.mu.Lock()
	x := Exit{
		Group: w.g.name, Rank: w.rank, Pid: w.pid, Guest: true,
		Stopped: w.stopping, Reason: w.reason, Message: w.message, Started: w.started, Ended: time.Now(),
	}
	if !w.left {
		x.Code = -1
		if x.Message == "" {
			x.Message = "its connection ended without a leave; its exit status is for its parent to know"
		}
	}
	w.exit = x
	w.mu.Unlock()
	w.tellEnd(x)
	w.g.leaseErrors(w.rank, closeLeases(w.leases))
	if fn := g.s.opt.Exit; fn != nil && w.host == nil {
		fn(x) // that of a worker that attached itself is told when its process has ended
	}
	g.mu.Lock()
	delete(g.seats, member{w.g.name, w.rank})
	exiting := g.exiting
	g.mu.Unlock()
	if exiting {
		w.ctl.send(addrSpawn, opExiting, nil, nil)
	}
	close(w.done)
	w.ctl.f.Close() // a guest that waits for this knows: what it logged is taken, its place is free
}

// infos describes the guests, by group and rank.
func (g *guests) infos() []Info {
	var all []Info
	for _, w := range g.all() {
		if w.host != nil {
			continue // listed with its group
		}
		i := w.info()
		i.Guest = true
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Info) int {
		if a.Group != b.Group {
			if a.Group < b.Group {
				return -1
			}
			return 1
		}
		return a.Rank - b.Rank
	})
	return all
}

func (g *guests) all() []*worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*worker, 0, len(g.seats))
	for _, w := range g.seats {
		all = append(all, w)
	}
	return all
}

// stop asks the guests to leave, waits for them, and hangs up on those who are
// still there after timeout or when ctx ends.
func (g *guests) stop(ctx context.Context, timeout time.Duration) {
	all := g.all()
	for _, w := range all {
		w.setStopping(ReasonStop)
		w.ctl.send(addrSpawn, opStop, nil, nil)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, w := range all {
		select {
		case <-w.done:
		case <-ctx.Done():
			w.ctl.cut()
			<-w.done
		}
	}
}

// shut lets nobody join any more.
func (g *guests) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

// ShutGuests lets nobody join any more, and tells those who leave from now on that
// this process ends when the last of them has left: their [Child.Leave] waits for
// that too, so that a batch system which kills what its job leaves behind finds
// nothing. It may be called from [Options].Exit.
func (s *Server) ShutGuests() {
	if g := s.guests; g != nil {
		g.mu.Lock()
		g.closed, g.exiting = true, true
		g.mu.Unlock()
	}
}

// close ends the listening.
func (g *guests) close() {
	g.l.Close()
	<-g.done
	g.wg.Wait()
	os.Remove(g.path)
}

// controlOver makes a control socket of an accepted connection, with a
// descriptor of its own.
func controlOver(c *net.UnixConn) (*control, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, explainFiles(os.NewSyscallError("dup", dupErr))
	}
	return newControl(fd, "control socket of a guest")
}

// setGuest notes the process that attached itself for a worker.
func (w *worker) setGuest(guest *worker) {
	w.mu.Lock()
	w.guest = guest
	w.mu.Unlock()
}

// awaitGuest returns when nothing of what the worker's attached process was given
// is in use any more. The process is dead.
func (w *worker) awaitGuest() {
	w.mu.Lock()
	guest := w.guest
	w.mu.Unlock()
	if guest != nil {
		guest.ctl.cut() // what has arrived is delivered
		<-guest.done
	}
}

// peerOf returns the pid of a peer of the same user.
func peerOf(c *net.UnixConn) (pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	if uid := os.Geteuid(); int(cred.Uid) != uid && cred.Uid != 0 {
		return 0, fmt.Errorf("process %d is of uid %d, the run of uid %d", cred.Pid, cred.Uid, uid)
	}
	return int(cred.Pid), nil
}

// workerOf returns the live worker that a process belongs to: it is that, or in
// its process group.
func (s *Server) workerOf(pid int) *worker {
	pgid, err := syscall.Getpgid(pid)
	if err != nil {
		pgid = pid
	}
	for _, g := range s.live() {
		for _, w := range g.all() {
			select {
			case <-w.done:
				continue
			default:
			}
			if w.pid == pid || w.pid == pgid {
				return w
			}
		}
	}
	return nil
}
