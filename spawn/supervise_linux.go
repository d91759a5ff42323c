package spawn

import (
	"errors"
	"slices"
	"time"
)

// supervise is the goroutine of a group. It alone applies the restart rules: ends
// of workers, requests and the clock reach it one at a time, as functions in the
// mail and as its timer.
func (g *Group) supervise() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		g.mu.Lock()
		mail := g.mail
		g.mail = nil
		g.mu.Unlock()
		for _, fn := range mail {
			fn()
		}
		again := sooner(sooner(g.advance(), g.look()), g.replenish())
		if g.finish() {
			return
		}
		if again < 0 {
			again = time.Hour
		}
		timer.Reset(again)
		select {
		case <-g.wake:
		case <-timer.C:
		}
	}
}

// sooner is the shorter of two times, of which a negative one is never.
func sooner(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// post hands a function to supervise. It reports whether it will be called.
func (g *Group) post(fn func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	g.mail = append(g.mail, fn)
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return true
}

// finish ends the group when nobody runs and nobody will be started.
func (g *Group) finish() bool {
	g.mu.Lock()
	g.ended = g.starting == 0 && g.left == 0 && g.rules.finished() && len(g.mail) == 0
	ended := g.ended
	g.mu.Unlock()
	if ended {
		g.s.remove(g)
		close(g.done)
	}
	return ended
}

// close is the end of all restarts.
func (g *Group) close() {
	g.mu.Lock()
	g.stopped = true
	g.rules.close()
	g.mu.Unlock()
	g.post(func() {}) // that may have been all
}

// advance starts who is due, and returns how long until somebody else is; negative
// if nobody waits.
func (g *Group) advance() time.Duration {
	for {
		g.mu.Lock()
		if g.starting > 0 {
			g.mu.Unlock()
			return -1
		}
		now := g.s.now()
		ranks, again := g.rules.next(now)
		g.mu.Unlock()
		if len(ranks) == 0 {
			if again < 0 {
				return -1
			}
			return again - now
		}
		for _, rank := range ranks {
			g.restart(rank)
		}
	}
}

// restart starts the worker of a rank anew.
func (g *Group) restart(rank int) {
	g.mu.Lock()
	if rank >= len(g.seats) {
		g.mu.Unlock()
		return // Resize has taken the rank away
	}
	st := g.seats[rank]
	p := st.plan
	g.mu.Unlock()

	w, err := g.s.start(g, p, rank)
	if err != nil {
		g.startFailed(st, rank, &StartError{g.name, rank, err})
		return
	}
	fresh := !w.wasSpare
	g.mu.Lock()
	if fresh {
		g.left++
	}
	gone := g.stopped || rank >= len(g.seats) || g.seats[rank] != st
	if rank < len(g.seats) && g.seats[rank] == st {
		st.w = w
		st.restarts++
		if st.swap != nil {
			st.swap.started(g, w)
		}
	}
	g.mu.Unlock()
	if fresh {
		go w.watch()
	}
	if gone {
		w.end(ReasonStop, g.spec.StopTimeout)
	}
}

// startFailed is the end of a worker that never was.
func (g *Group) startFailed(st *seat, rank int, err *StartError) {
	g.mu.Lock()
	if rank >= len(g.seats) || g.seats[rank] != st {
		g.mu.Unlock()
		return
	}
	now := g.s.now()
	if sw := st.swap; sw != nil {
		st.fallBack(err)
		g.rules.replace(now, rank)
	}
	again := g.rules.rule.When != RestartNever
	if !again {
		g.errs = append(g.errs, err)
	}
	stop := g.apply(now, rank, again, GiveUpError{Group: g.name, Rank: rank, Start: err})
	g.mu.Unlock()
	g.endAll(stop)
}

// exited takes the end of a worker.
func (g *Group) exited(w *worker) {
	g.mu.Lock()
	g.left--
	now := g.s.now()
	if i := slices.Index(g.spares, w); i >= 0 {
		g.spares = slices.Delete(g.spares, i, i+1)
		g.spareDue = now + spareRetry
	}
	if w.rank < 0 || w.rank >= len(g.seats) || g.seats[w.rank].w != w {
		w.unseated = true
		g.mu.Unlock()
		return // a spare, or its rank was taken away
	}
	st := g.seats[w.rank]
	if st.swap != nil && st.swap.w == w {
		st.fallBack(&NotReadyError{Group: g.name, Rank: w.rank, Pid: w.pid, Exit: &w.exit})
		g.rules.replace(now, w.rank)
	}
	again := g.rules.rule.counts(w.exit.Code) || w.restartAnyway
	stop := g.apply(now, w.rank, again, GiveUpError{Group: g.name, Rank: w.rank, Exit: &w.exit})
	g.mu.Unlock()
	g.endAll(stop)
}

// apply asks the rules what follows from an end, with mu held.
func (g *Group) apply(now time.Duration, rank int, again bool, why GiveUpError) (stop []*worker) {
	ranks, gaveUp := g.rules.exited(now, rank, again)
	if gaveUp {
		why.Restarts, why.Period = g.rules.rule.Intensity, g.rules.rule.Period
		g.gaveUp, g.stopped = &why, true
	}
	for _, r := range ranks {
		stop = append(stop, g.seats[r].w)
	}
	return stop
}

// endAll ends workers because of another one's end.
func (g *Group) endAll(ws []*worker) {
	for _, w := range ws {
		w.end(ReasonRestart, g.spec.StopTimeout)
	}
}

// errEnded is why a group cannot be changed.
var errEnded = errors.New("the group has ended or is being stopped: start another one")
