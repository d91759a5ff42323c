package spawn

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const defaultSettle = time.Second

// Reload replaces the workers by ones of another program, one after the other,
// rank 0 first: it stops one, starts its successor, and goes on when that is
// ready. So a rank never has two holders, and all but one of the workers are at
// work at any time.
//
// When a successor cannot be started, ends, or is not ready in time, the old
// program gets its place back, and so it does in the places that were reloaded
// before. The error is then a *[ReloadError]. When ctx ends first, the rest is
// left as it is.
func (g *Group) Reload(ctx context.Context, r Reload) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.mu.Lock()
	spec, old, size := g.spec, g.plan, len(g.seats)
	g.mu.Unlock()
	if len(r.Cmd) > 0 {
		spec.Cmd = r.Cmd
	}
	next, err := g.s.plan(spec)
	if err == nil && next.fn != "" {
		err = next.open(r.Binary, g.s.exeName)
	}
	if err != nil {
		return err
	}
	if r.Settle == 0 {
		r.Settle = defaultSettle
	}
	for rank := range size {
		err := g.swapOne(ctx, rank, &next, r.Settle)
		if err == nil {
			continue
		}
		var errs []error
		if ctx.Err() == nil {
			for back := range rank {
				errs = append(errs, g.swapOne(ctx, back, old, r.Settle))
			}
		}
		return errors.Join(append([]error{&ReloadError{g.name, rank, next.name, err}}, errs...)...)
	}
	g.mu.Lock()
	g.plan = &next
	if len(r.Cmd) > 0 {
		g.spec.Cmd = r.Cmd
	}
	g.mu.Unlock()
	g.post(func() {}) // spares of the old program go
	return nil
}

// open takes a program file for function workers.
func (p *plan) open(binary, running string) error {
	if binary == "" {
		// The kernel says so when the file was replaced since.
		binary = trimDeleted(running)
	}
	if err := executable(binary); err != nil {
		return &CommandError{binary, explainPath(err, "", binary)}
	}
	fd, err := unix.Open(binary, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &CommandError{binary, explainFiles(err)}
	}
	p.exe, p.name = os.NewFile(uintptr(fd), binary), binary // closed by its finalizer, with the last plan that uses it
	return nil
}

func trimDeleted(path string) string {
	const mark = " (deleted)"
	if n := len(path) - len(mark); n > 0 && path[n:] == mark {
		return path[:n]
	}
	return path
}

// A swap is the replacement of one worker by one of another plan.
type swap struct {
	old    *plan
	settle time.Duration
	w      *worker // the successor, once it runs
	result chan error
}

// swapOne replaces the worker of one rank and waits for the successor.
func (g *Group) swapOne(ctx context.Context, rank int, p *plan, settle time.Duration) error {
	sw := &swap{settle: settle, result: make(chan error, 1)}
	if !g.post(func() { g.beginSwap(rank, p, sw) }) {
		return errEnded
	}
	select {
	case err := <-sw.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-g.done:
		return errEnded
	}
}

func (g *Group) beginSwap(rank int, p *plan, sw *swap) {
	g.mu.Lock()
	if g.stopped || rank >= len(g.seats) {
		sw.result <- errEnded
		g.mu.Unlock()
		return
	}
	st := g.seats[rank]
	sw.old, st.plan = st.plan, p
	if g.rules.places[rank].phase == over {
		sw.result <- nil // it has done its work; a restart would be one of the new plan
		g.mu.Unlock()
		return
	}
	st.swap = sw
	tell := g.rules.replace(g.s.now(), rank) // else it is on its way out already
	g.mu.Unlock()
	if tell {
		st.w.end(ReasonReload, g.spec.StopTimeout)
	}
}

// started watches the successor, with the group's mu held.
func (sw *swap) started(g *Group, w *worker) {
	sw.w = w
	go func() {
		settled := time.NewTimer(sw.settle)
		defer settled.Stop()
		var wait <-chan time.Time
		if g.spec.ReadyTimeout <= 0 {
			wait = settled.C
		}
		select {
		case <-w.ready:
			if wait != nil {
				select {
				case <-wait:
				case <-w.done:
					return
				}
			}
		case <-w.done: // exited makes the result
			return
		}
		g.post(func() { g.endSwap(sw) })
	}()
}

func (g *Group) endSwap(sw *swap) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.IndexFunc(g.seats, func(st *seat) bool { return st.swap == sw }); i >= 0 {
		g.seats[i].swap = nil
		sw.result <- nil
	}
}

// fallBack gives the place back to the old plan.
func (st *seat) fallBack(err error) {
	st.plan = st.swap.old
	st.swap.result <- err
	st.swap = nil
}
