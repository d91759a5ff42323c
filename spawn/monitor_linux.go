package spawn

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// monitor looks after the workers of a group, at every tick of its supervisor:
// heartbeats, age and memory.
type monitor struct {
	every time.Duration // 0: never
	last  time.Duration // the last look
}

// look does what is to be done now, and returns how long until the next time;
// negative if there is none.
func (g *Group) look() time.Duration {
	m := &g.monitor
	if m.every == 0 {
		return -1
	}
	now := g.s.now()
	passed := now - m.last
	if passed < m.every {
		return m.every - passed
	}
	m.last = now
	late := passed > 2*m.every // we were held up: whatever held us may hold them
	for _, w := range g.all() {
		g.feel(w, passed, late)
	}
	g.recycle(now)
	return m.every
}

// feel takes the pulse of a worker.
func (g *Group) feel(w *worker, passed time.Duration, late bool) {
	limit := g.spec.Heartbeat.Timeout
	if limit == 0 || !w.atWork() {
		return
	}
	beats, _ := w.pulse.read()
	q := &w.quiet
	if q.seen(beats, passed) {
		w.beat(beats)
		if q.reported {
			q.reported = false
			g.report(w, 0)
		}
		return
	}
	if late || q.lasted >= limit && w.isFrozen() {
		q.lasted = 0
	}
	if q.lasted < limit || q.reported {
		return
	}
	q.reported = true
	g.report(w, q.lasted)
	if g.spec.Heartbeat.Action != StallReport {
		w.abort(g.spec.Heartbeat.Action == StallRestart)
	}
}

func (g *Group) report(w *worker, silent time.Duration) {
	if fn := g.s.opt.Stall; fn != nil {
		fn(Stall{Group: g.name, Rank: w.rank, Pid: w.pid, Silent: silent, Recovered: silent == 0})
	}
}

// recycle replaces one worker that is worn out, if all are at work.
func (g *Group) recycle(now time.Duration) {
	g.mu.Lock()
	var worn *worker
	for i, st := range g.seats {
		switch g.rules.places[i].phase {
		case over:
			continue
		case up:
		default:
			g.mu.Unlock()
			return
		}
		if !st.w.atWork() || st.swap != nil {
			g.mu.Unlock()
			return
		}
		if worn != nil && worn.started.Before(st.w.started) {
			continue // the oldest first, or the first ones would always be first
		}
		_, tasks := st.w.pulse.read()
		if st.w.limits.wornOut(tasks, time.Since(st.w.started), st.w.memory) {
			worn = st.w
		}
	}
	if worn == nil || !g.rules.replace(now, worn.rank) {
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	worn.end(ReasonRecycle, g.spec.StopTimeout)
}

// atWork reports whether the worker runs, is ready, and was not told to end.
func (w *worker) atWork() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isReady && !w.stopping && !w.reaped
}

// beat notes that the worker was seen to beat.
func (w *worker) beat(beats uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beats, w.lastBeat = beats, time.Now()
}

// abort kills a worker that has stalled.
func (w *worker) abort(restart bool) {
	w.mu.Lock()
	w.restartAnyway = restart
	w.mu.Unlock()
	if w.setStopping(ReasonStalled) {
		return
	}
	w.signal(syscall.SIGQUIT)
	w.killIn(stallGrace)
}

// isFrozen reports whether the process is stopped, by a signal or a debugger.
func (w *worker) isFrozen() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid))
	i := bytes.LastIndexByte(b, ')')
	return err == nil && i > 0 && len(b) > i+2 && (b[i+2] == 'T' || b[i+2] == 't')
}

// memory is what the process has in memory now, in bytes.
func (w *worker) memory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", w.pid))
	f := bytes.Fields(b)
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
