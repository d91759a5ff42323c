package sqlproxy

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"
)

// A conn is the worker's end of a session. database/sql uses it from one goroutine at
// a time.
type conn struct {
	client *Client
	db     string
	id     uint32
	sock   *os.File
	in     frameReader
	out    frameWriter
	seq    uint32 // of the last request sent
	leased bool   // the node may hold a real connection for us
	broken bool   // the socket is of no more use

	ahead []*rows // whose next page was asked for and has not been read
}

// Everything that database/sql looks for and that is not deprecated.
var (
	_ driver.Conn               = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ driver.StmtExecContext    = (*stmt)(nil)
	_ driver.StmtQueryContext   = (*stmt)(nil)
	_ driver.NamedValueChecker  = (*stmt)(nil)
)

// cancelPatience is how long the node may take to answer a request that was
// cancelled. After that it is given up: it may be stopped.
const cancelPatience = 10 * time.Second

// begin starts the frame of a request.
func (c *conn) begin(op, flags uint8, id uint32) { c.out.begin(op, flags, id) }

// write sends the frame that was built.
func (c *conn) write() error {
	if c.broken {
		return driver.ErrBadConn // nothing was sent: database/sql takes another one
	}
	if n := len(c.out.buf) - headerSize; n > maxRequest {
		return &Error{c.db, "send to", fmt.Errorf("%w: %d bytes in one request", ErrLimit, n), fmt.Sprintf("use at most %d", maxRequest)}
	}
	c.seq++
	c.leased = true
	if err := c.out.send(c.sock); err != nil {
		// An incomplete request is not executed.
		c.fail()
		select {
		case <-c.client.gone:
			return &Error{c.db, "send to", ErrNodeGone, "end this worker"}
		default:
			return driver.ErrBadConn // asking for another connection will tell
		}
	}
	return nil
}

func (c *conn) fail() {
	c.broken = true
	c.sock.Close()
}

// call sends the frame that was built and returns the answer, which is valid until
// the next one is read.
func (c *conn) call(ctx context.Context, op string) (header, decoder, error) {
	if err := ctx.Err(); err != nil {
		return header{}, decoder{}, err
	}
	if err := c.write(); err != nil {
		return header{}, decoder{}, err
	}
	return c.answer(ctx, op, c.seq)
}

// answer reads the answer to request seq, and before it those that were asked for
// earlier.
func (c *conn) answer(ctx context.Context, op string, seq uint32) (header, decoder, error) {
	defer c.watch(ctx, seq)()
	for len(c.ahead) > 0 {
		if err := c.readAhead(op); err != nil {
			return header{}, decoder{}, err
		}
	}
	h, d, err := c.read(op)
	if err == nil && h.op == opError {
		err = c.remote(ctx, d)
	}
	return h, d, err
}

// readAhead reads the page that was asked for first.
func (c *conn) readAhead(op string) error {
	h, d, err := c.read(op)
	if err != nil {
		return err
	}
	r := c.ahead[0]
	if c.ahead = c.ahead[1:]; !r.closed {
		r.got = &page{h, append([]byte(nil), d.b...)}
	}
	return nil
}

// watch passes the end of ctx on to the node, which then answers request seq soon.
// The caller calls what it returns when the answer is there.
func (c *conn) watch(ctx context.Context, seq uint32) (end func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.sock.SetReadDeadline(time.Now().Add(cancelPatience))
		close(fired)
		c.client.cancel(c.id, seq)
	})
	return func() {
		if !stop() {
			<-fired
			c.sock.SetReadDeadline(time.Time{})
		}
	}
}

// read reads one frame.
func (c *conn) read(op string) (header, decoder, error) {
	h, p, err := c.in.next()
	if err == nil {
		return h, decoder{b: p}, nil
	}
	c.fail()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w: the node did not answer a cancellation for %v", ErrOutcomeUnknown, cancelPatience)
	case errors.Is(err, errMalformed):
	default:
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrNodeGone)
	}
	return h, decoder{}, &Error{c.db, op, err, "ask the database before you do it again"}
}

// remote returns the error that the node answered with.
func (c *conn) remote(ctx context.Context, d decoder) error {
	err := d.remoteError(c.db)
	if errors.Is(err, errPanic) {
		panic(err.Error()) // as the driver's would have been
	}
	ended := ctx.Err()
	switch {
	case ended == nil || !errors.Is(err, context.Canceled):
		return err
	case err == context.Canceled:
		return ended // the node knows that it ended, not why
	}
	var r *RemoteError
	if errors.As(err, &r) {
		r.is = append(r.is, ended)
	}
	return err
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.begin(opPrepare, 0, 0)
	c.out.buf = appendBytes(c.out.buf, query)
	if _, _, err := c.call(ctx, "prepare a statement on"); err != nil {
		return nil, err
	}
	return &stmt{c, query}, nil
}

func (c *conn) Close() error {
	if c.broken {
		return nil
	}
	c.fail()
	return nil
}

func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

func (c *conn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	c.begin(opBegin, 0, 0)
	readOnly := byte(0)
	if o.ReadOnly {
		readOnly = 1
	}
	c.out.buf = append(c.out.buf, byte(o.Isolation), readOnly)
	if _, _, err := c.call(ctx, "begin a transaction on"); err != nil {
		return nil, err
	}
	return tx{c}, nil
}

type tx struct{ c *conn }

func (t tx) end(op uint8, what string) error {
	t.c.begin(op, 0, 0)
	_, _, err := t.c.call(context.Background(), what)
	return err
}

func (t tx) Commit() error   { return t.end(opCommit, "commit on") }
func (t tx) Rollback() error { return t.end(opRollback, "roll back on") }

func (c *conn) Ping(ctx context.Context) error {
	c.begin(opPing, 0, 0)
	_, _, err := c.call(ctx, "ping")
	return err
}

// ResetSession is called when database/sql takes the connection from its pool. There
// is nothing of an earlier use here: the node gave the real one back.
func (c *conn) ResetSession(context.Context) error {
	if c.broken {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid is called when database/sql puts the connection into its pool: the real one
// goes back to others.
func (c *conn) IsValid() bool {
	if c.broken {
		return false
	}
	if c.leased {
		c.begin(opRelease, 0, 0)
		if c.write() != nil {
			return false
		}
		c.leased = false
	}
	return true
}

// CheckNamedValue lets through what can travel: the driver in the node has the last
// word. For the rest the error is the one of drivers without a checker of their own.
func (c *conn) CheckNamedValue(nv *driver.NamedValue) error { return checkArg(nv) }

func checkArg(nv *driver.NamedValue) error {
	switch nv.Value.(type) {
	case nil, int64, int, string, []byte, float64, bool, time.Time:
		return nil
	}
	if _, ok := nv.Value.(driver.Valuer); !ok && travels(reflect.TypeOf(nv.Value), maxDepth) {
		return nil
	}
	v, err := driver.DefaultParameterConverter.ConvertValue(nv.Value)
	if err == nil {
		nv.Value = v
	}
	return err
}

// travels reports whether values of type t can be sent. It mirrors appendValue.
func travels(t reflect.Type, depth int) bool {
	switch k := t.Kind(); {
	case basicTypes[k] != nil:
		return true
	case k == reflect.Pointer:
		return depth > 0 && travels(t.Elem(), depth-1)
	case k == reflect.Slice:
		e := t.Elem()
		return e.Kind() != reflect.Slice && e.Kind() != reflect.Struct && elemType(e.Kind()) != nil ||
			e == reflect.TypeFor[[]byte]() || e == reflect.TypeFor[time.Time]()
	}
	return t == reflect.TypeFor[time.Time]()
}

// putArgs appends a statement and its arguments to the frame.
func (c *conn) putStatement(query string, args []driver.NamedValue) error {
	b := appendBytes(c.out.buf, query)
	b = binary.AppendUvarint(b, uint64(len(args)))
	for i, a := range args {
		if a.Name != "" {
			b = appendBytes(append(b, kindNamed), a.Name)
		}
		var ok bool
		if b, ok = appendValue(b, a.Value); !ok {
			return fmt.Errorf("sql: converting argument $%d type: unsupported type %T", i+1, a.Value)
		}
	}
	c.out.buf = b
	return nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if lastStatement() {
		defer func() { c.leased = false }()
		return c.exec(ctx, flagLast, query, args)
	}
	return c.exec(ctx, 0, query, args)
}

func (c *conn) exec(ctx context.Context, flags uint8, query string, args []driver.NamedValue) (driver.Result, error) {
	c.begin(opExec, flags, 0)
	if err := c.putStatement(query, args); err != nil {
		return nil, err
	}
	_, d, err := c.call(ctx, "execute a statement on")
	if err != nil {
		return nil, err
	}
	var r result
	for i := range r {
		if d.u8() == 1 {
			r[i].err = d.remoteError(c.db)
		} else {
			r[i].n = int64(d.u64())
		}
	}
	if d.bad {
		return nil, &Error{c.db, "execute a statement on", errMalformed, ""}
	}
	return &r, nil
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !lastStatement() {
		return c.query(ctx, 0, query, args)
	}
	r, err := c.query(ctx, flagLast, query, args)
	if err != nil || r.(*rows).closed {
		c.leased = false
	}
	return r, err
}

func (c *conn) query(ctx context.Context, flags uint8, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.begin(opQuery, flags, 0)
	if err := c.putStatement(query, args); err != nil {
		return nil, err
	}
	h, d, err := c.call(ctx, "query")
	if err != nil {
		return nil, err
	}
	r := &rows{c: c, ctx: ctx, id: h.id, cols: d.columns()}
	if r.setPage(h.flags, d); r.err == errMalformed {
		return nil, &Error{c.db, "query", errMalformed, ""}
	}
	return r, nil
}

// result is the answer to a statement: the last id, and how many rows.
type result [2]struct {
	n   int64
	err error
}

func (r *result) LastInsertId() (int64, error) { return r[0].n, r[0].err }
func (r *result) RowsAffected() (int64, error) { return r[1].n, r[1].err }

// A stmt is a prepared statement: its text. The node prepares it again wherever it is
// executed, and keeps it as long as the connection is ours.
type stmt struct {
	c     *conn
	query string
}

func (s *stmt) Close() error                                { return nil }
func (s *stmt) NumInput() int                               { return -1 } // database/sql in the node checks
func (s *stmt) CheckNamedValue(nv *driver.NamedValue) error { return checkArg(nv) }

func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.exec(ctx, flagPrepared, s.query, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.query(ctx, flagPrepared, s.query, args)
}

func named(args []driver.Value) []driver.NamedValue {
	n := make([]driver.NamedValue, len(args))
	for i, a := range args {
		n[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return n
}
