package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
	spec Spec
	done chan struct{} // closed when all workers have ended for good
	wake chan struct{} // holds a token when there is mail

	changing sync.Mutex // one Resize or Reload at a time

	mu       sync.Mutex
	mail     []func() // for supervise
	ended    bool     // supervise has ended: no more mail
	rules    restarter
	seats    []*seat // by rank
	plan     *plan   // of workers to come
	size     int     // wanted: a Start or Resize under way has fewer seats
	starting int     // Starts and Resizes under way: nobody is restarted meanwhile
	spares   []*worker
	spareDue time.Duration // no new one before
	monitor  monitor       // supervise's own
	left     int           // processes that have not ended
	stopped  bool
	gaveUp   *GiveUpError
	errs     []error // of leases, and of starts that failed
}

// A seat is what one rank has, whoever holds it.
type seat struct {
	w        *worker // the one that runs, or was the last to run
	plan     *plan
	restarts int
	swap     *swap // under way
}

func newGroup(s *Server, name string, spec Spec, p *plan) *Group {
	if spec.StopTimeout == 0 {
		spec.StopTimeout = DefaultStopTimeout
	}
	g := &Group{
		s: s, name: name, spec: spec, plan: p, size: spec.Workers, starting: 1,
		rules: newRestarter(spec.Restart, 0),
		done:  make(chan struct{}), wake: make(chan struct{}, 1),
	}
	g.monitor.every = spec.look()
	g.rules.rule = spec.Restart.withDefaults(spec.Workers)
	go g.supervise()
	return g
}

// Name returns the group's name.
func (g *Group) Name() string { return g.name }

// Size returns the number of workers: what it was started with, or the last Resize.
func (g *Group) Size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seats)
}

// target is the size that new workers are told.
func (g *Group) target() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size
}

// add gives a new rank to a started worker and watches it. Start and Resize call it.
func (g *Group) add(w *worker, p *plan) error {
	g.mu.Lock()
	g.seats = append(g.seats, &seat{w: w, plan: p})
	g.rules.resize(g.s.now(), len(g.seats))
	stopped := g.stopped
	fresh := !w.wasSpare
	if fresh {
		g.left++
	} else if w.unseated {
		g.left++ // its end has been taken for that of a spare
		defer g.post(func() { g.exited(w) })
	}
	g.mu.Unlock()
	if fresh {
		go w.watch()
	}
	if stopped {
		return errors.New("the group was stopped while it was being started")
	}
	return nil
}

// complete ends a Start or Resize.
func (g *Group) complete() {
	g.post(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.starting--
	})
}

// abandon stops what was started so far, and forgets the group.
func (g *Group) abandon(ctx context.Context) error {
	g.complete()
	return g.Stop(ctx)
}

func (g *Group) fail(err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errs = append(g.errs, err)
}

func (g *Group) leaseErrors(rank int, err error) {
	if err != nil {
		g.fail(fmt.Errorf("spawn: worker %d of group %q: %w", rank, g.name, err))
	}
}

func (g *Group) failures() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}

// Done is closed when all workers have ended and none will be started again.
func (g *Group) Done() <-chan struct{} { return g.done }

// Wait waits for all workers, their output and their leases. It returns nil when
// all have ended with code 0, and an *[ExitError] otherwise; workers that were
// stopped count like all others. Of a worker that was started again the last end
// counts. A group that gave up is a *[GiveUpError]. Errors from closing leases and
// from restarts are joined to it.
func (g *Group) Wait() error {
	<-g.done
	var failed []Exit
	for _, x := range g.Exits() {
		if x.Code != 0 {
			failed = append(failed, x)
		}
	}
	var err error
	if len(failed) > 0 {
		err = &ExitError{g.name, g.target(), failed}
	}
	if g.gaveUp != nil {
		why := *g.gaveUp // Wait may be called by many
		why.Err, err = err, &why
	}
	if more := g.failures(); more != nil {
		err = errors.Join(err, more)
	}
	return err
}

// Stop ends all workers: SIGTERM to their process groups, once, and SIGKILL when
// Spec.StopTimeout is over or ctx ends. The workers of a RestForOne group are
// ended one after the other, the last one first; all others at the same time.
// Stop returns when all have ended. The error names workers that outlive even
// SIGKILL.
func (g *Group) Stop(ctx context.Context) error { return g.stop(ctx, g.spec.StopTimeout) }

func (g *Group) stop(ctx context.Context, timeout time.Duration) error {
	g.close()
	if timeout > 0 && ctx.Err() == nil {
		deadline := time.NewTimer(timeout)
		defer deadline.Stop()
		if g.terminate(ctx, deadline.C) {
			return nil
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

// terminate asks the workers to end and reports whether all did in time.
func (g *Group) terminate(ctx context.Context, deadline <-chan time.Time) bool {
	if g.spec.Restart.Strategy == RestForOne {
		for _, w := range slices.Backward(g.all()) {
			w.terminate()
			select {
			case <-w.done:
			case <-deadline:
				return false
			case <-ctx.Done():
				return false
			}
		}
	}
	g.each((*worker).terminate)
	select {
	case <-g.done:
		return true
	case <-deadline:
	case <-ctx.Done():
	}
	return false
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

// all returns the workers by rank: of each the one that runs, or ran last.
func (g *Group) all() []*worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	ws := make([]*worker, len(g.seats))
	for i, s := range g.seats {
		ws[i] = s.w
	}
	return ws
}

// Infos describes all workers, by rank.
func (g *Group) Infos() []Info {
	g.mu.Lock()
	defer g.mu.Unlock()
	infos := make([]Info, len(g.seats))
	for i, s := range g.seats {
		infos[i] = s.w.info()
		infos[i].Restarts = s.restarts
		if g.rules.places[i].phase == down {
			infos[i].State = Waiting
		}
	}
	return infos
}

// Exits describes the workers that have ended, by rank, each one's last end.
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
