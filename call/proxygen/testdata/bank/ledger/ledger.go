// Package ledger is where some types of the interface are from.
package ledger

import "context"

// Entry is one of a statement.
type Entry struct {
	What   string
	Amount int
}

// Auditor is embedded in another interface.
type Auditor interface {
	Audit(ctx context.Context) (entries []Entry, err error)
}
