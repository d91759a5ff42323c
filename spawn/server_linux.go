package spawn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Server starts and watches the workers of one run. Its methods can be called
// at the same time.
type Server struct {
	opt      Options
	names    []string // of the resources, sorted
	claim    *claim
	exe      *os.File // this binary, O_PATH
	exeName  string   // for messages
	null     *os.File
	launcher *launcher

	closing sync.Mutex // one Close at a time

	mu       sync.Mutex
	closed   bool
	starting sync.WaitGroup // Starts under way; added to under mu, while not closed
	groups   []*Group       // not yet ended, oldest first
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
	s := &Server{opt: o}
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
	s.launcher = newLauncher()
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
	g, err := s.enter(spec)
	if err != nil {
		return nil, err
	}
	defer s.starting.Done()
	if err := checkLimits(g.name, g.size, p.fn != ""); err != nil {
		g.abandon(ctx)
		return nil, err
	}
	for rank := range g.size {
		err := ctx.Err()
		var w *worker
		if err == nil {
			w, err = s.start(g, &p, rank)
		}
		if err == nil {
			err = g.add(w)
		}
		if err != nil {
			return nil, errors.Join(&StartError{g.name, rank, err}, g.abandon(ctx), g.leaseErrs())
		}
	}
	g.complete()
	return g, nil
}

// enter puts a new group into the list, under a name of its own, and counts a
// Start under way.
func (s *Server) enter(spec Spec) (*Group, error) {
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
	g := newGroup(s, name, spec)
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

// Workers describes the workers of all groups that have not ended.
func (s *Server) Workers() []Info {
	var all []Info
	for _, g := range s.live() {
		all = append(all, g.Infos()...)
	}
	return all
}

// Stop stops all groups at the same time, each as [Group.Stop] does. New ones can
// be started afterwards.
func (s *Server) Stop(ctx context.Context) error {
	groups := s.live()
	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() { errs[i] = g.Stop(ctx) })
	}
	wg.Wait()
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
	if s.launcher == nil {
		return nil
	}
	err := s.Stop(context.Background())
	s.starting.Wait() // those under way see that their group is stopped
	if err != nil {
		return fmt.Errorf("spawn: close run %q: %w", s.opt.Run, err)
	}
	s.launcher.stop()
	s.launcher = nil
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
