package spawn

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Resize changes the number of workers while they run. New ones get the next ranks;
// Resize returns when they are ready, and starts all of them or none. Workers to be
// taken away are those of the highest ranks: they are stopped as [Group.Stop] does,
// and no longer appear in Infos, Exits or the error of Wait.
//
// A worker is told the size when it is started (SHMKIT_SIZE); those that run keep
// the old one.
func (g *Group) Resize(ctx context.Context, workers int) error {
	if workers < 1 || workers > MaxWorkers {
		return &SpecError{"Resize", fmt.Errorf("group %q: %d workers: want 1 to %d", g.name, workers, MaxWorkers)}
	}
	g.changing.Lock()
	defer g.changing.Unlock()
	g.mu.Lock()
	size, p := len(g.seats), g.plan
	g.mu.Unlock()
	if workers <= size {
		return g.shrink(ctx, workers)
	}
	if err := checkLimits(g.name, workers-size, g.spec.Func != ""); err != nil {
		return err
	}
	if !g.hold(workers) {
		return fmt.Errorf("spawn: resize group %q: %w", g.name, errEnded)
	}
	defer g.complete()
	if err := g.s.fill(ctx, g, p, size, workers); err != nil {
		return errors.Join(err, g.shrink(context.WithoutCancel(ctx), size))
	}
	return nil
}

// hold counts a Resize under way. It reports whether the group lives.
func (g *Group) hold(workers int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || g.stopped || g.rules.finished() {
		return false
	}
	g.starting++
	g.size = workers
	return true
}

// shrink takes the last ranks away.
func (g *Group) shrink(ctx context.Context, workers int) error {
	g.mu.Lock()
	var gone []*worker
	for _, st := range slices.Backward(g.seats[min(workers, len(g.seats)):]) {
		gone = append(gone, st.w)
		if st.swap != nil {
			st.swap.result <- errEnded
		}
	}
	g.seats = g.seats[:len(g.seats)-len(gone)]
	g.size = len(g.seats)
	g.rules.resize(0, g.size)
	g.mu.Unlock()
	g.post(func() {}) // the others may have ended
	for _, w := range gone {
		w.end(ReasonResize, g.spec.StopTimeout)
		if g.spec.Restart.Strategy == RestForOne {
			w.await(ctx)
		}
	}
	for _, w := range gone {
		w.await(ctx)
	}
	return nil
}

// await waits for the end of a worker that was told to end; when ctx ends first, it
// is killed.
func (w *worker) await(ctx context.Context) {
	select {
	case <-w.done:
	case <-ctx.Done():
		w.kill()
		<-w.done
	}
}
