package call

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// A Conn is a worker's connection to the functions of the owner. Any number of
// goroutines may use it. It is made by [Attach], lives until [Conn.Close] or the end of
// the owner, and costs a descriptor and a buffer of Options.MaxMessage bytes.
type Conn struct {
	name    string
	link    *link
	offered map[string]offer
	slots   chan struct{} // holds a token for each call the owner has not answered
	ctx     context.Context
	end     context.CancelCauseFunc

	// reading holds a token while somebody reads: one of those who wait for an answer,
	// or drain. buf is theirs.
	reading chan struct{}
	buf     []byte

	mu       sync.Mutex
	last     uint32
	calls    map[uint32]chan frame // of capacity 1; nil for one whose caller has gone
	orphans  int                   // such calls
	draining bool                  // somebody takes their answers
}

type offer struct {
	index     uint16
	signature string
}

// Attach opens what [Server.Donate] gave to this worker, and takes ownership of the
// files, also in the case of an error.
func Attach(files []*os.File, words []string) (*Conn, error) {
	c := &Conn{name: "call", offered: map[string]offer{}, calls: map[uint32]chan frame{}, reading: make(chan struct{}, 1)}
	limit, err := c.readWords(words)
	if err == nil && (len(files) != 1 || files[0] == nil) {
		err = fmt.Errorf("%d files, want 1: pass on what Donate returned", len(files))
	}
	if err == nil {
		c.link, err = newLink(files[0], limit)
		files = nil
	}
	if err != nil {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
		return nil, fmt.Errorf("call: attach %q: %w", c.name, err)
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	c.buf = c.link.buffer()
	return c, nil
}

func (c *Conn) readWords(words []string) (limit int, err error) {
	var version bool
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "name":
			c.name = value
		case "call":
			version = w == wordVersion
		case "calls":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > largestMaxCalls {
				return 0, fmt.Errorf("word %q: want 1 to %d calls", w, largestMaxCalls)
			}
			c.slots = make(chan struct{}, n)
		case "bytes":
			if limit, err = strconv.Atoi(value); err != nil || limit < smallestMessage || limit > MaxMessage {
				return 0, fmt.Errorf("word %q: want %d to %d bytes", w, smallestMessage, MaxMessage)
			}
		case "m":
			name, signature, _ := strings.Cut(value, "/")
			c.offered[name] = offer{uint16(len(c.offered)), signature}
		}
	}
	if !version || c.slots == nil || limit == 0 {
		return 0, fmt.Errorf("words %q, this build needs %q: restart the worker with the owner's build", words, wordVersion)
	}
	return limit, nil
}

// Bind returns a T, a struct of functions as in [Serve], that run in the owner. A
// function that this worker is not offered returns [ErrNotOffered]. One that the
// owner declares otherwise is an error of Bind. The functions may be called at the same
// time, and after the end of c return [ErrGone] or [os.ErrClosed].
func Bind[T any](c *Conn) (T, error) {
	var api T
	ms, err := methodsOf(reflect.TypeFor[T]())
	if err != nil {
		return api, err
	}
	err = fits(c.name, ms, func(name string) (string, bool) {
		o, ok := c.offered[name]
		return o.signature, ok
	})
	if err != nil {
		return api, err
	}
	for _, m := range ms {
		o, ok := c.offered[m.name]
		fn := func(args []reflect.Value) []reflect.Value {
			ctx, _ := args[0].Interface().(context.Context)
			out, sent, err := c.call(ctx, m, o.index, ok, args[1:])
			if err != nil {
				return append(m.zeros(), errorValue(&Error{c.name, m.name, sent, err}))
			}
			return append(out, errorValue(nil))
		}
		reflect.ValueOf(&api).Elem().Field(m.field).Set(reflect.MakeFunc(m.typ, fn))
	}
	return api, nil
}

// Close lets go of the connection: calls under way fail with [os.ErrClosed], and
// are cancelled in the owner. It is idempotent.
func (c *Conn) Close() error {
	c.end(os.ErrClosed)
	c.link.close()
	return nil
}

// call makes one call. sent tells whether it was handed over.
func (c *Conn) call(ctx context.Context, m method, index uint16, ok bool, args []reflect.Value) (out []reflect.Value, sent bool, err error) {
	switch {
	case ctx == nil:
		return nil, false, fmt.Errorf("the context is nil: pass context.Background()")
	case !ok:
		return nil, false, fmt.Errorf("%w: ask the owner to allow it", ErrNotOffered)
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	}
	msg := newMessage(frame{kind: kindCall, method: index, timeout: timeLeft(ctx)})
	for i, v := range args {
		if msg, err = appendValue(msg, v); err != nil {
			return nil, false, fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	if n := len(msg) - headerSize; n > c.link.max {
		return nil, false, fmt.Errorf("%w: arguments of %d bytes, at most %d: pass less, or share memory", ErrTooLarge, n, c.link.max)
	}
	select {
	case c.slots <- struct{}{}: // given back when the owner has answered
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-c.ctx.Done():
		return nil, false, context.Cause(c.ctx)
	}
	id, answer := c.enter(msg)
	if err := c.link.send(ctx, msg); err != nil {
		c.leave(id)
		if c.ctx.Err() != nil || ctx.Err() == nil {
			err = c.gone(err)
		}
		return nil, false, err
	}
	f, err := c.await(ctx, answer)
	if err != nil {
		if ctx.Err() != nil {
			c.abandon(id)
		}
		return nil, true, err
	}
	return c.result(m, f)
}

// gone is why the connection has ended, or will have in a moment.
func (c *Conn) gone(err error) error {
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	if err == os.ErrClosed {
		return ErrGone
	}
	return err
}

func (c *Conn) result(m method, f frame) ([]reflect.Value, bool, error) {
	if f.kind == kindError {
		return nil, true, decodeError(f.body)
	}
	out, err := readValues(f.body, m.out, make([]reflect.Value, 0, len(m.out)+1))
	if err != nil {
		return nil, true, fmt.Errorf("result: %w", err)
	}
	return out, true, nil
}
