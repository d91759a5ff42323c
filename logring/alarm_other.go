//go:build !linux

package logring

import "time"

// An alarm is a timer.
type alarm struct {
	rings chan struct{} // cap 1; one ring may be of a wait that was given up
	timer *time.Timer
}

func newAlarm() *alarm {
	a := &alarm{rings: make(chan struct{}, 1)}
	a.timer = time.AfterFunc(time.Hour, func() { poke(a.rings) })
	a.timer.Stop()
	return a
}

// set makes it ring once, after d.
func (a *alarm) set(d time.Duration) { a.timer.Reset(d) }

// stop keeps it from ringing.
func (a *alarm) stop() {
	a.timer.Stop()
	select {
	case <-a.rings:
	default:
	}
}

func (a *alarm) close() { a.timer.Stop() }
