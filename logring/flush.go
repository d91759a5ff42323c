package logring

import (
	"context"
	"errors"
	"fmt"
)

// A FlushLevel says how far records have to have come.
type FlushLevel int

const (
	// Collected: out of the ring, in the queues of the sinks. They outlive the
	// worker, as they did before.
	Collected FlushLevel = iota + 1
	// Written: every sink has written them. A file's are in the page cache: they
	// outlive the node, too.
	Written
	// Synced: every sink has made them durable, as far as its destination can. A
	// file's outlive the machine's crash.
	Synced
)

var flushNames = map[FlushLevel]string{Collected: "collected", Written: "written", Synced: "synced"}

func (l FlushLevel) String() string {
	if n, ok := flushNames[l]; ok {
		return n
	}
	return fmt.Sprintf("FlushLevel(%d)", int(l))
}

func (l FlushLevel) check() error {
	if _, ok := flushNames[l]; !ok {
		return fmt.Errorf("logring: flush: level %d: choose Collected, Written or Synced", int(l))
	}
	return nil
}

// Flush is FlushTo [Synced].
func (c *Collector) Flush(ctx context.Context) error { return c.FlushTo(ctx, Synced) }

// FlushTo returns when every record that was logged before the call has come as far
// as the level says: records committed in the rings, captured lines and the node's
// own. The error names the sinks that failed since the last flush, or is the
// context's.
func (c *Collector) FlushTo(ctx context.Context, level FlushLevel) error {
	if err := level.check(); err != nil {
		return err
	}
	c.local.before.run()
	f := &flush{handed: make(chan struct{})}
	if !c.post(func(m *mail) { m.flush = append(m.flush, f) }) {
		return errClosed
	}
	select {
	case <-f.handed:
	case <-ctx.Done():
		return fmt.Errorf("logring: flush: records are still being collected: %w", ctx.Err())
	}
	if level == Collected {
		return nil
	}
	return c.flushSinks(ctx, level)
}

// flushSinks waits until each sink has worked off what it was given, and synced it
// if that is asked for.
func (c *Collector) flushSinks(ctx context.Context, level FlushLevel) error {
	answers := make([]chan error, len(c.sinks))
	for i, r := range c.sinks {
		answers[i] = make(chan error, 1)
		r.flushAfter(answers[i], level)
	}
	var errs []error
	for i, r := range c.sinks {
		select {
		case err := <-answers[i]:
			errs = append(errs, err)
		case <-r.ended: // closed meanwhile
		case <-ctx.Done():
			errs = append(errs, &SinkError{Sink: r.o.Name, Err: fmt.Errorf("flush: still writing: %w", ctx.Err())})
		}
	}
	return errors.Join(errs...)
}
