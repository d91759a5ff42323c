package spawn

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A plan is what all workers of a group have in common, checked.
type plan struct {
	path  string // to execute; "" for the own binary
	name  string // for messages
	argv  []string
	env   []string
	dir   string
	fn    string
	stdin *os.File // nil: the null device
	exe   *os.File // the binary of function workers, O_PATH

	launcher *launcher
	traits   threadTraits
	masks    []*seatMask // of the ranks, in turn; none: anywhere
	limits   map[string]uint64
	cred     *syscall.Credential
	cgroup   *os.File
	files    []NamedFile
	pty      bool
	sized    bool // the environment says how many processors to use
}

func (s *Server) plan(spec Spec) (plan, error) {
	p := plan{dir: spec.Dir, fn: spec.Func, stdin: spec.Stdin, exe: s.exe}
	switch {
	case spec.Func == "" && len(spec.Cmd) == 0:
		return p, &SpecError{"Spec", fmt.Errorf("neither Func nor Cmd is set: set one")}
	case spec.Func != "" && len(spec.Cmd) != 0:
		return p, &SpecError{"Spec", fmt.Errorf("both Func and Cmd are set: set one")}
	case spec.Workers < 1 || spec.Workers > MaxWorkers:
		return p, &SpecError{"Spec.Workers", fmt.Errorf("%d: want 1 to %d", spec.Workers, MaxWorkers)}
	}
	for _, str := range append(slices.Clone(spec.Cmd), spec.Func, spec.Dir) {
		if slices.Contains([]byte(str), 0) {
			return p, &SpecError{"Spec", fmt.Errorf("%q holds a NUL byte", str)}
		}
	}
	if err := checkEnv("Spec.Env", spec.Env); err != nil {
		return p, err
	}
	if err := spec.Restart.check(); err != nil {
		return p, err
	}
	if err := spec.Heartbeat.check(spec.Func != ""); err != nil {
		return p, err
	}
	if err := spec.Recycle.check(spec.Func != ""); err != nil {
		return p, err
	}
	if spec.Spares < 0 || spec.Spares > MaxWorkers || spec.Spares > 0 && spec.Func == "" {
		return p, &SpecError{"Spec.Spares", fmt.Errorf("%d: want 0 to %d, and function workers: a command cannot wait for its rank", spec.Spares, MaxWorkers)}
	}
	if err := checkFiles(spec.Files); err != nil {
		return p, err
	}
	p.files, p.pty = slices.Clone(spec.Files), spec.Pty
	if err := checkDir(spec.Dir); err != nil {
		return p, err
	}
	if err := p.equip(spec); err != nil {
		return p, err
	}
	base := os.Environ()
	if spec.Process.CleanEnv {
		base = slices.DeleteFunc(base, func(kv string) bool {
			key, _, _ := strings.Cut(kv, "=")
			return !slices.Contains(kept, key)
		})
	}
	p.env = mergeEnv(base, s.opt.Env, spec.Env)
	asked := slices.Concat(s.opt.Env, spec.Env)
	p.sized = lookupEnv(asked, "GOMAXPROCS") != "" || lookupEnv(asked, "OMP_NUM_THREADS") != ""
	var err error
	if p.launcher, err = s.launcherFor(p.traits); err != nil {
		return p, err
	}
	if spec.Func != "" {
		p.name, p.argv = s.exeName, []string{s.exeName}
		if len(os.Args) > 0 {
			p.argv = os.Args[:1]
		}
		return p, nil
	}
	p.path, err = findCommand(spec.Cmd[0], spec.Dir, p.env)
	p.name, p.argv = spec.Cmd[0], spec.Cmd
	if err == nil && spec.ReadyTimeout > 0 {
		var path string
		if path, err = s.notifyAt(); err == nil {
			p.env = mergeEnv(p.env, []string{envNotify + "=" + path})
		}
	}
	return p, err
}

// spareRank is the rank of a worker that has none yet.
const spareRank = -1

// start starts one worker of g, or takes a spare for it. On an error nothing of it
// is left.
func (s *Server) start(g *Group, p *plan, rank int) (_ *worker, err error) {
	for rank >= 0 {
		w := g.takeSpare(p)
		if w == nil {
			break
		}
		err := s.assign(w, rank)
		if _, again := err.(*spareError); !again {
			return w, err
		}
	}
	w := &worker{g: g, plan: p, serial: s.enrol(), limits: g.spec.Recycle.drawn(), rank: rank, wasSpare: rank < 0, size: g.target(), ready: make(chan struct{}), done: make(chan struct{})}
	var (
		near, far []int      // raw descriptors: the server's ends, the child's
		donated   []*os.File // the child's
	)
	defer func() {
		closeFDs(far)
		closeFiles(donated)
		if err == nil {
			return
		}
		s.over(w)
		closeFDs(near)
		for _, c := range w.out {
			if c != nil {
				c.close()
			}
		}
		if w.ctl != nil {
			w.ctl.f.Close()
		}
		g.leaseErrors(rank, closeLeases(w.leases))
	}()

	mask, env, cgroup := p.mask(rank), p.env, p.cgroup
	if cgroup == nil {
		cgroup = s.contained.cgroup
	}
	if mask != nil && !p.sized {
		env = mergeEnv(env, mask.env())
	}
	job := &launch{
		path: p.path, argv: p.argv, dir: p.dir,
		env:   slices.Concat(env, s.identity(w)),
		files: []uintptr{s.null.Fd()},
		mask:  mask, cred: p.cred, cgroup: cgroup,
	}
	if p.stdin != nil {
		// Fd makes it blocking, as programs expect their input to be.
		if job.files[0] = p.stdin.Fd(); job.files[0] == ^uintptr(0) {
			return nil, &SpecError{"Spec.Stdin", os.ErrClosed}
		}
	}
	streams := []string{"stdout", "stderr"}
	if p.pty {
		streams = streams[:1]
		ours, theirs, err := openPty()
		if err != nil {
			return nil, err
		}
		near, far = append(near, ours), append(far, theirs)
		job.files = append(job.files, uintptr(theirs), uintptr(theirs))
		job.pty = true
	}
	for range 3 - len(job.files) {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return nil, explainFiles(os.NewSyscallError("pipe2", err))
		}
		near, far = append(near, ends[0]), append(far, ends[1])
		job.files = append(job.files, uintptr(ends[1]))
	}
	if p.fn != "" {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, explainFiles(os.NewSyscallError("socketpair", err))
		}
		near, far = append(near, ends[0]), append(far, ends[1])
		job.files = append(job.files, uintptr(ends[1]))
		pl := plumbing{}
		if rank >= 0 {
			if donated, err = s.donate(w, &pl); err != nil {
				return nil, err
			}
		}
		fds, err := rawFDs(donated)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			job.files = append(job.files, uintptr(fd))
		}
		pl.cookie, _ = unix.GetsockoptUint64(ends[1], unix.SOL_SOCKET, unix.SO_COOKIE)
		w.cookie = pl.cookie
		job.env = append(job.env, envFunc+"="+p.fn, envFD+"="+pl.String())
		// The binary as it was when this server started, whatever lies under its
		// name by now. It is one of the child's own descriptors, since any other
		// number may be overwritten while the child sorts them.
		job.path = "/proc/self/fd/" + strconv.Itoa(len(job.files))
		job.files = append(job.files, p.exe.Fd())
		if len(p.limits) > 0 {
			job.env = append(job.env, shimOrder(p.limits, 0, 0, ""))
		}
	} else if len(p.limits) > 0 || len(p.files) > 0 {
		var names []string
		if donated, names, err = p.copies(); err != nil {
			return nil, err
		}
		if len(names) > 0 {
			job.env = append(job.env, envListenName+"="+p.listenNames())
		}
		fds, err := rawFDs(donated) // not Fd: it would make what they share blocking
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			job.files = append(job.files, uintptr(fd))
		}
		job.env = append(job.env, shimOrder(p.limits, len(job.files), len(names), p.path))
		job.path = "/proc/self/fd/" + strconv.Itoa(len(job.files))
		job.files = append(job.files, s.exe.Fd())
	}

	// Into the netpoller first: all that can fail comes before the process.
	name := fmt.Sprintf("worker %d of %s", rank, g.name)
	for _, stream := range streams {
		fd := near[0]
		near = near[1:]
		c, err := newCapture(fd, stream+" of "+name)
		if err != nil {
			return nil, err
		}
		w.out = append(w.out, c)
	}
	if p.fn != "" {
		fd := near[0]
		near = near[1:]
		if w.ctl, err = newControl(fd, "control socket of "+name); err != nil {
			return nil, err
		}
	}

	if g.spec.ReadyTimeout <= 0 && rank >= 0 {
		w.setReady()
	}
	w.started = time.Now()
	s.launching.RLock()
	err = p.launcher.start(job)
	if err == nil {
		w.pid = job.pid
		s.started(w)
	}
	s.launching.RUnlock()
	runtime.KeepAlive(donated)
	runtime.KeepAlive(p)
	if err != nil {
		return nil, explainExec(p.name, err)
	}
	if w.pidfd, w.pidConn, err = pollable(job.pidfd, "pidfd of "+name); err != nil {
		syscall.Kill(-w.pid, syscall.SIGKILL)
		for {
			if _, e := syscall.Wait4(w.pid, nil, 0, nil); e != syscall.EINTR {
				break
			}
		}
		return nil, err
	}
	for i, stream := range streams {
		w.out[i].split.emit = w.output(stream)
	}
	w.takeOutput()
	w.introduce()
	return w, nil
}

// identity is the part of the environment that says who the worker is.
func (s *Server) identity(w *worker) []string {
	env := []string{
		markOf(s.mark, w.serial),
		envRun + "=" + s.opt.Run,
		envGroup + "=" + w.g.name,
		envDir + "=" + s.claim.parent.path,
	}
	if w.rank >= 0 {
		env = append(env, envRank+"="+strconv.Itoa(w.rank), envSize+"="+strconv.Itoa(w.size))
	}
	return env
}

// donate asks all resources for their part of w. What it returns, and w.leases,
// are to be closed also after an error.
func (s *Server) donate(w *worker, pl *plumbing) (all []*os.File, err error) {
	for _, name := range s.names {
		files, words, l, err := s.opt.Resources[name].Donate(w.g.name, w.rank, w.size)
		if err != nil {
			return all, fmt.Errorf("resource %q: %w", name, err)
		}
		all = append(all, files...)
		w.addLease(name, l)
		d := donation{name, len(files), words}
		if err := d.check(); err != nil {
			return all, err
		}
		if slices.Contains(files, nil) {
			return all, fmt.Errorf("resource %q: gave a nil file", name)
		}
		pl.resources = append(pl.resources, d)
	}
	if w.g.spec.Heartbeat.Timeout > 0 || w.g.spec.Recycle.Tasks > 0 {
		page, f, err := newPulse()
		if err != nil {
			return all, err
		}
		all = append(all, f)
		w.addLease(pulseName, page)
		w.mu.Lock()
		w.pulse = page
		w.mu.Unlock()
		pl.resources = append(pl.resources, donation{pulseName, 1, nil})
	}
	if w.plan != nil && len(w.plan.files) > 0 && w.plan.fn != "" {
		files, names, err := w.plan.copies()
		if err != nil {
			return all, err
		}
		all = append(all, files...)
		w.addLease(filesName, nil)
		pl.resources = append(pl.resources, donation{filesName, len(files), names})
	}
	if len(all) > maxFiles {
		return all, fmt.Errorf("the resources gave %d files, at most %d", len(all), maxFiles)
	}
	if n := len(pl.String()) + 16; n > maxPlumbing { // 16: the cookie, which is not known yet
		return all, fmt.Errorf("the resources' words take %d bytes, at most %d", n, maxPlumbing)
	}
	return all, nil
}

func (w *worker) addLease(name string, l io.Closer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leases = append(w.leases, lease{name, l})
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}
