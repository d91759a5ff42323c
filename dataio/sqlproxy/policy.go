package sqlproxy

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// A Policy says what workers may do with a database. The zero value allows all
// statements, with limits on what a worker can make the node hold.
type Policy struct {
	// Readers, if set, answers what only reads: single SELECT and VALUES statements
	// outside of transactions, and read-only transactions. Everything else goes to
	// the database itself. It is made for SQLite: a writer with one connection, and
	// readers beside it that never wait for it.
	Readers *sql.DB

	// ReadOnly refuses everything but reads. The text of a statement is what it goes
	// by, and functions can write: the strong form is a Readers handle, or a user,
	// that may only read.
	ReadOnly bool

	// Allow, if set, is asked before each statement; an error refuses it. It may be
	// called from several goroutines.
	Allow func(query string) error

	// MaxConns is how many connections one worker may have at the same time; its
	// *sql.DB waits for one of its own beyond that. Default: 16.
	MaxConns int

	// MaxRows and MaxBytes bound one result: rows, and bytes of values. A larger one
	// ends with an error that wraps ErrLimit. Default: no bound on rows, 1 GiB.
	MaxRows  int64
	MaxBytes int64

	// MaxTime bounds one statement, from its arrival to its last row; 0: no bound.
	MaxTime time.Duration

	// MaxWait bounds the wait for a connection; 0: as long as the worker's context.
	MaxWait time.Duration

	// Statements is how many prepared statements are kept for one connection while a
	// worker has it. Default: 64.
	Statements int
}

func (p Policy) withDefaults() Policy {
	if p.MaxConns <= 0 {
		p.MaxConns = 16
	}
	if p.MaxBytes <= 0 {
		p.MaxBytes = 1 << 30
	}
	if p.Statements <= 0 {
		p.Statements = 64
	}
	return p
}

// check refuses what the policy does not allow.
func (p *Policy) check(query string) error {
	if p.ReadOnly && !onlyReads(query) {
		return fmt.Errorf("%w: this database is read-only for workers", ErrRefused)
	}
	if p.Allow != nil {
		if err := p.Allow(query); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	return nil
}

// limit is the context of one statement.
func (p *Policy) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.MaxTime <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, p.MaxTime,
		fmt.Errorf("%w: the statement took longer than %v", ErrLimit, p.MaxTime))
}

// firstWord returns the first word of a statement in upper case, without comments
// in front of it.
func firstWord(q string) string {
	for {
		q = strings.TrimLeft(q, " \t\r\n\f(")
		switch {
		case strings.HasPrefix(q, "--"):
			_, q, _ = strings.Cut(q, "\n")
		case strings.HasPrefix(q, "/*"):
			_, q, _ = strings.Cut(q, "*/")
		default:
			n := 0
			for n < len(q) && (q[n]|0x20 >= 'a' && q[n]|0x20 <= 'z') {
				n++
			}
			if n > 16 {
				return ""
			}
			return strings.ToUpper(q[:n])
		}
	}
}

// onlyReads reports whether q is one statement that reads. It is careful: a query
// with a semicolon anywhere but at its end, or INTO (which some databases have in
// SELECT), may write.
func onlyReads(q string) bool {
	switch firstWord(q) {
	case "SELECT", "VALUES", "EXPLAIN", "SHOW":
	default:
		return false
	}
	q = strings.TrimRight(q, "; \t\r\n")
	if strings.Contains(q, ";") {
		return false
	}
	up := strings.ToUpper(q)
	return !strings.Contains(up, " INTO ") && !strings.Contains(up, "ANALYZE") && !strings.Contains(up, " FOR ")
}
