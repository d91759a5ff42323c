package cfgblob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// A link is a Reader's connection to the owner of the configuration.
type link struct {
	mu      sync.Mutex
	send    func(payload []byte, files ...*os.File) error
	asked   uint64 // number of the last request
	waiting map[uint64]chan message
	closed  bool
	lost    error // why a segment that was handed over is not used
}

// Connect tells the Reader how to send a message to the owner: to the lease that
// Donate returned, by way of the worker server. The messages that come back are to
// be passed to [Reader.Message]. Without a connection the Reader stays with the
// segment it was attached to, and cannot ask for changes.
func (r *Reader) Connect(send func(payload []byte, files ...*os.File) error) {
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	r.link.send = send
}

// Message takes a message of the owner: another segment to read, or the answer to
// a request. It takes ownership of the files and does not wait for anything.
// Messages are to be passed in the order in which they came.
func (r *Reader) Message(payload []byte, files []*os.File) {
	var m message
	err := json.Unmarshal(payload, &m)
	if err == nil && m.Op == opMove && len(files) == 1 {
		err = r.move(files[0])
		files = nil // attach has closed it
		r.link.moved(m.ID, err)
	}
	for _, f := range files {
		f.Close()
	}
	if err == nil && m.Op == opDone {
		r.link.deliver(m)
	}
}

func (r *Reader) move(f *os.File) error {
	segment, err := attachSegment(r.name, f)
	if err != nil {
		return err
	}
	m, err := newMapping(r.name, segment)
	if err == nil {
		err = r.feed.move(m, nil)
	}
	if err != nil {
		segment.Close()
	}
	return err
}

// Err tells why a newer version cannot be used, why a Watch ended early, or that
// the configuration has moved to a segment that this Reader was not given.
func (r *Reader) Err() error {
	if err := r.feed.Err(); err != nil {
		return err
	}
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	if r.link.lost != nil {
		return r.link.lost
	}
	if r.link.send == nil && r.feed.superseded() {
		return fmt.Errorf("cfgblob: %q: version %d is the last one here: the configuration has moved to another segment: connect the Reader to its owner (Reader.Connect)",
			r.name, r.Version())
	}
	return nil
}

// Set asks the owner to put value at path, for everybody, and returns the version
// that has it. From then on this Reader shows it, unless the worker has a document
// of its own that says otherwise.
// With ifVersion other than 0 the owner refuses unless that is still the version
// of this worker's document ([ErrConflict]). The owner decides who may change what
// ([ErrDenied]).
//
// It waits for the answer until ctx ends; the change may have been made all the
// same then. A closed Reader is [os.ErrClosed].
func (r *Reader) Set(ctx context.Context, path string, value any, ifVersion uint64) (version uint64, err error) {
	elems, err := splitPath(path)
	if err == nil {
		value, err = normalize(value, elems)
	}
	if err != nil {
		return r.Version(), err
	}
	text, err := canonicalValue(value)
	if err != nil {
		return r.Version(), err
	}
	return r.ask(ctx, message{Op: opSet, Key: path, Value: text, IfVersion: ifVersion})
}

// Unset asks the owner to remove what is at path; see [Reader.Set].
func (r *Reader) Unset(ctx context.Context, path string, ifVersion uint64) (version uint64, err error) {
	return r.ask(ctx, message{Op: opUnset, Key: path, IfVersion: ifVersion})
}

func (r *Reader) ask(ctx context.Context, m message) (version uint64, err error) {
	send, answer, err := r.link.begin(&m)
	if err != nil {
		return r.Version(), fmt.Errorf("cfgblob: %q: ask the owner: %w", r.name, err)
	}
	defer r.link.end(m.ID)
	payload := m.encode()
	if len(payload) > maxRequest {
		return r.Version(), &SizeError{Name: r.name + ", request", Need: len(payload), Limit: maxRequest}
	}
	if err := send(payload); err != nil {
		return r.Version(), fmt.Errorf("cfgblob: %q: ask the owner: %w", r.name, err)
	}
	select {
	case a, ok := <-answer:
		if !ok {
			return r.Version(), fmt.Errorf("cfgblob: %q: ask the owner: %w", r.name, os.ErrClosed)
		}
		if a.Error != "" {
			err = &RequestError{a.Error, CodeError(a.Code)}
		}
		return a.Version, err
	case <-ctx.Done():
		return r.Version(), fmt.Errorf("cfgblob: %q: no answer from the owner: %w", r.name, context.Cause(ctx))
	}
}

var errNotConnected = errors.New("not connected: call Reader.Connect")

// begin gives a request its number and says how to send it.
func (l *link) begin(m *message) (send func(payload []byte, files ...*os.File) error, answer chan message, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, nil, os.ErrClosed
	case l.send == nil:
		return nil, nil, errNotConnected
	}
	l.asked++
	m.ID = l.asked
	if l.waiting == nil {
		l.waiting = map[uint64]chan message{}
	}
	answer = make(chan message, 1)
	l.waiting[m.ID] = answer
	return l.send, answer, nil
}

// moved tells the owner that a segment is in use, or remembers why it is not: it
// may have been overtaken by the next one.
func (l *link) moved(id uint64, err error) {
	l.mu.Lock()
	l.lost = err
	send := l.send
	l.mu.Unlock()
	if send != nil && err == nil {
		// Whoever takes messages does not wait for room to send one.
		go send(message{Op: opMoved, ID: id}.encode())
	}
}

func (l *link) end(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
}

func (l *link) deliver(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if answer := l.waiting[m.ID]; answer != nil {
		answer <- m // it has room for one, and there is one
		delete(l.waiting, m.ID)
	}
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for id, answer := range l.waiting {
		close(answer)
		delete(l.waiting, id)
	}
}
