package spawn

import (
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A launcher starts processes from one thread that lives as long as it does.
//
// The parent-death signal follows the thread that forked, not its process, and
// the Go runtime ends threads when it likes: a locked goroutine that returns takes
// its thread along, and its children with it. So one goroutine, locked to its
// thread, does all the forking.
type launcher struct {
	traits threadTraits
	ns     *os.File    // the process-number namespace of the children; nil: the server's
	mask   *seatMask   // on the thread now; its own
	home   unix.CPUSet // its mask when there was none on it

	jobs chan *launch
	once sync.Once
	done chan struct{}
}

// A launch is one process to start, and the result.
type launch struct {
	path      string
	argv, env []string
	dir       string
	files     []uintptr // become 0, 1, 2, … of the child
	mask      *seatMask // nil: where the server runs
	pty       bool      // descriptor 1 is a terminal, to be the controlling one
	cred      *syscall.Credential
	cgroup    *os.File // nil: the server's

	pid   int
	pidfd int // close-on-exec
	err   error
	ready chan struct{}
}

func newLauncher(t threadTraits, ns *os.File) (*launcher, error) {
	l := &launcher{traits: t, ns: ns, jobs: make(chan *launch), done: make(chan struct{})}
	ready := make(chan error)
	go l.run(ready)
	return l, <-ready
}

func (l *launcher) run(ready chan<- error) {
	defer close(l.done)
	// The thread is not given back: it ends with this goroutine, after the last child.
	runtime.LockOSThread()
	if l.ns != nil {
		if err := unix.Setns(int(l.ns.Fd()), unix.CLONE_NEWPID); err != nil {
			ready <- os.NewSyscallError("setns", err)
			return
		}
	}
	if l.traits != plainTraits {
		if err := l.traits.assume(); err != nil {
			ready <- err
			return
		}
	}
	emptySignalMask()
	ready <- nil
	for j := range l.jobs {
		if j.err = l.impose(j.mask); j.err == nil {
			j.start(l.ns != nil)
		}
		close(j.ready)
	}
}

// start runs j on the launcher's thread and returns when the child has executed
// its program or failed to.
func (l *launcher) start(j *launch) error {
	j.ready = make(chan struct{})
	l.jobs <- j
	<-j.ready
	return j.err
}

// stop ends the thread. Children that still live would get the signal.
func (l *launcher) stop() {
	l.once.Do(func() { close(l.jobs) })
	<-l.done
}

func (j *launch) start(ownNamespace bool) {
	j.pidfd = -1
	sys := &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
		PidFD:      &j.pidfd,
		Credential: j.cred,
	}
	if j.pty {
		sys.Setpgid = false // the leader of a session is that of a group, too
		sys.Setsid, sys.Setctty, sys.Ctty = true, true, 1
	}
	if ownNamespace {
		// The namespace dies with the server. And its processes have no parent that they
		// could see, which ForkExec would take for one that is dead.
		sys.Pdeathsig = 0
	}
	if j.cgroup != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, int(j.cgroup.Fd())
	}
	j.pid, j.err = syscall.ForkExec(j.path, j.argv, &syscall.ProcAttr{Dir: j.dir, Env: j.env, Files: j.files, Sys: sys})
	if j.err == nil && j.pidfd < 0 {
		syscall.Kill(j.pid, syscall.SIGKILL)
		var ws syscall.WaitStatus
		for {
			if _, err := syscall.Wait4(j.pid, &ws, 0, nil); err != syscall.EINTR {
				break
			}
		}
		j.err = os.NewSyscallError("clone(CLONE_PIDFD), needs Linux 5.4", syscall.ENOSYS)
	}
}

// emptySignalMask unblocks all signals on this thread, which must be locked. A child begins with the mask of the thread that forked it,
// and the Go runtime keeps most of the mask this program was started with: without
// this, a SIGUSR1 or SIGALRM that some launcher had blocked would be blocked in all
// workers. Ignored signals need nothing: Go handles them all from its start, so
// they have their default action in a child; but for SIGHUP and SIGINT, when they
// were ignored at the start (by nohup, or a shell's &), and stay so on purpose.
func emptySignalMask() {
	var none unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil)
}
