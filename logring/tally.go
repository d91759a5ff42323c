package logring

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// who names a worker: the key of a tally.
type who struct {
	group string
	rank  int
}

// A tally is the account of one rank of one group. It stays when its process is
// gone. Except for attempted it is guarded by Collector.mu.
type tally struct {
	who
	pid       int
	delivered uint64
	dropped   map[string]uint64
	rings     []*inlet // attached ones: two while a successor is started

	// attempted counts lines, records of the node and what came from rings that
	// are detached. Stored by any goroutine of this process, loaded by Stats; an
	// atomic because it is counted before mu is taken.
	attempted atomic.Uint64
}

func (t *tally) drop(reason string, n uint64) {
	if n > 0 {
		t.dropped[reason] += n
	}
}

// tallyOf returns the account of a worker, a new one if it has none. A pid that is
// known is noted.
func (c *Collector) tallyOf(group string, rank, pid int) *tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := who{group, rank}
	t := c.tallies[k]
	if t == nil {
		t = &tally{who: k, dropped: map[string]uint64{}}
		c.tallies[k] = t
	}
	if pid > 0 {
		t.pid = pid
	}
	return t
}

// Stats returns the account as of now.
func (c *Collector) Stats() Stats {
	s := Stats{Dropped: map[string]uint64{}, Wakes: c.wakes.Load(), Doorbells: c.doorbells.Load()}
	if oldest := c.oldest.Load(); oldest > 0 {
		s.Lag = time.Duration(max(c.now()-oldest, 0))
	}
	c.mu.Lock()
	s.Late, s.Quarantined = c.late, c.broken
	for _, t := range c.tallies {
		w := t.snapshot()
		if w.Attempted == 0 && w.Worker == NodeWorker {
			continue // the node has said nothing
		}
		s.Attempted += w.Attempted
		s.Delivered += w.Delivered
		s.Pending += w.Pending
		for reason, n := range w.Dropped {
			s.Dropped[reason] += n
		}
		s.Workers = append(s.Workers, w)
	}
	c.mu.Unlock()
	slices.SortFunc(s.Workers, func(a, b WorkerStats) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Worker, b.Worker))
	})
	for _, r := range c.sinks {
		s.Sinks = append(s.Sinks, r.snapshot())
	}
	return s
}

// snapshot needs Collector.mu. What was delivered is taken first, so that what
// comes meanwhile shows as pending.
func (t *tally) snapshot() WorkerStats {
	w := WorkerStats{
		Group: t.group, Worker: t.rank, PID: t.pid, Live: len(t.rings) > 0,
		Delivered: t.delivered, Dropped: maps.Clone(t.dropped),
	}
	for _, r := range t.rings {
		used, size := r.fill()
		w.RingUsed += used
		w.RingSize += size
		attempted, _, dropped := r.claims()
		w.Attempted += attempted
		for reason, n := range dropped {
			w.Dropped[reason] += n
		}
	}
	w.Attempted += t.attempted.Load()
	w.Pending = w.Attempted - w.Delivered - sum(w.Dropped)
	return w
}
