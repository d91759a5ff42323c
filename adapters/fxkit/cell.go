package fxkit

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// A cell holds at most one T, made when it is first asked for. Any number of goroutines
// may use it; those who wait for one that is being made wait as long as their contexts
// allow.
type cell[T any] struct {
	mu      sync.Mutex
	ended   error         // not nil: there will be no T
	making  chan struct{} // not nil: somebody makes it, and closes this when that is over
	value   T
	release func() error // nil: there is no value
}

// get returns the T. If there is none it is made, with this context. An error is not
// kept: the next who asks tries again, and so do those who waited.
func (c *cell[T]) get(ctx context.Context, how recipe[T]) (v T, err error) {
	for {
		c.mu.Lock()
		switch {
		case c.ended != nil:
			defer c.mu.Unlock()
			return v, c.ended
		case c.release != nil:
			defer c.mu.Unlock()
			return c.value, nil
		case c.making == nil:
			c.making = make(chan struct{})
			c.mu.Unlock()
			return c.fill(ctx, how)
		}
		making := c.making
		c.mu.Unlock()
		select {
		case <-making:
		case <-ctx.Done():
			return v, fmt.Errorf("fxkit: %v: waiting for another who makes it: %w", reflect.TypeFor[T](), ctx.Err())
		}
	}
}

// fill makes the T. The caller has set c.making.
func (c *cell[T]) fill(ctx context.Context, how recipe[T]) (v T, err error) {
	defer func() { // after a panic, too
		c.mu.Lock()
		close(c.making)
		c.making = nil
		c.mu.Unlock()
	}()
	v, release, err := how(ctx)
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	ended := c.ended
	if ended == nil {
		c.value, c.release = v, release
	}
	c.mu.Unlock()
	if ended != nil { // meanwhile
		var none T
		return none, errors.Join(ended, release())
	}
	return v, nil
}

// empty lets go of the T, if there is one. With an error in ended nothing is made from
// then on: that is what who asks is told. One that is being made is waited for, as long
// as ctx allows; after that it is let go by who makes it, if ended is set.
func (c *cell[T]) empty(ctx context.Context, ended error) error {
	c.mu.Lock()
	if ended != nil {
		c.ended = ended
	}
	for c.making != nil {
		making := c.making
		c.mu.Unlock()
		select {
		case <-making:
		case <-ctx.Done():
			return fmt.Errorf("fxkit: %v: waiting for another who makes it: %w", reflect.TypeFor[T](), ctx.Err())
		}
		c.mu.Lock()
	}
	release := c.release
	var none T
	c.value, c.release = none, nil
	c.mu.Unlock()
	if release == nil {
		return nil
	}
	return release()
}

// reset lets go of the T, if there is one: the next who asks makes another.
func (c *cell[T]) reset() error {
	return c.empty(context.Background(), nil)
}

// renew lets things be made again after an end.
func (c *cell[T]) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = nil
}
