package recfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"shmkit/ring"
)

// A File is one of the node's files, as a worker sees it.
type File struct {
	slot
	client  *Client
	missing error // there is no such file

	turn   chan struct{} // holds a token while somebody appends
	prod   *ring.Producer
	buf    []byte // what is reserved, or nil
	status status

	committed atomic.Uint64 // records; stored by whose turn it is
}

// Append adds a record; in a file of lines, one newline at its end is taken as its end.
// It waits while the ring is full, also when the node is gone and nobody reads it any
// more: give [File.AppendContext] the worker's context, which ends then. When it returns
// nil the record will be written, whatever happens to this process; [File.Flush] waits
// for that.
//
// An error means that the record is not in the ring, save for one that wraps
// [os.ErrClosed] because the node is gone. When the node has given up the file it wraps
// [ErrGivenUp].
func (f *File) Append(rec []byte) error { return f.AppendContext(context.Background(), rec) }

// AppendContext is Append that waits until ctx ends.
func (f *File) AppendContext(ctx context.Context, rec []byte) error {
	if f.missing == nil && f.format == Lines {
		rec = bytes.TrimSuffix(rec, []byte("\n"))
		if bytes.IndexByte(rec, '\n') >= 0 {
			return f.newline()
		}
	}
	buf, err := f.ReserveContext(ctx, len(rec))
	if err != nil {
		return err
	}
	copy(buf, rec)
	return f.commit(len(rec))
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
// one need not be copied. No other record of this worker can be appended to the file
// until Commit or Abort. The space is valid until then. It waits like Append.
func (f *File) Reserve(n int) ([]byte, error) { return f.ReserveContext(context.Background(), n) }

// ReserveContext is Reserve that waits until ctx ends.
func (f *File) ReserveContext(ctx context.Context, n int) ([]byte, error) {
	if f.missing != nil {
		return nil, f.missing
	}
	if n < 0 || n > f.max {
		return nil, f.error("append to", fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, f.max), "raise Options.MaxRecord")
	}
	select {
	case f.turn <- struct{}{}:
	default:
		select {
		case f.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, f.error("append to", ctx.Err(), "")
		}
	}
	buf, err := f.space(ctx, n)
	if err != nil {
		<-f.turn
		return nil, err
	}
	f.buf = buf
	return buf, nil
}

// look is how often somebody who waits for space looks whether it can still come.
const look = 200 * time.Millisecond

// space is ReserveContext for whose turn it is.
func (f *File) space(ctx context.Context, n int) ([]byte, error) {
	for {
		if err := f.over(); err != nil {
			return nil, f.error("append to", err, "")
		}
		buf, err := f.prod.TryReserve(n)
		if errors.Is(err, ring.ErrFull) {
			wait, cancel := context.WithTimeout(ctx, look)
			buf, err = f.prod.ReserveContext(wait, n)
			cancel()
			if err != nil && wait.Err() != nil && ctx.Err() == nil {
				continue
			}
		}
		if err != nil {
			return nil, f.error("append to", err, "")
		}
		return buf, nil
	}
}

// over says why no record can get into the file any more. The caller has the file's
// turn, or the client's lock.
func (f *File) over() error {
	if f.client.closed.Load() {
		return os.ErrClosed
	}
	switch atomic.LoadUint32(f.status.state) { // see inlet.release
	case givenUp:
		return fmt.Errorf("%w: the node cannot write it, and says why", ErrGivenUp)
	case ended:
		return fmt.Errorf("the node has ended it: %w", os.ErrClosed)
	}
	return nil
}

// Commit appends the first n bytes of what was reserved. After an error it is as if
// Abort had been called, with the exception that [File.Append] has.
func (f *File) Commit(n int) error {
	switch room := len(f.buf); {
	case f.buf == nil:
		return f.error("append to", errors.New("nothing is reserved"), "call Reserve before each Commit")
	case n < 0 || n > room:
		f.Abort()
		return f.error("append to", fmt.Errorf("%d bytes committed, %d reserved", n, room), "reserve as many")
	case f.format == Lines && bytes.IndexByte(f.buf[:n], '\n') >= 0:
		f.Abort()
		return f.newline()
	}
	return f.commit(n)
}

func (f *File) commit(n int) error {
	f.buf = nil
	f.prod.Commit(n, 0)
	err := f.prod.Flush()
	// Stored by whose turn it is, loaded by Flush: it is to wait for what was committed
	// before it was called, and who called it after this has seen the store.
	f.committed.Store(f.committed.Load() + 1)
	<-f.turn
	if err != nil {
		return f.error("append to", err, "")
	}
	return nil
}

// Abort gives back what was reserved.
func (f *File) Abort() {
	if f.buf == nil {
		return
	}
	f.buf = nil
	f.prod.Abort()
	<-f.turn
}

// Flush waits until everything that this worker has appended to the file before is
// written, or ctx ends. With Options.Sync < 0 it is on the disk then. It does not wait
// for an Append that waits. Once a record of this worker could not be written, and was
// counted by the node as lost or refused, the error wraps [ErrLost].
func (f *File) Flush(ctx context.Context) error {
	if f.missing != nil {
		return f.missing
	}
	want := f.committed.Load()
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		done, lost, err := f.fate()
		switch {
		case lost > 0:
			return f.error("flush", fmt.Errorf("%w: %d of this worker's", ErrLost, lost), "the node says why")
		case done >= want:
			return nil
		case err != nil:
			return f.error("flush", fmt.Errorf("%d records are not written: %w", want-done, err), "")
		}
		select {
		case <-ctx.Done():
			return f.error("flush", fmt.Errorf("%d records are not written yet: %w", want-done, ctx.Err()), "")
		case <-time.After(pause):
		}
	}
}

// fate returns what the node says of this worker's records, and why it will not say
// more.
func (f *File) fate() (done, lost uint64, err error) {
	f.client.mu.Lock()
	defer f.client.mu.Unlock()
	if err = f.over(); f.client.closed.Load() {
		return 0, 0, err
	}
	done = atomic.LoadUint64(f.status.done) // before lost: see inlet.release
	return done, atomic.LoadUint64(f.status.lost), err
}

func (f *File) newline() error {
	return f.error("append to", ErrNewline, "append line by line, quote it, or use the format Frames")
}

func (f *File) error(op string, err error, advice string) error {
	return &Error{f.name, op, err, advice}
}
