package spawn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Server starts and watches the workers of one run. Its methods can be called
// at the same time.
type Server struct {
	opt     Options
	names   []string // of the resources, sorted
	claim   *claim
	exe     *os.File // this binary, O_PATH
	exeName string   // for messages
	null    *os.File
	born    time.Time
	guests  *guests // nil unless Options.Guests

	closing sync.Mutex // one Close at a time

	// launching is held shared from the fork of a worker until it is in the list of
	// them, and exclusively by who looks for children that are not.
	launching sync.RWMutex
	gone      bool // Close has succeeded; under closing

	mu        sync.Mutex
	closed    bool
	mark      string // of all processes of the run
	contained containment
	oom       *oomWatch
	serial    uint64
	serials   map[uint64]bool // of the workers that have not ended
	pids      map[int]*worker // of the workers that were not waited for
	launchers map[threadTraits]*launcher
	starting  sync.WaitGroup // Starts under way; added to under mu, while not closed
	groups    []*Group       // not yet ended, oldest first
	notices   *notices       // nil before the first command with a ReadyTimeout
}

// NewServer takes the run's name on this machine and makes its directory. When a
// live server has it, the error is a *[RunningError]. What a killed one left
// behind is removed.
func NewServer(o Options) (_ *Server, err error) {
	if err := checkName(o.Run); err != nil {
		return nil, &SpecError{"run name", err}
	}
	if err := checkEnv("Options.Env", o.Env); err != nil {
		return nil, err
	}
	s := &Server{opt: o, born: time.Now(), mark: newMark(), oom: newOOMWatch(), serials: map[uint64]bool{}, pids: map[int]*worker{}}
	s.opt.Resources = maps.Clone(o.Resources)
	s.opt.Env = slices.Clone(o.Env)
	s.names = slices.Sorted(maps.Keys(o.Resources))
	if len(s.names) > maxResources {
		return nil, &SpecError{"Options.Resources", fmt.Errorf("%d, at most %d", len(s.names), maxResources)}
	}
	for _, name := range s.names {
		if err := checkName(name); err != nil {
			return nil, &SpecError{"Options.Resources", fmt.Errorf("name %w", err)}
		}
		if name == pulseName || name == filesName {
			return nil, &SpecError{"Options.Resources", fmt.Errorf("name %q is taken: choose another", name)}
		}
		if o.Resources[name] == nil {
			return nil, &SpecError{"Options.Resources", fmt.Errorf("%q is nil", name)}
		}
	}
	dir, err := resolveRuntimeDir(o.Dir)
	if err != nil {
		return nil, err
	}

	defer func() {
		if err != nil {
			s.closeFiles()
		}
	}()
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("spawn: open this program's binary (is /proc mounted?): %w", explainFiles(&os.PathError{Op: "open", Path: "/proc/self/exe", Err: err}))
	}
	s.exe = os.NewFile(uintptr(fd), "/proc/self/exe")
	if s.exeName, err = os.Readlink("/proc/self/exe"); err != nil {
		s.exeName = os.Args[0]
	}
	if s.null, err = os.OpenFile(os.DevNull, os.O_RDONLY, 0); err != nil {
		return nil, fmt.Errorf("spawn: %w", explainFiles(err))
	}
	if s.claim, err = claimRun(dir, o.Run); err != nil {
		return nil, err
	}
	if o.Guests {
		if s.guests, err = listenGuests(s); err != nil {
			s.claim.release()
			return nil, err
		}
	}
	s.contain(o.Contain)
	if _, err := s.launcherFor(plainTraits); err != nil {
		s.releaseContainment()
		if s.guests != nil {
			s.guests.close()
		}
		s.claim.release()
		return nil, err
	}
	return s, nil
}

// Run returns the name of the run.
func (s *Server) Run() string { return s.opt.Run }

// Dir returns the run's own directory (mode 0700), valid until Close, which removes
// it and all that is in it. The file "lock" in there is the server's.
func (s *Server) Dir() string { return s.claim.path }

// Start starts a group of workers: all of them or none. When one cannot be
// started, those before it are stopped again, and the error is a *[StartError];
// what can be seen beforehand (a bad Spec, a missing command, limits that do not
// allow so many) is found before anything is started. ctx bounds the starting
// only.
func (s *Server) Start(ctx context.Context, spec Spec) (*Group, error) {
	p, err := s.plan(spec)
	if err != nil {
		return nil, err
	}
	g, err := s.enter(spec, &p)
	if err != nil {
		return nil, err
	}
	defer s.starting.Done()
	if err := checkLimits(g.name, spec.Workers, p.fn != ""); err != nil {
		g.abandon(ctx)
		return nil, err
	}
	if err := s.fill(ctx, g, &p, 0, spec.Workers); err != nil {
		return nil, errors.Join(err, g.abandon(ctx), g.failures())
	}
	g.complete()
	return g, nil
}

// fill starts the workers of ranks from … to−1 and waits until they are ready.
func (s *Server) fill(ctx context.Context, g *Group, p *plan, from, to int) error {
	ws := make([]*worker, 0, to-from)
	for rank := from; rank < to; rank++ {
		err := ctx.Err()
		var w *worker
		if err == nil {
			w, err = s.start(g, p, rank)
		}
		if err == nil {
			ws = append(ws, w)
			err = g.add(w, p)
		}
		if err != nil {
			return &StartError{g.name, rank, err}
		}
	}
	if g.spec.ReadyTimeout <= 0 {
		return nil
	}
	for _, w := range ws {
		if err := w.untilReady(ctx); err != nil {
			return &StartError{g.name, w.rank, err}
		}
	}
	return nil
}

// untilReady waits until the worker has said that it is ready.
func (w *worker) untilReady(ctx context.Context) error {
	select {
	case <-w.ready:
		return nil
	case <-w.done:
		select {
		case <-w.ready:
			return nil // it was, for a moment
		default:
		}
		return &NotReadyError{w.g.name, w.rank, w.pid, w.g.spec.ReadyTimeout, &w.exit}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// launcherFor returns the thread that forks children with these traits.
func (s *Server) launcherFor(t threadTraits) (*launcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.launchers[t]; l != nil {
		return l, nil
	}
	if s.closed {
		return nil, fmt.Errorf("spawn: start in run %q: the server is closed: %w", s.opt.Run, os.ErrClosed)
	}
	l, err := newLauncher(t, s.contained.ns)
	if err != nil {
		return nil, err
	}
	if s.launchers == nil {
		s.launchers = map[threadTraits]*launcher{}
	}
	s.launchers[t] = l
	return l, nil
}

// now is the time of the restart rules: monotonic, since the server's start.
func (s *Server) now() time.Duration { return time.Since(s.born) }

// enter puts a new group into the list, under a name of its own, and counts a
// Start under way.
func (s *Server) enter(spec Spec, p *plan) (*Group, error) {
	name := spec.Group
	if name != "" {
		if err := checkName(name); err != nil {
			return nil, &SpecError{"group name", err}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("spawn: start in run %q: the server is closed: %w", s.opt.Run, os.ErrClosed)
	}
	taken := func(name string) bool {
		return slices.ContainsFunc(s.groups, func(g *Group) bool { return g.name == name })
	}
	if name != "" && taken(name) {
		return nil, &SpecError{"group name", fmt.Errorf("%q is in use by a running group: wait for that one, or choose another name", name)}
	}
	if name == "" {
		base := spec.Func
		if base == "" {
			base = spec.Cmd[0][strings.LastIndexByte(spec.Cmd[0], '/')+1:]
		}
		base = cleanName(base)
		name = base
		for i := 2; taken(name); i++ {
			suffix := fmt.Sprintf("-%d", i)
			name = base[:min(len(base), maxName-len(suffix))] + suffix
		}
	}
	g := newGroup(s, name, spec, p)
	s.groups = append(s.groups, g)
	s.starting.Add(1)
	return g, nil
}

func (s *Server) remove(g *Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = slices.DeleteFunc(s.groups, func(o *Group) bool { return o == g })
}

func (s *Server) live() []*Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.groups)
}

// Group returns the group of that name that has not ended, or nil.
func (s *Server) Group(name string) *Group {
	for _, g := range s.live() {
		if g.name == name {
			return g
		}
	}
	return nil
}

// Workers describes the workers of all groups that have not ended, and the guests.
func (s *Server) Workers() []Info {
	var all []Info
	for _, g := range s.live() {
		all = append(all, g.Infos()...)
	}
	if s.guests != nil {
		all = append(all, s.guests.infos()...)
	}
	return all
}

// lastGrace is what groups still get between SIGTERM and SIGKILL whose turn did not
// come in time.
const lastGrace = 500 * time.Millisecond

// Stop stops all groups, each as [Group.Stop] does, in the reverse order of their
// start: a group goes when those that may need it are gone. The largest StopTimeout
// among them bounds all of it: when that is over, those that still run are told
// together, and killed half a second later. Then the guests are asked to leave: those
// who have not after Options.LeaveTimeout, or when ctx ends, lose their connection.
// New workers can be started, and guests join, afterwards.
func (s *Server) Stop(ctx context.Context) error {
	groups := s.live()
	var longest time.Duration
	for _, g := range groups {
		longest = max(longest, g.spec.StopTimeout)
	}
	inTurn, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for i, g := range slices.Backward(groups) {
		if inTurn.Err() == nil {
			errs[i] = g.Stop(inTurn)
			continue
		}
		wg.Go(func() { errs[i] = g.stop(ctx, min(lastGrace, g.spec.StopTimeout)) })
	}
	wg.Wait()
	if s.guests != nil {
		s.guests.stop(ctx, cmp.Or(s.opt.LeaveTimeout, DefaultStopTimeout))
	}
	return errors.Join(errs...)
}

// Close stops all groups, removes the run's directory and gives up the run. When
// a worker cannot be killed, Close says so and keeps the run; call it again.
// Closing a closed server returns nil.
func (s *Server) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	s.mu.Lock()
	s.closed = true // no Start begins from here on
	s.mu.Unlock()
	if s.guests != nil {
		s.guests.shut()
	}
	if s.gone {
		return nil
	}
	err := s.Stop(context.Background())
	s.starting.Wait() // those under way see that their group is stopped
	if err != nil {
		return fmt.Errorf("spawn: close run %q: %w", s.opt.Run, err)
	}
	if s.guests != nil {
		s.guests.close()
	}
	s.notices.close()
	for _, l := range s.launchers {
		l.stop()
	}
	s.releaseContainment()
	s.gone = true
	err = s.claim.release()
	s.closeFiles()
	return err
}

func (s *Server) closeFiles() {
	for _, f := range []*os.File{s.exe, s.null} {
		if f != nil {
			f.Close()
		}
	}
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return s.String()
}
