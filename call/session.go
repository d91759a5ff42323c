package call

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
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

	tasks chan task // to the idle worker goroutine
	// idle is true while there is one. Swapped by those who finish a task, cleared by
	// the one that takes another. It guards no other memory.
	idle atomic.Bool

	mu    sync.Mutex
	calls map[uint32]context.CancelCauseFunc // that run, at most Options.MaxCalls
}

func newSession(s *Server, caller Caller, offered []bound, l *link) *session {
	c := &session{s: s, link: l, caller: caller, offered: offered, calls: map[uint32]context.CancelCauseFunc{}, tasks: make(chan task)}
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
	c.start(task{ctx, f.id, m, args, err})
	return nil
}

// A task is one call to run, or to refuse with err.
type task struct {
	ctx  context.Context
	id   uint32
	m    bound
	args []reflect.Value
	err  error
}

// start runs a task beside the others: in a goroutine that has run one before, if
// there is an idle one. Its stack has grown already, which a new one's would have to.
func (c *session) start(t task) {
	select {
	case c.tasks <- t:
	default:
		c.s.running.Go(func() { c.work(t) }) // the reader is counted, so this is not the first
	}
}

// work runs tasks. One goroutine stays for more, until the connection ends.
func (c *session) work(t task) {
	for {
		c.run(t)
		<-c.slots
		if c.idle.Swap(true) {
			return
		}
		select {
		case t = <-c.tasks:
			c.idle.Store(false)
		case <-c.ctx.Done():
			return
		}
	}
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
func (c *session) finish(id uint32, msg []byte) {
	c.mu.Lock()
	cancel := c.calls[id]
	delete(c.calls, id)
	c.mu.Unlock()
	cancel(context.Canceled)
	if err := c.link.send(c.ctx, msg); err != nil && c.ctx.Err() == nil {
		c.end(fmt.Errorf("call: %q: answer %v: %w", c.s.o.Name, c.caller, err))
	}
}

func (c *session) answerError(id uint32, err error) {
	msg := newMessage(frame{id: id, kind: kindError})
	c.finish(id, append(msg, encodeError(err, c.link.max)...))
}

// run calls the function and answers.
func (c *session) run(t task) {
	results, err := c.invoke(t)
	if err == nil {
		err, _ = results[len(t.m.out)].Interface().(error)
	}
	msg := newMessage(frame{id: t.id, kind: kindResult})
	for i := 0; err == nil && i < len(t.m.out); i++ {
		if msg, err = appendValue(msg, results[i]); err != nil {
			err = fmt.Errorf("result %d: %w", i+1, err)
		}
	}
	if n := len(msg) - headerSize; err == nil && n > c.link.max {
		err = fmt.Errorf("%w: results of %d bytes, at most %d: return less, or share memory", ErrTooLarge, n, c.link.max)
	}
	if err != nil {
		c.answerError(t.id, err)
		return
	}
	c.finish(t.id, msg)
}

// invoke calls the function. A panic fails this call only, and so does a
// runtime.Goexit, which also ends this goroutine: then the answer is sent from here.
func (c *session) invoke(t task) (results []reflect.Value, err error) {
	if t.err != nil {
		return nil, t.err
	}
	if err := t.ctx.Err(); err != nil {
		return nil, err // nobody waits for it any more
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		if p == nil {
			c.answerError(t.id, errors.New("the function ended its goroutine"))
			<-c.slots
			return
		}
		err = fmt.Errorf("panic: %v", p)
		c.s.o.Log.Error("a call panicked", "call", c.s.o.Name+"."+t.m.name, "of", c.caller.Group, "rank", c.caller.Rank,
			"panic", p, "stack", string(debug.Stack()))
	}()
	results = t.m.fn.Call(t.args)
	returned = true
	return results, nil
}

// timeLeft is what a message says of a context's deadline.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), 1)
}
