package recfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"shmkit/ring"
	"shmkit/shm"
)

// A Client is the worker's side. Its methods, and those of its files, may be called
// from any goroutine.
type Client struct {
	seg   *shm.Segment
	files map[string]*File
	names []string

	mu   sync.Mutex // of prod
	prod *ring.Producer
}

// A File is one of the node's files.
type File struct {
	client *Client
	name   string
	tag    uint32
	format Format
	max    int
	err    error // there is no such file
}

// Attach maps the ring that [Server.Donate] made for this worker. It takes ownership of
// the files. bell sends an empty message to the lease: spawn's Child.Send, say.
func Attach(files []*os.File, words []string, bell func() error) (*Client, error) {
	c := &Client{files: map[string]*File{}}
	for i, w := range words {
		f := &File{client: c, tag: uint32(i)}
		var rest string
		f.name, rest, _ = strings.Cut(w, "=")
		if n, err := fmt.Sscanf(rest, "%d.%d", &f.format, &f.max); n != 2 || err != nil {
			return nil, fmt.Errorf("recfile: attach: bad word %q: node and worker are not the same program: restart the run", w)
		}
		c.files[f.name] = f
		c.names = append(c.names, f.name)
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("recfile: attach: %d files instead of 1: node and worker are not the same program: restart the run", len(files))
	}
	var err error
	c.seg, err = shm.Attach(files[0], shm.Expect{Name: "recfile", Kind: kindRecords, Schema: 1, Access: shm.ReadWrite})
	if err != nil {
		return nil, fmt.Errorf("recfile: attach: %w", err)
	}
	c.prod, err = ring.NewProducer(c.seg.Region(), ring.ProducerOptions{Name: "recfile", Waiter: doorbell{bell}})
	if err != nil {
		c.seg.Close()
		return nil, fmt.Errorf("recfile: attach: %w", err)
	}
	return c, nil
}

// doorbell wakes the node by a message, and waits for it in shared memory.
type doorbell struct{ bell func() error }

func (d doorbell) Wake(*uint32) error { return d.bell() }
func (d doorbell) Wait(ctx context.Context, word *uint32, old uint32) error {
	return shm.Wait(ctx, word, old)
}

// File returns the file of that name in the node. One that the node does not have shows
// at the first record, as an error that says which there are. A nil Client has none.
func (c *Client) File(name string) *File {
	if c == nil {
		c = new(Client)
	}
	if f := c.files[name]; f != nil {
		return f
	}
	have := strings.Join(c.names, ", ")
	if have == "" {
		have = "none"
	}
	return &File{client: c, name: name, err: &Error{name, "append to", errors.New("unknown file"), "the node has: " + have}}
}

// Close lets go of the ring. What was appended is written all the same.
func (c *Client) Close() error {
	c.prod.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seg.Close()
}

// Append adds a record; in a file of lines, one newline at its end is taken as its end.
// It waits while the ring is full. When it returns nil the record will be in the file,
// whatever happens to this process.
func (f *File) Append(rec []byte) error {
	if f.format == Lines {
		rec = bytes.TrimSuffix(rec, []byte("\n"))
		if bytes.IndexByte(rec, '\n') >= 0 {
			return &Error{f.name, "append to", ErrNewline, "append line by line, quote it, or use the format Frames"}
		}
	}
	buf, err := f.Reserve(len(rec))
	if err != nil {
		return err
	}
	copy(buf, rec)
	return f.Commit(len(rec))
}

// Write is Append, as an io.Writer: each call is one record, so give it whole ones. A
// csv.Writer must be flushed after each.
func (f *File) Write(rec []byte) (int, error) {
	if err := f.Append(rec); err != nil {
		return 0, err
	}
	return len(rec), nil
}

// Reserve returns space for a record of up to n bytes, in shared memory, so that a large
// one need not be copied. No other record of this worker can be appended until Commit
// or Abort. The space is valid until then.
func (f *File) Reserve(n int) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	if n > f.max {
		return nil, &Error{f.name, "append to", fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, f.max), "raise Options.MaxRecord"}
	}
	f.client.mu.Lock()
	buf, err := f.client.prod.Reserve(n)
	if err != nil {
		f.client.mu.Unlock()
		return nil, &Error{f.name, "append to", err, ""}
	}
	return buf, nil
}

// Commit appends the first n bytes of what was reserved.
func (f *File) Commit(n int) error {
	defer f.client.mu.Unlock()
	f.client.prod.Commit(n, f.tag)
	if err := f.client.prod.Flush(); err != nil {
		return &Error{f.name, "append to", err, ""}
	}
	return nil
}

// Abort gives back what was reserved.
func (f *File) Abort() {
	f.client.prod.Abort()
	f.client.mu.Unlock()
}

// Flush waits until everything that this worker has appended, to any file, is written.
func (c *Client) Flush(ctx context.Context) error {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		c.mu.Lock()
		pending := c.prod.Stats().Pending
		c.mu.Unlock()
		if pending == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("recfile: flush: %d records are not written yet: %w", pending, ctx.Err())
		case <-time.After(pause):
		}
	}
}
