package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"example/ledger"
	"shmkit/call"
)

// Bank is the part of an account that workers have.
type Bank interface {
	ledger.Auditor
	Withdraw(ctx context.Context, n int) (left int, err error)
	Deposit(ctx context.Context, what []byte, amounts ...int) (int, error)
	Hurry(context.Context) (bool, time.Duration, error)
	Wait(ctx context.Context, p, cancel string, time, _ time.Duration, arg5 map[string]*ledger.Entry) error
}

var errBroke = errors.New("not that much left")

func init() { call.RegisterError("bank.errBroke", errBroke) }

// An account is the owner's.
type account struct {
	mu      sync.Mutex
	balance int
	entries []ledger.Entry
	ended   chan string // each Wait that does not wait any more
}

func (a *account) Withdraw(ctx context.Context, n int) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > a.balance {
		return a.balance, errBroke
	}
	a.balance -= n
	return a.balance, nil
}

func (a *account) Deposit(ctx context.Context, what []byte, amounts ...int) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range amounts {
		a.balance += n
		a.entries = append(a.entries, ledger.Entry{What: string(what), Amount: n})
	}
	return a.balance, nil
}

func (a *account) Audit(ctx context.Context) ([]ledger.Entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.entries, nil
}

// Hurry tells how much time the caller has.
func (a *account) Hurry(ctx context.Context) (bool, time.Duration, error) {
	deadline, ok := ctx.Deadline()
	return ok, time.Until(deadline), nil
}

func (a *account) Wait(ctx context.Context, p, cancel string, d, _ time.Duration, m map[string]*ledger.Entry) error {
	if cancel != "b" || d != time.Second || m["x"].Amount != 7 {
		return errors.New("other arguments than were given")
	}
	a.mu.Lock()
	a.entries = append(a.entries, ledger.Entry{What: p})
	a.mu.Unlock()
	<-ctx.Done()
	a.ended <- p
	return ctx.Err()
}

// Close is not for workers.
func (a *account) Close() error { return nil }
