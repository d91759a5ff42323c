package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// unkillable is how long Stop waits after SIGKILL. A process that outlives it
// hangs in the kernel (a dead file server, a broken device).
const unkillable = 30 * time.Second

// A Group is the workers of one [Server.Start]. Its methods can be called at the
// same time.
type Group struct {
	s    *Server
	name string
	size int
	spec Spec
	done chan struct{} // closed when all workers have ended

	mu       sync.Mutex
	workers  []*worker // by rank
	left     int       // workers that have not ended, and one for Start until it returns
	stopped  bool
	leaseErr []error
}

func newGroup(s *Server, name string, spec Spec) *Group {
	if spec.StopTimeout == 0 {
		spec.StopTimeout = DefaultStopTimeout
	}
	return &Group{s: s, name: name, size: spec.Workers, spec: spec, left: 1, done: make(chan struct{})}
}

// Name returns the group's name.
func (g *Group) Name() string { return g.name }

// Size returns the number of workers it was started with.
func (g *Group) Size() int { return g.size }

// add takes a started worker into the group and watches it.
func (g *Group) add(w *worker) error {
	g.mu.Lock()
	g.workers = append(g.workers, w)
	g.left++
	stopped := g.stopped
	g.mu.Unlock()
	go w.watch()
	if stopped {
		return errors.New("the group was stopped while it was being started")
	}
	return nil
}

// complete ends the starting.
func (g *Group) complete() { g.ended(nil) }

// abandon stops what was started so far, and forgets the group.
func (g *Group) abandon(ctx context.Context) error {
	g.complete()
	return g.Stop(ctx)
}

// ended counts one worker, or the Start, out.
func (g *Group) ended(*worker) {
	g.mu.Lock()
	g.left--
	last := g.left == 0
	g.mu.Unlock()
	if last {
		g.s.remove(g)
		close(g.done)
	}
}

func (g *Group) leaseErrors(rank int, err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaseErr = append(g.leaseErr, fmt.Errorf("spawn: worker %d of group %q: %w", rank, g.name, err))
}

func (g *Group) leaseErrs() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.leaseErr...)
}

// Done is closed when all workers have ended.
func (g *Group) Done() <-chan struct{} { return g.done }

// Wait waits for all workers, their output and their leases. It returns nil when
// all have ended with code 0, and a *[ExitError] otherwise; workers that were
// stopped count like all others. Errors from closing leases are joined to it.
func (g *Group) Wait() error {
	<-g.done
	var failed []Exit
	for _, x := range g.Exits() {
		if x.Code != 0 {
			failed = append(failed, x)
		}
	}
	switch exit, lease := (&ExitError{g.name, g.size, failed}), g.leaseErrs(); {
	case len(failed) == 0:
		return lease
	case lease == nil:
		return exit
	default:
		return errors.Join(exit, lease)
	}
}

// Stop ends all workers at the same time: SIGTERM to their process groups, once,
// and SIGKILL when Spec.StopTimeout is over or ctx ends. It returns when all have
// ended. The error names workers that outlive even SIGKILL.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	if g.spec.StopTimeout > 0 && ctx.Err() == nil {
		g.each((*worker).terminate)
		deadline := time.NewTimer(g.spec.StopTimeout)
		defer deadline.Stop()
		select {
		case <-g.done:
			return nil
		case <-deadline.C:
		case <-ctx.Done():
		}
	}
	g.each((*worker).kill)
	last := time.NewTimer(unkillable)
	defer last.Stop()
	select {
	case <-g.done:
		return nil
	case <-last.C:
	}
	var alive []error
	g.each(func(w *worker) {
		alive = append(alive, fmt.Errorf("worker %d (pid %d) of group %q outlives SIGKILL, or its output is not taken: look at /proc/%d/stack", w.rank, w.pid, g.name, w.pid))
	})
	return errors.Join(alive...)
}

// Signal sends sig to the process groups of all workers that live. The error is
// [os.ErrProcessDone] when there is none.
func (g *Group) Signal(sig syscall.Signal) error {
	err := error(os.ErrProcessDone)
	g.each(func(w *worker) {
		if e := w.signal(sig); err == os.ErrProcessDone || e != nil && e != os.ErrProcessDone {
			err = e
		}
	})
	if err != nil {
		return fmt.Errorf("spawn: signal %d to group %q: %w", int(sig), g.name, err)
	}
	return nil
}

// each calls fn for the workers that have not ended.
func (g *Group) each(fn func(*worker)) {
	for _, w := range g.all() {
		select {
		case <-w.done:
		default:
			fn(w)
		}
	}
}

func (g *Group) all() []*worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*worker(nil), g.workers...)
}

// Infos describes all workers, by rank.
func (g *Group) Infos() []Info {
	var infos []Info
	for _, w := range g.all() {
		infos = append(infos, w.info())
	}
	return infos
}

// Exits describes the workers that have ended, by rank.
func (g *Group) Exits() []Exit {
	var exits []Exit
	for _, w := range g.all() {
		select {
		case <-w.done:
			exits = append(exits, w.exit)
		default:
		}
	}
	return exits
}
