package spawn

import (
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// orphans are descendants of workers whose parents have ended and which the kernel
// has made children of this process. They live as long as their worker does.
type orphans struct {
	s     *Server
	bell  chan os.Signal // SIGCHLD, and a nudge when a worker has ended
	quit  chan struct{}
	done  chan struct{}
	known map[int]bool // seen alive with our mark: ours to wait for

	mu     sync.Mutex
	groups map[int]time.Time // process groups of workers that have ended, and when
}

// groupMemory is how long the process group of a worker is known after its end. It
// only has to outlast the dying of its members, and must not outlast the number's way
// to another process.
const groupMemory = time.Second

// subreapers counts the servers of this process that want the orphans.
var subreapers struct {
	sync.Mutex
	n      int
	before int // what the process was
}

func becomeSubreaper() error {
	subreapers.Lock()
	defer subreapers.Unlock()
	if subreapers.n == 0 {
		var was int32
		if err := prctlGet(unix.PR_GET_CHILD_SUBREAPER, &was); err != nil {
			return err
		}
		subreapers.before = int(was)
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	subreapers.n++
	return nil
}

func ceaseSubreaper() {
	subreapers.Lock()
	defer subreapers.Unlock()
	if subreapers.n--; subreapers.n == 0 {
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, uintptr(subreapers.before), 0, 0, 0)
	}
}

func adoptOrphans(s *Server) (*orphans, error) {
	if err := becomeSubreaper(); err != nil {
		return nil, err
	}
	o := &orphans{s: s, bell: make(chan os.Signal, 1), quit: make(chan struct{}), done: make(chan struct{}), known: map[int]bool{}, groups: map[int]time.Time{}}
	signal.Notify(o.bell, syscall.SIGCHLD)
	go o.run()
	return o, nil
}

func (o *orphans) run() {
	defer close(o.done)
	for {
		select {
		case <-o.bell:
			for o.look() {
			}
		case <-o.quit:
			for o.look() { // all workers have ended: none is left after this
			}
			return
		}
	}
}

// look goes through the children of this process once. It reports whether it has
// killed one: that one's children are ours now.
func (o *orphans) look() (again bool) {
	children, strangers := o.s.children()
	for _, pid := range strangers {
		killed := killMarked(pid, o.s.mark, o.s.isOver)
		if killed {
			o.known[pid] = true
			again = true
		} else if _, ours := marked(pid, o.s.mark); ours {
			o.known[pid] = true
		}
		// A zombie has no environment any more: only one that was seen before, or that
		// was in a worker's process group, is known to be ours to wait for. Others stay
		// until this process ends: they may be somebody else's here.
		if o.known[pid] || o.wasInGroup(pid) {
			options := syscall.WNOHANG
			if killed {
				options = 0 // it takes a moment
			}
			if got, err := syscall.Wait4(pid, nil, options, nil); got == pid || err == syscall.ECHILD {
				delete(o.known, pid)
			}
		}
	}
	o.forget()
	for pid := range o.known {
		if _, there := slices.BinarySearch(children, pid); !there {
			delete(o.known, pid)
		}
	}
	return again
}

// children are those of this process, and those of them that are no workers. A child
// that is just being started is not among them: it becomes a worker, and may have
// ended before it is one.
func (s *Server) children() (all, strangers []int) {
	s.launching.Lock()
	defer s.launching.Unlock()
	all = ownChildren()
	for _, pid := range all {
		if !s.isWorker(pid) {
			strangers = append(strangers, pid)
		}
	}
	return all, strangers
}

// wasInGroup reports whether a process is in the group of a worker that has just
// ended.
func (o *orphans) wasInGroup(pid int) bool {
	pgid, err := syscall.Getpgid(pid)
	if err != nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	when, ok := o.groups[pgid]
	if ok && time.Since(when) > groupMemory {
		delete(o.groups, pgid)
		ok = false
	}
	return ok
}

// forget drops the groups whose time is over.
func (o *orphans) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for pgid, when := range o.groups {
		if time.Since(when) > groupMemory {
			delete(o.groups, pgid)
		}
	}
}

// ended makes the orphans of a worker be looked at.
func (o *orphans) ended(pid int) {
	if o == nil || pid <= 0 {
		return
	}
	o.mu.Lock()
	o.groups[pid] = time.Now()
	o.mu.Unlock()
	select {
	case o.bell <- syscall.SIGCHLD:
	default:
	}
}

func (o *orphans) stop() {
	if o == nil {
		return
	}
	signal.Stop(o.bell)
	close(o.quit)
	<-o.done
	ceaseSubreaper()
}
