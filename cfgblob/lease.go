package cfgblob

import (
	"errors"
	"os"
	"sync"
	"time"
)

// A lease is the owner's side of one worker: which document it reads, and the way
// to hand it another. It implements what a worker server offers to leases
// (Started, Message, Close), in types of the standard library.
type lease struct {
	store *Store
	who   member

	// The following are guarded by store.mu.
	channel *channel // what it is to read…
	given   *channel // …and what it was given
	moves   uint64   // number of the last hand-over…
	arrived uint64   // …and of the last one that the worker has answered
	send    func(payload []byte, files ...*os.File) error
	retry   *time.Timer // while a hand-over waits for room in the socket
	pause   time.Duration
	closed  bool

	asking sync.Mutex // one request at a time
}

const (
	firstPause = time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// Started tells how to reach the worker.
func (l *lease) Started(pid int, send func(payload []byte, files ...*os.File) error) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.send = send
	l.handOver()
}

// Message takes a request of the worker and answers it. An answer for which there
// is no room in the worker's socket is dropped: a worker that does not read what
// it is sent cannot be helped.
func (l *lease) Message(payload []byte, files []*os.File) {
	for _, f := range files {
		f.Close()
	}
	l.asking.Lock()
	defer l.asking.Unlock()
	a, wanted := l.answer(payload)
	if !wanted {
		return
	}
	l.store.mu.Lock()
	send := l.send
	l.store.mu.Unlock()
	if send != nil {
		send(a.encode())
	}
}

// Close ends the lease: the worker is dead.
func (l *lease) Close() error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.closed = true
	if l.retry != nil {
		l.retry.Stop()
	}
	delete(l.store.leases, l)
	if !l.store.closed {
		l.store.closeUnused()
	}
	return nil
}

// underWay tells whether the worker may still read another document than its own.
// Its own must have a later version than that one when it comes there. The caller
// holds store.mu.
func (l *lease) underWay() bool { return l.given != l.channel || l.arrived != l.moves }

// handOver sends the worker the segment it is to read, if it has another one, and
// tries again later if there is no room in its socket. The caller holds store.mu.
func (l *lease) handOver() {
	if l.closed || l.store.closed || l.send == nil || l.given == l.channel {
		return
	}
	f, err := l.channel.segment.Reopen()
	if err == nil {
		err = l.send(message{Op: opMove, ID: l.moves + 1}.encode(), f)
		f.Close()
	}
	switch {
	case err == nil:
		l.given, l.pause = l.channel, 0
		l.moves++
	case errors.Is(err, os.ErrClosed): // dead: Close will come
	default:
		l.pause = min(max(2*l.pause, firstPause), lastPause)
		l.retry = time.AfterFunc(l.pause, func() {
			l.store.mu.Lock()
			defer l.store.mu.Unlock()
			l.handOver()
		})
	}
}
