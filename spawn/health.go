package spawn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Heartbeat says how the server tells that a worker does nothing any more. Function
// workers only: they call [Child.Beat].
type Heartbeat struct {
	// A worker that is silent for Timeout, from when it was ready, has stalled. It is
	// noticed within another quarter of that. 0: nobody looks.
	//
	// Only time in which the server itself got on counts. When it finds that it was
	// late, because the whole job was stopped (SIGSTOP, scontrol suspend), the
	// machine slept or was overloaded, every worker has all of Timeout again. And a
	// process that is stopped by a signal or a debugger has not stalled.
	Timeout time.Duration

	// Action is what is done. In any case Options.Stall is called.
	Action StallAction
}

// StallAction is what is done to a worker that has stalled.
type StallAction uint8

const (
	// StallReport does nothing else.
	StallReport StallAction = iota

	// StallKill ends it, with [ReasonStalled]: by SIGQUIT, which lets a Go program
	// print all its goroutines, and SIGKILL a second later. It is a failure, with what
	// Spec.Restart makes of it.
	StallKill

	// StallRestart is StallKill, and the worker is started again whatever
	// Spec.Restart.When says, within its Intensity.
	StallRestart
)

// A Stall is a report about a worker's heartbeat.
type Stall struct {
	Group     string
	Rank, Pid int
	Silent    time.Duration // for how long
	Recovered bool          // it beats again; it was reported before
}

// Recycle says when a worker is replaced by a fresh one, for programs that grow or
// wear out: stopped as by [Group.Stop] and started again, which is not counted as a
// restart. One worker of a group at a time is, and only while all others run.
type Recycle struct {
	Tasks  int           // after so many calls of [Child.TaskDone]; function workers only
	Age    time.Duration // that long after its start
	Memory int64         // when its resident memory is above so many bytes

	// Jitter takes a random part of up to this fraction off each limit, anew for each
	// worker, so that they do not all go in a row. Default 0.1; negative: none.
	Jitter float64
}

const (
	defaultJitter = 0.1
	stallGrace    = time.Second

	minLook, maxLook = 10 * time.Millisecond, time.Second
)

func (h Heartbeat) check(function bool) error {
	switch {
	case h.Timeout < 0:
		return &SpecError{"Spec.Heartbeat.Timeout", fmt.Errorf("%v: want a time above 0, or 0 for none", h.Timeout)}
	case h.Timeout > 0 && !function:
		return &SpecError{"Spec.Heartbeat", errors.New("a command has no heartbeat: set it for function workers only")}
	case h.Action > StallRestart:
		return &SpecError{"Spec.Heartbeat.Action", fmt.Errorf("%d: want StallReport, StallKill or StallRestart", h.Action)}
	}
	return nil
}

func (r Recycle) check(function bool) error {
	switch {
	case r.Tasks < 0 || r.Age < 0 || r.Memory < 0:
		return &SpecError{"Spec.Recycle", errors.New("a limit below 0: give one above, or 0 for none")}
	case r.Jitter >= 1:
		return &SpecError{"Spec.Recycle.Jitter", fmt.Errorf("%v: want less than 1", r.Jitter)}
	case r.Tasks > 0 && !function:
		return &SpecError{"Spec.Recycle.Tasks", errors.New("a command does not count its tasks: set it for function workers only")}
	}
	return nil
}

// drawn is the rule with the jitter of one worker taken off.
func (r Recycle) drawn() Recycle {
	if r.Jitter == 0 {
		r.Jitter = defaultJitter
	}
	keep := 1 - rand.Float64()*max(r.Jitter, 0)
	some := func(n int64) int64 {
		if n == 0 {
			return 0
		}
		return max(1, int64(keep*float64(n)))
	}
	r.Tasks, r.Age, r.Memory = int(some(int64(r.Tasks))), time.Duration(some(int64(r.Age))), some(r.Memory)
	return r
}

// wornOut reports whether a worker that is so old is to be replaced.
func (r Recycle) wornOut(tasks uint64, age time.Duration, memory func() int64) bool {
	return r.Tasks > 0 && tasks >= uint64(r.Tasks) || r.Age > 0 && age >= r.Age || r.Memory > 0 && memory() > r.Memory
}

// look is how often the monitor of a group with this spec looks; 0 is never.
func (s Spec) look() time.Duration {
	every := time.Duration(0)
	for _, limit := range []time.Duration{s.Heartbeat.Timeout, s.Recycle.Age} {
		if limit > 0 && (every == 0 || limit/4 < every) {
			every = max(limit/4, minLook)
		}
	}
	if every == 0 && (s.Recycle.Tasks > 0 || s.Recycle.Memory > 0) {
		every = maxLook / 4
	}
	return min(every, maxLook)
}

// A silence measures how long a counter has stood still, in time that the observer
// can vouch for.
type silence struct {
	beats    uint64
	lasted   time.Duration
	reported bool
}

// seen takes the counter's value and the time since the last look. It returns
// whether the counter has moved.
func (s *silence) seen(beats uint64, passed time.Duration) (moved bool) {
	if beats != s.beats {
		s.beats, s.lasted = beats, 0
		return true
	}
	s.lasted += passed
	return false
}
