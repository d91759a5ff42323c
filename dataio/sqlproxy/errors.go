package sqlproxy

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

var (
	// ErrNodeGone is the cause when the node, which has the real connections, is
	// gone, and the request was not sent.
	ErrNodeGone = errors.New("the node is gone")

	// ErrOutcomeUnknown is the cause when a request was sent and the connection broke
	// before the answer: it may have been executed, or not. It is never
	// driver.ErrBadConn, so database/sql does not execute it a second time. Ask the
	// database before you do.
	ErrOutcomeUnknown = errors.New("the outcome is unknown")

	// ErrLimit is the cause when a limit of [Policy] was exceeded.
	ErrLimit = errors.New("limit exceeded")

	// ErrRefused is the cause when [Policy] does not allow a statement.
	ErrRefused = errors.New("not allowed")
)

// Error is an error of this package, not of a database.
type Error struct {
	DB     string // name of the database
	Op     string // what was tried
	Err    error
	Advice string // what to do, may be empty
}

func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Error() string {
	s := "sqlproxy: " + e.Op + " " + strconv.Quote(e.DB) + ": " + e.Err.Error()
	if e.Advice != "" {
		s += ": " + e.Advice
	}
	return s
}

// A RemoteError is an error that a database, its driver or this package gave in the
// node. Its text is the original one. errors.Is finds the sentinel errors of
// database/sql, context and this package that were in it, errors.As the driver's own
// error where a [Codec] rebuilt it. Where there was nothing around that, it comes
// instead of a RemoteError.
type RemoteError struct {
	DB       string // name of the database
	Text     string
	SQLState string // five characters, where the driver gave them
	Code     int    // of SQLite, MySQL, …; 0 where there was none

	is []error
}

func (e *RemoteError) Error() string   { return e.Text }
func (e *RemoteError) Unwrap() []error { return e.is }

// A Codec carries a driver's error type from the node to the worker. Encode reports
// false for errors that are not of its type. Decode is given what Encode returned,
// in another process of the same program.
type Codec interface {
	Encode(err error) (data []byte, ok bool)
	Decode(data []byte) (error, bool)
}

var codecs = map[string]Codec{}

// RegisterCodec makes a codec known by its name: call it from an init function, so
// that node and workers have it. Packages in shmkit/adapters do so for the usual
// drivers. It panics on a name that is taken.
func RegisterCodec(name string, c Codec) {
	if _, dup := codecs[name]; dup || c == nil {
		panic("sqlproxy: codec " + name + " registered twice, or nil")
	}
	codecs[name] = c
}

// sentinels keep their identity between processes. Append only: the index is what
// travels.
var sentinels = []error{
	driver.ErrBadConn, context.Canceled, context.DeadlineExceeded, sql.ErrTxDone, sql.ErrConnDone,
	sql.ErrNoRows, ErrOutcomeUnknown, ErrLimit, ErrRefused, os.ErrDeadlineExceeded,
	ErrNodeGone, os.ErrClosed, driver.ErrSkip, driver.ErrRemoveArgument, io.EOF, io.ErrUnexpectedEOF,
	syscall.ECONNREFUSED, errPanic,
}

// errPanic marks what was a panic of the driver.
var errPanic = errors.New("the driver panicked")

// maxErrorText bounds what a driver's message takes on its way.
const maxErrorText = 64 << 10

// appendError encodes err, which is not nil. sent says that the statement was on its
// way to the database: when it is the connection that failed then, the outcome is
// unknown.
func appendError(b []byte, err error, sent bool) []byte {
	var mask uint64
	for i, s := range sentinels {
		if errors.Is(err, s) {
			mask |= 1 << i
		}
	}
	if sent && brokenConn(err) {
		mask |= 1 << 6
	}
	text := err.Error()
	b = appendBytes(b, text[:min(len(text), maxErrorText)])
	b = appendUint64(b, mask)
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		b = appendBytes(b, state.SQLState())
	} else {
		b = append(b, 0)
	}
	var code interface{ Code() int }
	if errors.As(err, &code) {
		b = appendUint64(b, uint64(code.Code()))
	} else {
		b = appendUint64(b, 0)
	}
	for name, c := range codecs {
		if data, ok := c.Encode(err); ok {
			b = appendBytes(b, name)
			return appendBytes(b, data)
		}
	}
	return append(b, 0, 0)
}

// brokenConn reports whether err says that the connection to the database broke,
// rather than what the database answered.
func brokenConn(err error) bool {
	if errors.Is(err, driver.ErrBadConn) {
		return false // by its contract: nothing was executed
	}
	var op *net.OpError
	var errno syscall.Errno
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &op) && op.Op != "dial" || errors.As(err, &errno) && (errno == syscall.ECONNRESET || errno == syscall.EPIPE)
}

// remoteError decodes an error for the worker.
func (d *decoder) remoteError(db string) error {
	e := &RemoteError{DB: db, Text: d.string()}
	mask := d.u64()
	e.SQLState, e.Code = d.string(), int(d.u64())
	name, data := d.string(), d.bytes()
	if d.bad {
		return errMalformed
	}
	for i, s := range sentinels {
		if mask&(1<<i) != 0 {
			e.is = append(e.is, s)
		}
	}
	// An error with nothing around it comes as itself, also for those who compare with ==
	// or ask for its type without errors.As.
	itself := func(orig error) bool {
		return orig.Error() == e.Text && !slices.ContainsFunc(e.is, func(s error) bool { return !errors.Is(orig, s) })
	}
	if i := slices.IndexFunc(e.is, itself); i >= 0 {
		return e.is[i]
	}
	if c := codecs[name]; c != nil {
		if orig, ok := c.Decode(data); ok {
			if itself(orig) {
				return orig
			}
			e.is = append(e.is, orig)
		}
	}
	if e.is != nil && errors.Is(e, ErrOutcomeUnknown) && !strings.Contains(e.Text, ErrOutcomeUnknown.Error()) {
		e.Text += ": " + ErrOutcomeUnknown.Error() + ": ask the database before you do it again"
	}
	return e
}
