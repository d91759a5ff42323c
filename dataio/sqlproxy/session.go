package sqlproxy

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"sync"
)

// A session is the node's end of one driver.Conn of a worker: one socket, one
// goroutine, and a real connection while the worker uses it.
type session struct {
	id     uint32
	worker *workerLease
	db     *database
	sock   *os.File
	in     frameReader
	out    frameWriter

	main, reader *lease // at most one of each; reader only with Policy.Readers
	tx           *sql.Tx
	txLease      *lease
	txStop       context.CancelCauseFunc

	cursors map[uint32]*cursor
	opening *cursor // whose first page is being made
	lastID  uint32

	// What may be cancelled. The session's goroutine stores, the worker's line cancels.
	mu        sync.Mutex
	seq       uint32 // of the request under way
	cancelled uint32 // the last one to be cancelled
	stop      context.CancelCauseFunc

	ctx     context.Context // the statements', used until it was cancelled or given to a cursor
	ctxStop context.CancelCauseFunc
}

// maxCursors bounds the open results of one session.
const maxCursors = 256

func (s *session) serve() {
	defer s.cleanup()
	for {
		h, payload, err := s.in.next()
		if err != nil {
			if errors.Is(err, errMalformed) {
				s.worker.violation(err)
			}
			return
		}
		answered, err := s.handle(h, decoder{b: payload})
		if err != nil {
			s.worker.violation(err)
			return
		}
		if answered && s.out.send(s.sock) != nil {
			return
		}
	}
}

// cleanup ends the session with the connection to the worker: nothing of what it
// had begun is left.
func (s *session) cleanup() {
	s.mu.Lock()
	s.stop = nil
	s.mu.Unlock()
	s.closeCursors(nil)
	s.endTx()
	s.dropLeases(true)
	if s.ctxStop != nil {
		s.ctxStop(nil)
	}
	s.sock.Close()
	s.worker.remove(s)
}

func (s *session) endTx() {
	if s.tx != nil {
		s.txLease.forget()
		s.tx.Rollback()
		s.txStop(nil)
		s.tx, s.txLease = nil, nil
	}
}

func (s *session) closeCursors(of *lease) {
	for id, c := range s.cursors {
		if of == nil || c.lease == of {
			c.close()
			delete(s.cursors, id)
		}
	}
}

func (s *session) dropLeases(discard bool) {
	s.main.release(discard)
	s.reader.release(discard)
	s.main, s.reader = nil, nil
}

// giveUp drops everything after a panic of the driver. What it has left locked may
// never be unlocked, so nobody waits for that: a connection that cannot be closed, as
// after a panic in a driver's Query, is lost, as database/sql would lose it without us.
func (s *session) giveUp() {
	cursors, opening, tx, txStop, leases := s.cursors, s.opening, s.tx, s.txStop, []*lease{s.main, s.reader}
	s.cursors, s.opening, s.tx, s.txLease, s.main, s.reader = nil, nil, nil, nil, nil, nil
	quietly := func(f func()) {
		defer func() { recover() }()
		f()
	}
	go func() {
		for _, c := range cursors {
			quietly(func() { c.close() })
		}
		if opening != nil {
			quietly(func() { opening.close() })
		}
		if tx != nil {
			quietly(func() { tx.Rollback() })
			txStop(nil)
		}
		for _, l := range leases {
			quietly(func() { l.release(true) })
		}
	}()
}

// drop gives up a connection that is no more.
func (s *session) drop(l *lease) {
	s.closeCursors(l)
	if s.txLease == l {
		s.endTx()
	}
	l.release(true)
	if s.main == l {
		s.main = nil
	} else {
		s.reader = nil
	}
}

// cancel ends request seq, whether it is under way or still to come.
func (s *session) cancel(seq uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int32(seq-s.cancelled) > 0 {
		s.cancelled = seq
	}
	if s.seq == seq && s.stop != nil {
		s.stop(context.Canceled)
	}
}

// running says what a cancellation ends. Call it with nil when nothing is under way.
func (s *session) running(stop context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = stop
	if stop != nil && s.cancelled == s.seq {
		stop(context.Canceled)
	}
}

// statement returns the context of a statement. One serves many: it is replaced when
// it was cancelled, or when a result that is still open has taken it over.
func (s *session) statement() context.Context {
	if s.ctx == nil || s.ctx.Err() != nil {
		s.ctx, s.ctxStop = context.WithCancelCause(s.worker.life)
	}
	s.running(s.ctxStop)
	return s.ctx
}

// leaseFor returns the connection for a statement, and waits for one if the session
// has none.
func (s *session) leaseFor(ctx context.Context, query string) (*lease, error) {
	switch {
	case s.txLease != nil:
		return s.txLease, nil
	case s.main != nil:
		return s.main, nil // it has what earlier statements left: temporary tables, settings
	case s.db.readers != nil && onlyReads(query):
		return s.readerLease(ctx)
	}
	return s.mainLease(ctx)
}

func (s *session) mainLease(ctx context.Context) (_ *lease, err error) {
	if s.main == nil {
		s.main, err = acquire(ctx, s.db, s.db.main, s.worker)
	}
	return s.main, err
}

func (s *session) readerLease(ctx context.Context) (_ *lease, err error) {
	if s.reader == nil {
		s.reader, err = acquire(ctx, s.db, s.db.readers, s.worker)
	}
	return s.reader, err
}

// handle executes one request and leaves the answer in s.out. An error is a breach of
// the protocol.
func (s *session) handle(h header, d decoder) (answered bool, err error) {
	s.mu.Lock()
	s.seq++
	s.mu.Unlock()
	defer s.running(nil)
	defer func() {
		if p := recover(); p != nil {
			answered = true
			s.fail(panicked{fmt.Sprint(p)}, false) // it is the worker's, as it would be without us
			s.giveUp()
		}
	}()
	switch h.op {
	case opExec, opQuery:
		query, args := d.string(), d.args()
		if d.bad || len(d.b) > 0 {
			return false, fmt.Errorf("%w: op %d", errMalformed, h.op)
		}
		if h.op == opExec {
			s.exec(query, args, h.flags&flagPrepared != 0)
		} else {
			s.query(query, args, h.flags&flagPrepared != 0)
		}
		if h.flags&flagLast != 0 && len(s.cursors) == 0 && s.tx == nil {
			s.dropLeases(false) // before the answer is written: nobody waits for the worker to read
		}
	case opPrepare:
		query := d.string()
		if d.bad || len(d.b) > 0 {
			return false, fmt.Errorf("%w: op %d", errMalformed, h.op)
		}
		s.prepare(query)
	case opFetch:
		c := s.cursors[h.id]
		if c == nil {
			s.fail(fmt.Errorf("sql: Rows are closed"), false)
			break
		}
		s.running(c.stop)
		s.answerPage(opPage, h.id, c)
	case opCloseRows:
		if c := s.cursors[h.id]; c != nil {
			c.close()
			delete(s.cursors, h.id)
		}
		return false, nil
	case opBegin:
		level, readOnly := sql.IsolationLevel(d.u8()), d.u8() != 0
		if d.bad {
			return false, fmt.Errorf("%w: op %d", errMalformed, h.op)
		}
		s.begin(sql.TxOptions{Isolation: level, ReadOnly: readOnly})
	case opCommit, opRollback:
		s.end(h.op == opCommit)
	case opPing:
		ctx := s.statement()
		l, err := s.mainLease(ctx)
		if err == nil {
			err = l.ping(ctx)
		}
		s.done(l, err)
	case opRelease:
		if len(s.cursors) > 0 || s.tx != nil {
			s.closeCursors(nil)
			s.endTx()
		}
		s.dropLeases(false)
		return false, nil
	default:
		return false, fmt.Errorf("%w: unknown op %d", errMalformed, h.op)
	}
	return true, nil
}

// panicked is a panic of the driver. Its text is that of the panic.
type panicked struct{ text string }

func (p panicked) Error() string        { return p.text }
func (p panicked) Is(target error) bool { return target == errPanic }

// executorOf is what a statement on l goes through.
func (s *session) executorOf(l *lease) executor {
	if s.tx != nil {
		return s.tx
	}
	return l.conn
}

// fail answers with an error.
func (s *session) fail(err error, sent bool) {
	s.out.begin(opError, 0, 0)
	s.out.buf = appendError(s.out.buf, err, sent)
}

// done answers a request on l that has nothing else to say.
func (s *session) done(l *lease, err error) {
	if err == nil {
		s.out.begin(opOK, 0, 0)
		return
	}
	broken := l != nil && gone(err)
	if broken && errors.Is(err, sql.ErrConnDone) {
		// A statement prepared on a connection that turned out to be bad was tried
		// again by database/sql, on the same one. Nothing was executed.
		err = driver.ErrBadConn
	}
	s.fail(err, l != nil)
	if broken {
		s.drop(l)
	}
}

// on starts a statement: it checks the policy and gets a connection.
func (s *session) on(ctx context.Context, query string) (*lease, error) {
	if err := s.db.policy.check(query); err != nil {
		return nil, &Error{s.db.name, "use", err, ""}
	}
	l, err := s.leaseFor(ctx, query)
	if err == nil {
		l.now.Store(&query)
	}
	return l, err
}

func (s *session) exec(query string, args []any, isPrepared bool) {
	ctx, stop := s.db.policy.limit(s.statement())
	defer stop()
	l, err := s.on(ctx, query)
	if err != nil {
		s.fail(err, false)
		return
	}
	defer l.now.Store(nil)
	var res sql.Result
	if isPrepared {
		var stmt *sql.Stmt
		if stmt, err = l.prepare(ctx, s.executorOf(l), query); err == nil {
			res, err = stmt.ExecContext(ctx, args...)
		}
	} else {
		res, err = s.executorOf(l).ExecContext(ctx, query, args...)
	}
	if err != nil {
		s.done(l, s.db.explain(ctx, err))
		return
	}
	l.noteTx(query)
	s.out.begin(opResult, 0, 0)
	for _, get := range []func() (int64, error){res.LastInsertId, res.RowsAffected} {
		if n, err := figure(get); err != nil {
			s.out.buf = appendError(append(s.out.buf, 1), err, false)
		} else {
			s.out.buf = appendUint64(append(s.out.buf, 0), uint64(n))
		}
	}
}

// figure asks a driver's result, which the worker may not do: then a panic is none.
func figure(get func() (int64, error)) (n int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the driver gave no result: %v", p)
		}
	}()
	return get()
}

// explain adds the reason for which a statement was ended by a limit.
func (d *database) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, ErrLimit) {
		return &Error{d.name, "use", fmt.Errorf("%w: %w", cause, err), "shorten it, or raise Policy.MaxTime"}
	}
	return err
}

func (s *session) query(query string, args []any, isPrepared bool) {
	if len(s.cursors) >= maxCursors {
		s.fail(&Error{s.db.name, "query", fmt.Errorf("%w: %d results are open on one connection", ErrLimit, len(s.cursors)), "close rows that were read"}, false)
		return
	}
	ctx, done := s.db.policy.limit(s.statement())
	l, err := s.on(ctx, query)
	if err != nil {
		done()
		s.fail(err, false)
		return
	}
	var rows *sql.Rows
	if isPrepared {
		var stmt *sql.Stmt
		if stmt, err = l.prepare(ctx, s.executorOf(l), query); err == nil {
			rows, err = stmt.QueryContext(ctx, args...)
		}
	} else {
		rows, err = s.executorOf(l).QueryContext(ctx, query, args...)
	}
	l.now.Store(nil)
	if err != nil {
		s.done(l, s.db.explain(ctx, err))
		done()
		return
	}
	l.noteTx(query)
	s.lastID++
	s.opening = &cursor{db: s.db, rows: rows, ctx: ctx, stop: func(error) {}, done: done, lease: l}
	s.answerPage(opRows, s.lastID, s.opening)
	s.opening = nil
}

// answerPage answers with the next page of c, which becomes or stays an open result
// if there is more.
func (s *session) answerPage(op uint8, id uint32, c *cursor) {
	s.out.begin(op, 0, id)
	if op == opRows {
		s.out.buf = c.appendColumns(s.out.buf)
	}
	b, end, closed := c.page(s.out.buf)
	s.out.buf = b
	if end {
		s.out.buf[5] = flagEnd
	}
	switch {
	case closed:
		delete(s.cursors, id)
	case op == opRows:
		if s.cursors == nil {
			s.cursors = map[uint32]*cursor{}
		}
		c.stop = s.ctxStop // it is the cursor's from now on
		s.ctx, s.ctxStop = nil, nil
		s.cursors[id] = c
	}
}

func (s *session) prepare(query string) {
	ctx := s.statement()
	l, err := s.on(ctx, query)
	if err == nil {
		_, err = l.prepare(ctx, s.executorOf(l), query)
		l.now.Store(nil)
	}
	s.done(l, err)
}

// begin starts a transaction. It lives with the worker, not with the request: its
// context rolls it back when the worker is dead.
func (s *session) begin(o sql.TxOptions) {
	if s.tx != nil {
		s.fail(&Error{s.db.name, "begin a transaction on", errors.New("one is open on this connection"), "end it first"}, false)
		return
	}
	ctx, stop := context.WithCancelCause(s.worker.life)
	s.running(stop)
	var l *lease
	var err error
	if o.ReadOnly = o.ReadOnly || s.db.policy.ReadOnly; o.ReadOnly && s.db.readers != nil && s.main == nil {
		l, err = s.readerLease(ctx)
	} else {
		l, err = s.mainLease(ctx)
	}
	if err == nil {
		s.tx, err = l.conn.BeginTx(ctx, &o)
	}
	if err != nil {
		stop(nil)
		s.done(l, err)
		return
	}
	l.forget()
	s.txLease, s.txStop = l, stop
	s.done(l, nil)
}

func (s *session) end(commit bool) {
	tx, l := s.tx, s.txLease
	if tx == nil {
		s.fail(sql.ErrTxDone, false)
		return
	}
	end := tx.Rollback
	if commit {
		end = tx.Commit
	}
	l.forget()
	err := end()
	s.txStop(nil)
	s.tx, s.txLease = nil, nil
	s.done(l, err)
}
