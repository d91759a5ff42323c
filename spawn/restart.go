package spawn

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Restart says which workers are started again when one has ended, as the
// supervisors of Erlang/OTP do. The zero value starts none again.
//
// A restart takes a place in the account of Intensity and Period; one that finds
// it full makes the group give up: its workers are stopped, and [Group.Wait]
// returns a *[GiveUpError]. Replacements that the server makes on its own
// (recycling, reload) are not counted.
type Restart struct {
	When     When
	Strategy Strategy

	// More than Intensity restarts within Period make the group give up. Default:
	// 5, or the number of workers if that is greater, in 10 s. A negative
	// Intensity never gives up.
	Intensity int
	Period    time.Duration

	// Backoff is the pause before a restart. It doubles, up to MaxBackoff, with
	// each further end of a worker that has not lived for a Period, and is then
	// shortened by a random part of up to one half, so that workers that failed
	// together do not come back together. Default: 100 ms and 30 s. A negative
	// Backoff is none.
	Backoff, MaxBackoff time.Duration
}

// When says which ends of a worker are followed by a restart.
type When uint8

const (
	RestartNever     When = iota
	RestartOnFailure      // an exit code other than 0, or a signal
	RestartAlways
)

// Strategy says who is started again with a worker that has ended. Those that
// still run are stopped first, the last started one first, and started when the
// last of them has ended, the first one first.
type Strategy uint8

const (
	OneForOne  Strategy = iota // nobody else
	OneForAll                  // all of the group, those that had ended with 0 included
	RestForOne                 // those of higher rank: they build on the lower ones
)

const (
	defaultIntensity  = 5
	defaultPeriod     = 10 * time.Second
	defaultBackoff    = 100 * time.Millisecond
	defaultMaxBackoff = 30 * time.Second
)

func (r Restart) check() error {
	switch {
	case r.When > RestartAlways:
		return &SpecError{"Spec.Restart.When", fmt.Errorf("%d: want RestartNever, RestartOnFailure or RestartAlways", r.When)}
	case r.Strategy > RestForOne:
		return &SpecError{"Spec.Restart.Strategy", fmt.Errorf("%d: want OneForOne, OneForAll or RestForOne", r.Strategy)}
	case r.Period < 0:
		return &SpecError{"Spec.Restart.Period", fmt.Errorf("%v: want a time above 0, or 0 for %v", r.Period, defaultPeriod)}
	case r.MaxBackoff < 0:
		return &SpecError{"Spec.Restart.MaxBackoff", fmt.Errorf("%v: want a time above 0, or 0 for %v", r.MaxBackoff, defaultMaxBackoff)}
	}
	return nil
}

func (r Restart) withDefaults(workers int) Restart {
	if r.Intensity == 0 {
		r.Intensity = max(defaultIntensity, workers)
	}
	if r.Period == 0 {
		r.Period = defaultPeriod
	}
	if r.Backoff == 0 {
		r.Backoff = defaultBackoff
	}
	if r.MaxBackoff == 0 {
		r.MaxBackoff = defaultMaxBackoff
	}
	return r
}

// counts reports whether a worker that ended with code is to be started again.
func (r Restart) counts(code int) bool {
	return r.When == RestartAlways || r.When == RestartOnFailure && code != 0
}

// pause is what a worker waits after its n-th end in a row (from 0). luck is in
// [0, 1).
func (r Restart) pause(n int, luck float64) time.Duration {
	if r.Backoff <= 0 {
		return 0
	}
	d := r.MaxBackoff
	if n < 40 && r.Backoff<<n>>n == r.Backoff {
		d = min(d, r.Backoff<<n)
	}
	return d - time.Duration(luck/2*float64(d))
}

// A phase is where a worker's place is in the cycle of restarts.
//
//	      exit that counts          due
//	up ─────────────────────▶ down ─────▶ up
//	 │ told to go                ▲
//	 ├──────────▶ leaving ───────┘ exit
//	 │ exit that does not count
//	 └──────────▶ over          (and any phase, once the machine is closed)
type phase uint8

const (
	up      phase = iota // runs, or is just being started
	leaving              // told to end, to be started anew
	down                 // to be started when due
	over                 // ended for good
)

// A place is one rank of a group, whoever holds it.
type place struct {
	phase  phase
	since  time.Duration // its last start
	due    time.Duration // its next start
	streak int           // ends in a row that came within a Period of the start
}

// A restarter decides who is started when. It is a plain state machine: it has no
// clock, starts nothing, and is told of everything. Times count from any origin.
type restarter struct {
	rule   Restart
	luck   func() float64
	places []place         // by rank
	recent []time.Duration // counted restarts of the last Period, oldest first
	closed bool            // gave up or was stopped: nobody is started any more
}

func newRestarter(rule Restart, workers int) restarter {
	return restarter{rule: rule.withDefaults(workers), luck: rand.Float64, places: make([]place, workers)}
}

// exited says that the worker of a rank has ended, or could not be started.
// restart says whether that end is one to be followed by a restart. It returns
// who has to be stopped, in this order, and whether the group gives up.
func (r *restarter) exited(now time.Duration, rank int, restart bool) (stop []int, gaveUp bool) {
	p := &r.places[rank]
	switch {
	case r.closed:
		p.phase = over
		return nil, false
	case p.phase == leaving:
		p.phase = down
		return nil, false
	case !restart:
		p.phase = over
		return nil, false
	}
	if now-p.since >= r.rule.Period {
		p.streak = 0
	}
	due := now + r.rule.pause(p.streak, r.luck())
	p.streak++
	p.phase = down
	if !r.enlist(now) {
		return r.close(), true
	}
	lo, hi := rank, rank+1
	switch r.rule.Strategy {
	case OneForAll:
		lo, hi = 0, len(r.places)
	case RestForOne:
		hi = len(r.places)
	}
	for i := hi - 1; i >= lo; i-- {
		q := &r.places[i]
		q.due = max(q.due, due)
		switch q.phase {
		case up:
			q.phase = leaving
			stop = append(stop, i)
		case over:
			q.phase = down
		}
	}
	return stop, false
}

// enlist enters a restart into the account, if there is room.
func (r *restarter) enlist(now time.Duration) bool {
	if r.rule.Intensity < 0 {
		return true
	}
	old := 0
	for old < len(r.recent) && r.recent[old] <= now-r.rule.Period {
		old++
	}
	r.recent = append(r.recent[old:], now)
	return len(r.recent) <= r.rule.Intensity
}

// next returns who has to be started now, in this order, and when to ask again;
// never if that is negative. Those it returns count as up. Where a restart takes
// several workers, none of them is started before the last one has ended.
func (r *restarter) next(now time.Duration) (start []int, again time.Duration) {
	again = -1
	if r.rule.Strategy != OneForOne {
		for _, p := range r.places {
			if p.phase == leaving {
				return nil, -1 // its end will make us ask again
			}
		}
	}
	for i := range r.places {
		p := &r.places[i]
		switch {
		case p.phase != down:
		case p.due <= now:
			p.phase, p.since = up, now
			start = append(start, i)
		case again < 0 || p.due < again:
			again = p.due
		}
	}
	return start, again
}

// replace marks a running worker as one that is told to end, to be started anew
// without being counted. It returns false if there is nobody to tell.
func (r *restarter) replace(now time.Duration, rank int) bool {
	p := &r.places[rank]
	if r.closed || p.phase != up {
		return false
	}
	p.phase, p.due = leaving, now
	return true
}

// resize adds places, which are up, or takes the last ones away.
func (r *restarter) resize(now time.Duration, workers int) {
	for len(r.places) < workers {
		r.places = append(r.places, place{since: now})
	}
	r.places = r.places[:workers]
}

// close ends all restarts. It returns those who run, the last one first.
func (r *restarter) close() (running []int) {
	r.closed = true
	for i := len(r.places) - 1; i >= 0; i-- {
		switch p := &r.places[i]; p.phase {
		case up, leaving:
			running = append(running, i)
		case down:
			p.phase = over
		}
	}
	return running
}

// finished reports whether nobody runs and nobody will be started.
func (r *restarter) finished() bool {
	for _, p := range r.places {
		if p.phase != over {
			return false
		}
	}
	return true
}
