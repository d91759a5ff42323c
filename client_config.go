package shmkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"syscall"

	"shmkit/cfgblob"
)

// Get returns the value of a configuration key as JSON, or the whole document
// for "", and the version it is of. Secrets are [cfgblob.Redacted].
func (c *Client) Get(ctx context.Context, key string) (json.RawMessage, uint64, error) {
	return c.GetFor(ctx, cfgblob.Audience{}, key)
}

// GetFor is Get in the document that the workers of an audience read.
func (c *Client) GetFor(ctx context.Context, who cfgblob.Audience, key string) (json.RawMessage, uint64, error) {
	a, err := c.roundTrip(ctx, request{Op: opGet, Key: key, For: who.String()})
	return a.Value, a.Version, err
}

// Change is the outcome of a Set: the version that has the new value, and
// whether the key did not exist before.
type Change struct {
	Version uint64
	Created bool
}

// Set asks the node to change one key. If ifVersion is not 0 and the
// configuration is of another version by then, the change is refused with
// [cfgblob.ErrConflict].
func (c *Client) Set(ctx context.Context, key string, value any, ifVersion uint64) (Change, error) {
	return c.set(ctx, opSet, cfgblob.Audience{}, key, value, ifVersion)
}

// SetFor is Set for some workers only; see [cfgblob.Store.SetFor].
func (c *Client) SetFor(ctx context.Context, who cfgblob.Audience, key string, value any, ifVersion uint64) (Change, error) {
	return c.set(ctx, opSet, who, key, value, ifVersion)
}

// Canary shows a change to some workers first; see [cfgblob.Store.Canary].
// [Client.Promote] makes it everybody's, [Client.Abandon] takes it back.
func (c *Client) Canary(ctx context.Context, who cfgblob.Audience, key string, value any, ifVersion uint64) (Change, error) {
	return c.set(ctx, opCanary, who, key, value, ifVersion)
}

func (c *Client) set(ctx context.Context, op string, who cfgblob.Audience, key string, value any, ifVersion uint64) (Change, error) {
	v, err := json.Marshal(value)
	if err != nil {
		return Change{}, fmt.Errorf("shmkit: run %q: set %q: %w", c.run, key, err)
	}
	a, err := c.roundTrip(ctx, request{Op: op, Key: key, Value: v, IfVersion: ifVersion, For: who.String()})
	return Change{Version: a.Version, Created: a.Created}, err
}

func (c *Client) change(ctx context.Context, r request) (version uint64, err error) {
	a, err := c.roundTrip(ctx, r)
	return a.Version, err
}

// Unset asks the node to remove a key; see [cfgblob.Store.UnsetFor].
func (c *Client) Unset(ctx context.Context, who cfgblob.Audience, key string, ifVersion uint64) (version uint64, err error) {
	return c.change(ctx, request{Op: opUnset, Key: key, IfVersion: ifVersion, For: who.String()})
}

// Reset takes back what was changed while the node ran; see [cfgblob.Store.Reset].
func (c *Client) Reset(ctx context.Context, who cfgblob.Audience, key string, ifVersion uint64) (version uint64, err error) {
	return c.change(ctx, request{Op: opReset, Key: key, IfVersion: ifVersion, For: who.String()})
}

// Promote makes the canary's change everybody's.
func (c *Client) Promote(ctx context.Context) (version uint64, err error) {
	return c.change(ctx, request{Op: opPromote})
}

// Abandon takes the canary's change back.
func (c *Client) Abandon(ctx context.Context) (version uint64, err error) {
	return c.change(ctx, request{Op: opAbandon})
}

// History lists the versions that the node keeps, oldest first.
func (c *Client) History(ctx context.Context) ([]cfgblob.Revision, error) {
	a, err := c.roundTrip(ctx, request{Op: opHistory})
	return a.History, err
}

// Diff lists what is different in two versions.
func (c *Client) Diff(ctx context.Context, from, to uint64) ([]cfgblob.Change, error) {
	a, err := c.roundTrip(ctx, request{Op: opDiff, From: from, To: to})
	return a.Changes, err
}

// Rollback makes a new version with the content of an old one.
func (c *Client) Rollback(ctx context.Context, to, ifVersion uint64) (version uint64, err error) {
	return c.change(ctx, request{Op: opRollback, To: to, IfVersion: ifVersion})
}

// Explain says where a value comes from, and what it shadows; see
// [cfgblob.Store.Explain].
func (c *Client) Explain(ctx context.Context, who cfgblob.Audience, key string) ([]cfgblob.Origin, error) {
	a, err := c.roundTrip(ctx, request{Op: opExplain, Key: key, For: who.String()})
	return a.Origins, err
}

// Validate asks whether the node would take a document. Nothing changes.
func (c *Client) Validate(ctx context.Context, doc []byte) error {
	_, err := c.roundTrip(ctx, request{Op: opValidate, Value: doc})
	return err
}

// Update is one value of a watched key. Missing says that this version has no
// such key.
type Update struct {
	Version uint64
	Value   json.RawMessage
	Missing bool
}

// Watch yields the value of key ("" for the whole document) now and after each
// change of it, until ctx ends, the loop is left, or the run ends, which is not
// an error. It uses the connection up.
func (c *Client) Watch(ctx context.Context, key string) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		defer c.conn.Close()
		defer context.AfterFunc(ctx, func() { c.conn.Close() })()
		if err := c.send(request{Op: opWatch, Key: key}); err != nil {
			yield(Update{}, c.explain(ctx, err))
			return
		}
		for {
			a, err := c.receive()
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
				return
			}
			if err == nil {
				err = a.err()
			} else {
				err = c.explain(ctx, err)
			}
			if !yield(Update{Version: a.Version, Value: a.Value, Missing: a.Missing}, err) || err != nil {
				return
			}
		}
	}
}
