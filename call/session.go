package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"sync"
	"time"
)

// A session is the owner's side of one worker's connection. Everything that
// arrives is hostile until it is checked here.
type session struct {
	s       *Server
	link    *link
	caller  Caller
	offered []bound
	ctx     context.Context // of all its calls
	cancel  context.CancelCauseFunc

	// slots holds a token for each call from its arrival until its answer is sent. A
	// worker that does not take its answers is not read any further.
	slots chan struct{}

	mu    sync.Mutex
	calls map[uint32]context.CancelCauseFunc // that run, at most Options.MaxCalls
}

func newSession(s *Server, caller Caller, offered []bound, l *link) *session {
	c := &session{s: s, link: l, caller: caller, offered: offered, calls: map[uint32]context.CancelCauseFunc{}}
	c.slots = make(chan struct{}, 2*s.o.MaxCalls) // as many again may be about to be counted out
	c.ctx, c.cancel = context.WithCancelCause(context.WithValue(context.Background(), callerKey{}, caller))
	return c
}

// Close is for the lease: the worker is dead.
func (c *session) Close() error {
	c.end(ErrWorkerGone)
	return nil
}

// end ends the connection and the contexts of its calls. It does not wait for them.
func (c *session) end(cause error) {
	c.cancel(cause)
	c.link.close()
}

// read takes messages until the worker is gone or has misbehaved.
func (c *session) read() {
	err := c.link.receive(c.take)
	c.end(ErrWorkerGone)
	c.s.forget(c)
	if err != nil {
		c.s.o.Log.Error("a worker does not keep to the protocol: its connection is closed",
			"call", c.s.o.Name, "of", c.caller.Group, "rank", c.caller.Rank, "err", err)
	}
}

// take handles one message. An error ends the connection.
func (c *session) take(f frame) error {
	switch {
	case f.kind == kindCancel && f.method == 0 && f.timeout == 0 && len(f.body) == 0:
		c.mu.Lock()
		cancel := c.calls[f.id] // nil: its answer is on the way
		c.mu.Unlock()
		if cancel != nil {
			cancel(context.Canceled)
		}
		return nil
	case f.kind != kindCall:
		return fmt.Errorf("message of kind %d", f.kind)
	case int(f.method) >= len(c.offered):
		return fmt.Errorf("method %d, it is offered %d", f.method, len(c.offered))
	}
	ctx, err := c.begin(f)
	if err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return nil // the next message will not come
	}
	m := c.offered[f.method]
	args := make([]reflect.Value, 1, 1+len(m.in))
	args[0] = reflect.ValueOf(ctx)
	args, err = readValues(f.body, m.in, args)
	c.s.running.Go(func() { // the reader is counted, so this is not the first
		defer func() { <-c.slots }()
		if err == nil {
			c.run(f, m, args)
		} else {
			c.answerError(f, err)
		}
	})
	return nil
}

// begin counts a call in.
func (c *session) begin(f frame) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, dup := c.calls[f.id]; dup {
		return nil, fmt.Errorf("call %d, which still runs", f.id)
	}
	if len(c.calls) >= c.s.o.MaxCalls {
		return nil, fmt.Errorf("more than %d calls at the same time", c.s.o.MaxCalls)
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	timeout := f.timeout
	if most := c.s.o.Timeout; most > 0 && (timeout == 0 || timeout > most) {
		timeout = most
	}
	if timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, timeout)
		inner := cancel
		cancel = func(cause error) { inner(cause); stop() }
	}
	c.calls[f.id] = cancel
	return ctx, nil
}

// finish counts a call out and sends its answer, in this order: whoever has the
// answer may begin another.
func (c *session) finish(f frame, msg []byte) {
	c.mu.Lock()
	cancel := c.calls[f.id]
	delete(c.calls, f.id)
	c.mu.Unlock()
	cancel(context.Canceled)
	if err := c.link.send(c.ctx, msg); err != nil && c.ctx.Err() == nil {
		c.end(fmt.Errorf("call: %q: answer %v: %w", c.s.o.Name, c.caller, err))
	}
}

func (c *session) answerError(f frame, err error) {
	msg := newMessage(frame{id: f.id, kind: kindError})
	c.finish(f, append(msg, encodeError(err, c.link.max)...))
}

// run calls the function. A panic, or a runtime.Goexit, fails this call only.
func (c *session) run(f frame, m bound, args []reflect.Value) {
	returned := false
	defer func() {
		if returned {
			return
		}
		err := errors.New("the function ended its goroutine")
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			c.s.o.Log.Error("a call panicked", "call", c.s.o.Name+"."+m.name, "of", c.caller.Group, "rank", c.caller.Rank,
				"panic", p, slog.String("stack", string(debug.Stack())))
		}
		c.answerError(f, err)
	}()
	results := m.fn.Call(args)
	returned = true

	if err, _ := results[len(m.out)].Interface().(error); err != nil {
		c.answerError(f, err)
		return
	}
	msg := newMessage(frame{id: f.id, kind: kindResult})
	var err error
	for i, v := range results[:len(m.out)] {
		if msg, err = appendValue(msg, v); err != nil {
			c.answerError(f, fmt.Errorf("result %d: %w", i+1, err))
			return
		}
	}
	if n := len(msg) - headerSize; n > c.link.max {
		c.answerError(f, fmt.Errorf("%w: results of %d bytes, at most %d: return less, or share memory", ErrTooLarge, n, c.link.max))
		return
	}
	c.finish(f, msg)
}

// timeLeft is what a message says of a context's deadline.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), 1)
}
