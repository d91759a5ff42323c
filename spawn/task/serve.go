package task

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
)

// A Conn is a worker's line to its server: *spawn.Child is one.
type Conn interface {
	Send(resource string, payload []byte, files ...*os.File) error
	Handle(resource string, fn func(payload []byte, files []*os.File))
}

// Serve does the tasks of the pool that the worker's server has under that name,
// until ctx ends. Each task has a goroutine and a context of its own, which ends with
// ctx and when nobody waits for the task any more. A panic is the error of that task
// only. When ctx has ended, Serve waits for the tasks under way; it returns nil then,
// and an error when the server cannot be reached.
func Serve[In, Out any](ctx context.Context, c Conn, resource string, fn func(context.Context, In) (Out, error)) error {
	s := &server{c: c, resource: resource, ctx: ctx, running: map[uint64]context.CancelFunc{}}
	s.do = func(ctx context.Context, arg []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(arg, &in); err != nil {
			return nil, fmt.Errorf("the argument is no %T: %w", in, err)
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(out)
		if err != nil {
			return nil, fmt.Errorf("the result cannot be sent: %w", err)
		}
		return b, nil
	}
	c.Handle(resource, s.message)
	if err := s.send(kindReady, 0, nil); err != nil {
		return fmt.Errorf("task: serve %q: %w", resource, err)
	}
	<-ctx.Done()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

type server struct {
	c        Conn
	resource string
	ctx      context.Context
	do       func(context.Context, []byte) ([]byte, error)
	wg       sync.WaitGroup

	mu      sync.Mutex
	ended   bool
	running map[uint64]context.CancelFunc
}

func (s *server) message(msg []byte, files []*os.File) {
	kind, id, payload, err := unpack(msg, files, int(^uint(0)>>1))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case kind == kindCancel:
		if cancel := s.running[id]; cancel != nil {
			cancel()
		}
	case kind == kindTask && !s.ended && s.running[id] == nil:
		ctx, cancel := context.WithCancel(s.ctx)
		s.running[id] = cancel
		s.wg.Go(func() {
			defer cancel()
			if err != nil {
				s.send(kindError, id, []byte(err.Error()))
			} else {
				s.run(ctx, id, payload)
			}
		})
	}
}

// run does one task and sends what came of it.
func (s *server) run(ctx context.Context, id uint64, arg []byte) {
	kind, out := byte(kindResult), []byte(nil)
	func() {
		defer func() {
			if v := recover(); v != nil {
				kind = kindPanic
				out = append(cut(fmt.Appendf(nil, "panic: %v", v)), 0)
				out = append(out, cut(debug.Stack())...)
			}
		}()
		var err error
		if out, err = s.do(ctx, arg); err != nil {
			kind, out = kindError, cut([]byte(err.Error()))
		}
	}()
	s.mu.Lock()
	delete(s.running, id)
	s.mu.Unlock()
	if err := s.send(kind, id, out); err != nil && kind == kindResult {
		s.send(kindError, id, fmt.Appendf(nil, "the result of %d bytes cannot be sent: %v", len(out), err))
	}
	if t, ok := s.c.(interface{ TaskDone() }); ok {
		t.TaskDone()
	}
}

func cut(b []byte) []byte {
	return bytes.ReplaceAll(b[:min(len(b), maxText)], []byte{0}, nil)
}

func (s *server) send(kind byte, id uint64, payload []byte) error {
	msg, file, err := pack(kind, id, payload)
	if err != nil {
		return err
	}
	if file == nil {
		return s.c.Send(s.resource, msg)
	}
	defer file.Close()
	return s.c.Send(s.resource, msg, file)
}
