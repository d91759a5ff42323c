package sqlproxy

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A Client is the worker's side: it opens databases that the node has the real
// connections of. Its methods may be called from any goroutine.
type Client struct {
	line  *line
	names []string
	conns map[string]int // Policy.MaxConns

	mu      sync.Mutex
	dbs     map[string]*sql.DB
	waiting map[uint32]chan opened
	lastReq uint32
	err     error         // why the line ended
	gone    chan struct{} // closed with it
}

// opened is the node's answer to a request for a session.
type opened struct {
	id   uint32
	sock *os.File
	err  error
}

// Attach connects a worker to what [Server.Donate] gave it. It takes ownership of
// the files.
func Attach(files []*os.File, words []string) (*Client, error) {
	c := &Client{conns: map[string]int{}, dbs: map[string]*sql.DB{}, waiting: map[uint32]chan opened{}, gone: make(chan struct{})}
	for _, w := range words {
		name, n, ok := strings.Cut(w, "=")
		conns, err := strconv.Atoi(n)
		if !ok || err != nil || conns < 1 {
			return nil, fmt.Errorf("sqlproxy: attach: bad word %q: node and worker are not the same program: restart the run", w)
		}
		c.names = append(c.names, name)
		c.conns[name] = conns
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("sqlproxy: attach: %d files instead of 1: node and worker are not the same program: restart the run", len(files))
	}
	var err error
	if c.line, err = lineOver(files[0]); err != nil {
		return nil, fmt.Errorf("sqlproxy: attach: %w", err)
	}
	go c.listen()
	return c, nil
}

// DB returns the database of that name in Options.Databases of the node, as database/sql
// gives it: a handle that opens connections when they are needed. It is the same one
// at each call. A name that the node does not have shows at the first use, as an
// error that says which names there are.
func (c *Client) DB(name string) *sql.DB {
	c.mu.Lock()
	defer c.mu.Unlock()
	db := c.dbs[name]
	if db == nil {
		db = sql.OpenDB(c.Connector(name))
		// What the node allows, and all of them kept: while nobody uses it, a
		// connection of ours costs a socket, and none to the database.
		db.SetMaxOpenConns(c.conns[name])
		db.SetMaxIdleConns(c.conns[name])
		c.dbs[name] = db
	}
	return db
}

// Connector is for those who open their own handle, with a pool of another size.
func (c *Client) Connector(name string) driver.Connector { return &connector{c, name} }

// Close closes the databases and the line to the node.
func (c *Client) Close() error {
	c.mu.Lock()
	dbs := c.dbs
	c.dbs = map[string]*sql.DB{}
	c.mu.Unlock()
	var errs []error
	for _, db := range dbs {
		errs = append(errs, db.Close())
	}
	c.line.Close()
	<-c.gone
	return errors.Join(errs...)
}

// listen takes the node's answers until it is gone.
func (c *Client) listen() {
	for {
		msg, file, err := c.line.receive()
		if err != nil {
			if file != nil {
				file.Close()
			}
			c.mu.Lock()
			c.err = ErrNodeGone
			c.mu.Unlock()
			close(c.gone)
			return
		}
		d := decoder{b: msg}
		op, req, id := d.u8(), d.u32(), d.u32()
		o := opened{id: id, sock: file}
		if op == lineRefused {
			o.err = d.remoteError("")
		} else if file == nil {
			o.err = errMalformed
		}
		c.mu.Lock()
		ch := c.waiting[req]
		delete(c.waiting, req)
		c.mu.Unlock()
		if ch != nil {
			ch <- o
		} else if file != nil {
			file.Close() // nobody waits for it any more
		}
	}
}

// open asks for a session.
func (c *Client) open(ctx context.Context, name string) (opened, error) {
	index := -1
	for i, n := range c.names {
		if n == name {
			index = i
		}
	}
	if index < 0 {
		return opened{}, &Error{name, "open", errors.New("unknown database"), "the node has: " + names(c.names)}
	}
	ch := make(chan opened, 1)
	c.mu.Lock()
	c.lastReq++
	req := c.lastReq
	c.waiting[req] = ch
	c.mu.Unlock()

	nodeGone := &Error{name, "open", ErrNodeGone, "end this worker"}
	if c.line.send(append(appendLine(lineOpen, req, 0)[:5], byte(index)), nil) != nil {
		return opened{}, nodeGone
	}
	select {
	case o := <-ch:
		return o, o.err
	case <-c.gone:
		return opened{}, nodeGone
	case <-ctx.Done():
	}
	c.mu.Lock()
	delete(c.waiting, req)
	c.mu.Unlock()
	select {
	case o := <-ch: // it came at the same moment
		if o.sock != nil {
			o.sock.Close()
		}
	default:
	}
	return opened{}, ctx.Err()
}

// cancel asks the node to end a request. It is not answered: the request is.
func (c *Client) cancel(session, seq uint32) { c.line.send(appendLine(lineCancel, session, seq), nil) }

type connector struct {
	client *Client
	name   string
}

func (c *connector) Driver() driver.Driver { return proxyDriver{} }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	o, err := c.client.open(ctx, c.name)
	if err != nil {
		return nil, err
	}
	return &conn{client: c.client, db: c.name, id: o.id, sock: o.sock, in: frameReader{r: o.sock, max: maxAnswer}}, nil
}

// proxyDriver is what (*sql.DB).Driver shows.
type proxyDriver struct{}

func (proxyDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("sqlproxy: connections have no name of their own: use Client.DB or Client.Connector")
}
