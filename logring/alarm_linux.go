package logring

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm is a timer of the kernel's resolution. Go's own are rounded up to whole
// milliseconds while the process sleeps, since they end a wait in epoll: half a
// millisecond takes more than one then, and the merge's window as long as two.
type alarm struct {
	rings chan struct{} // cap 1; one ring may be of a wait that was given up
	file  *os.File      // a timerfd; nil: there is none to be had
	fd    int
	timer *time.Timer
}

func newAlarm() *alarm {
	a := &alarm{rings: make(chan struct{}, 1)}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		a.timer = time.AfterFunc(time.Hour, func() { poke(a.rings) })
		a.timer.Stop()
		return a
	}
	a.file, a.fd = os.NewFile(uintptr(fd), "log alarm"), fd
	go func() {
		var expirations [8]byte
		for {
			if _, err := a.file.Read(expirations[:]); err != nil {
				return // closed
			}
			poke(a.rings)
		}
	}()
	return a
}

// set makes it ring once, after d. The caller is the one who closes it.
func (a *alarm) set(d time.Duration) {
	if a.file == nil {
		a.timer.Reset(d)
		return
	}
	unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, int64(d)))}, nil)
}

// stop keeps it from ringing.
func (a *alarm) stop() {
	if a.file == nil {
		a.timer.Stop()
	} else {
		unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{}, nil)
	}
	select {
	case <-a.rings:
	default:
	}
}

func (a *alarm) close() {
	if a.file == nil {
		a.timer.Stop()
	} else {
		a.file.Close()
	}
}
