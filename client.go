package shmkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"shmkit/cfgblob"
	"shmkit/spawn"
)

// DialOptions says which run to talk to.
type DialOptions struct {
	Run string // default: $SHMKIT_RUN, else the only live run of this user
	Dir string // runtime directory; default: [spawn.RuntimeDir]
}

// Client asks the node of a run for its configuration and its state, and asks it
// to change the configuration. It is one connection: its calls take turns.
type Client struct {
	run string

	mu   sync.Mutex
	conn *net.UnixConn
	in   *bufio.Reader
}

// Dial connects to a run of this user on this machine.
func Dial(ctx context.Context, o DialOptions) (*Client, error) {
	dir, run, err := findRun(o)
	if err != nil {
		return nil, err
	}
	conn, err := dialControl(filepath.Join(dir, run))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("shmkit: no run %q in %s (%s): start it, or name another with --run", run, dir, liveNames(dir))
	case err != nil:
		return nil, fmt.Errorf("shmkit: run %q: %w", run, err)
	}
	if err := ctx.Err(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("shmkit: run %q: %w", run, err)
	}
	return &Client{run: run, conn: conn, in: bufio.NewReaderSize(conn, 1<<16)}, nil
}

func findRun(o DialOptions) (dir, run string, err error) {
	dir = o.Dir
	if dir == "" {
		if dir, err = spawn.RuntimeDir(); err != nil {
			return "", "", err
		}
	}
	run = o.Run
	if run == "" {
		run = os.Getenv("SHMKIT_RUN")
	}
	if run != "" {
		if err := spawn.CheckRunName(run); err != nil {
			return "", "", err
		}
		return dir, run, nil
	}
	runs, err := Runs(dir)
	if err != nil {
		return "", "", err
	}
	switch len(runs) {
	case 0:
		return "", "", fmt.Errorf("shmkit: no live run in %s: start one with shmkit run", dir)
	case 1:
		return dir, runs[0].Name, nil
	}
	return "", "", fmt.Errorf("shmkit: %s: choose one with --run", liveNames(dir))
}

// liveNames lists the live runs in words.
func liveNames(dir string) string {
	runs, _ := Runs(dir)
	if len(runs) == 0 {
		return "no run is alive"
	}
	names := make([]string, len(runs))
	for i, r := range runs {
		names[i] = r.Name
	}
	return "live runs: " + strings.Join(names, ", ")
}

// RunInfo is one live run of this user.
type RunInfo = spawn.RunInfo

// Runs lists the live runs in a runtime directory ("" for [spawn.RuntimeDir]),
// in order of their names, and removes what dead ones left there.
func Runs(dir string) ([]RunInfo, error) {
	if _, err := spawn.Prune(dir); err != nil {
		return nil, err
	}
	runs, err := spawn.Runs(dir)
	return slices.DeleteFunc(runs, func(r RunInfo) bool { return !r.Live }), err
}

// Name is the name of the run.
func (c *Client) Name() string { return c.run }

// Close ends the connection and, with it, a running Watch. It is idempotent.
func (c *Client) Close() error {
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// roundTrip sends a request and reads its answer. When ctx ends first, the
// connection is no longer usable.
func (c *Client) roundTrip(ctx context.Context, r request) (answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer context.AfterFunc(ctx, func() { c.conn.Close() })()
	if err := c.send(r); err != nil {
		return answer{}, c.explain(ctx, err)
	}
	a, err := c.receive()
	if err != nil {
		return answer{}, c.explain(ctx, err)
	}
	return a, a.err()
}

func (c *Client) send(r request) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = c.conn.Write(append(b, '\n'))
	return err
}

func (c *Client) receive() (a answer, err error) {
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	err = json.Unmarshal(line, &a)
	return a, err
}

func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("shmkit: run %q: %w", c.run, ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("shmkit: run %q has ended: %w", c.run, err)
	default:
		return fmt.Errorf("shmkit: run %q: %w", c.run, err)
	}
}

// RemoteError is the node's refusal of a request, in its words.
type RemoteError struct {
	Text string
	kind error
}

func (e *RemoteError) Error() string { return e.Text }

// Unwrap makes errors.Is find [cfgblob.ErrNoKey], [cfgblob.ErrConflict] and their
// like.
func (e *RemoteError) Unwrap() error { return e.kind }

func (a answer) err() error {
	if a.Error == "" {
		return nil
	}
	return &RemoteError{a.Error, cfgblob.CodeError(a.Code)}
}

// Status returns what the node says of itself and its workers.
func (c *Client) Status(ctx context.Context) (Status, error) {
	a, err := c.roundTrip(ctx, request{Op: opStatus})
	if err == nil && a.Status == nil {
		err = fmt.Errorf("shmkit: run %q: the answer holds no status: client and node are of different versions", c.run)
	}
	if err != nil {
		return Status{}, err
	}
	return *a.Status, nil
}
