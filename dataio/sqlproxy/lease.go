package sqlproxy

import (
	"container/list"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A lease is one real connection in the hands of one session: from the first
// statement until the worker's database/sql has put its end back. Only the session's
// goroutine uses it.
type lease struct {
	worker *workerLease
	gate   *gate
	conn   *sql.Conn
	since  time.Time

	// now is the statement under way. Stored by the session, loaded by those who wait
	// and want to name the holder; it guards nothing.
	now atomic.Pointer[string]

	rawTx bool // a transaction was begun by the text of a statement

	// Prepared statements of this connection, the last used first. They end with the
	// lease: who has the connection next must not find them.
	max   int
	order list.List // of *prepared
	stmts map[string]*list.Element
}

type prepared struct {
	query string
	stmt  *sql.Stmt
}

// acquire waits for a turn at g and takes a connection.
func acquire(ctx context.Context, db *database, g *gate, w *workerLease) (*lease, error) {
	if db.policy.MaxWait > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, db.policy.MaxWait)
		defer stop()
	}
	start := time.Now()
	if err := g.enter(ctx, w); err != nil {
		return nil, &Error{db.name, "use", fmt.Errorf("waited %v for a connection: %w", time.Since(start).Round(time.Millisecond), err),
			"held by " + g.holders() + ": shorten that, or raise SetMaxOpenConns"}
	}
	conn, err := g.db.Conn(ctx)
	if err != nil {
		g.leave()
		return nil, err // as database/sql and the driver say it
	}
	l := &lease{worker: w, gate: g, conn: conn, since: start, max: db.policy.Statements}
	g.hold(l)
	return l, nil
}

// release gives the connection back, or closes it: then whatever it had begun is
// rolled back by the database.
func (l *lease) release(discard bool) {
	if l == nil {
		return
	}
	l.forget()
	if discard || l.rawTx {
		l.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	l.conn.Close() // ErrConnDone when it is gone already
	l.gate.unhold(l)
	l.gate.leave()
}

// executor is what statements go through: a *sql.Conn, or its *sql.Tx while there is one.
// It has to be that one: database/sql closes a *sql.Conn that turns out to be bad, and
// for that waits until its transaction has ended.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// forget closes the prepared statements: they belong to one executor.
func (l *lease) forget() {
	for e := l.order.Front(); e != nil; e = e.Next() {
		e.Value.(*prepared).stmt.Close() // rows that are still read keep it
	}
	l.order.Init()
	clear(l.stmts)
}

// prepare returns the statement of that text, prepared on this connection.
func (l *lease) prepare(ctx context.Context, on executor, query string) (*sql.Stmt, error) {
	if e, ok := l.stmts[query]; ok {
		l.order.MoveToFront(e)
		return e.Value.(*prepared).stmt, nil
	}
	stmt, err := on.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if l.order.Len() >= l.max {
		old := l.order.Remove(l.order.Back()).(*prepared)
		delete(l.stmts, old.query)
		old.stmt.Close() // rows that are still read keep it
	}
	if l.stmts == nil {
		l.stmts = map[string]*list.Element{}
	}
	l.stmts[query] = l.order.PushFront(&prepared{query, stmt})
	return stmt, nil
}

// ping asks the driver itself: an error must not close a connection with a transaction.
func (l *lease) ping(ctx context.Context) (err error) {
	rawErr := l.conn.Raw(func(c any) error {
		if p, ok := c.(driver.Pinger); ok {
			err = p.Ping(ctx)
		}
		return nil
	})
	if err == nil {
		err = rawErr
	}
	return err
}

// noteTx follows transactions that are begun and ended by text.
func (l *lease) noteTx(query string) {
	switch firstWord(query) {
	case "BEGIN", "START":
		l.rawTx = true
	case "COMMIT", "END", "ROLLBACK":
		l.rawTx = false
	}
}

// gone reports whether err means that the connection is no more.
func gone(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// doing says what the holder is at.
func (l *lease) doing() string {
	q := l.now.Load()
	if q == nil {
		return ""
	}
	s := *q
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return fmt.Sprintf(" (in %q)", s)
}
