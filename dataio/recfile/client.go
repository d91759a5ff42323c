package recfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"shmkit/ring"
	"shmkit/shm"
)

// A Client is the worker's side. Its methods, and those of its files, may be called
// from any goroutine.
type Client struct {
	seg    *shm.Segment
	files  []*File
	closed atomic.Bool
	mu     sync.Mutex // held while the segment is looked at without a file's turn
}

// Attach maps the rings that [Server.Donate] made for this worker. It takes ownership
// of the files. bell sends an empty message to the lease: spawn's Child.Send, say.
func Attach(files []*os.File, words []string, bell func() error) (*Client, error) {
	fail := func(err error) (*Client, error) {
		return nil, fmt.Errorf("recfile: attach: %w: node and worker are not the same program: restart the run", err)
	}
	if len(files) != 1 {
		for _, f := range files {
			f.Close()
		}
		return fail(fmt.Errorf("%d files instead of 1", len(files)))
	}
	seg, err := shm.Attach(files[0], shm.Expect{Name: "recfile", Kind: kindRecords, Schema: schema, Access: shm.ReadWrite})
	if err != nil {
		return nil, fmt.Errorf("recfile: attach: %w", err)
	}
	c := &Client{seg: seg}
	if err := c.attach(words, bell); err != nil {
		for _, f := range c.files {
			f.prod.Close()
		}
		seg.Close()
		return fail(err)
	}
	return c, nil
}

func (c *Client) attach(words []string, bell func() error) error {
	slots := make([]slot, len(words))
	for i, w := range words {
		var err error
		if slots[i], err = parseSlot(w); err != nil {
			return err
		}
	}
	region := c.seg.Region()
	if n, err := place(slots); err != nil || n > len(region) {
		return errors.Join(err, fmt.Errorf("%d bytes of rings in a segment of %d", n, len(region)))
	}
	for _, s := range slots {
		f := &File{client: c, slot: s, turn: make(chan struct{}, 1)}
		view := region[s.at:s.end:s.end]
		f.status = statusOf(view)
		var err error
		if f.prod, err = ring.NewProducer(view, ring.ProducerOptions{Name: s.name, Waiter: doorbell{bell}}); err != nil {
			return err
		}
		c.files = append(c.files, f)
	}
	return nil
}

// doorbell wakes the node by a message, and waits for it in shared memory.
type doorbell struct{ bell func() error }

func (d doorbell) Wake(*uint32) error { return d.bell() }
func (d doorbell) Wait(ctx context.Context, word *uint32, old uint32) error {
	return shm.Wait(ctx, word, old)
}

// File returns the file of that name in the node: always the same. One that the node
// does not have shows at the first record, as an error that says which there are. A
// nil Client has none.
func (c *Client) File(name string) *File {
	have := "none"
	if c != nil {
		names := make([]string, len(c.files))
		for i, f := range c.files {
			if names[i] = f.name; f.name == name {
				return f
			}
		}
		if len(names) > 0 {
			have = strings.Join(names, ", ")
		}
	}
	return &File{slot: slot{name: name}, missing: &Error{name, "append to", errors.New("unknown file"), "the node has: " + have}}
}

// Flush is [File.Flush] for all files.
func (c *Client) Flush(ctx context.Context) error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Flush(ctx))
	}
	return errors.Join(errs...)
}

// Close lets go of the rings. What was appended is written all the same. Calls that wait
// return an error that wraps [os.ErrClosed]; a reservation is waited for.
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	for _, f := range c.files {
		f.prod.Close()
	}
	for _, f := range c.files {
		f.turn <- struct{}{} // and never given back: nobody touches the segment from here on
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seg.Close()
}
