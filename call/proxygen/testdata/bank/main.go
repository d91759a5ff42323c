// Command bank uses the proxy that is generated for it: two workers and their owner.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"example/ledger"
	"shmkit"
	"shmkit/call"
	"shmkit/spawn"
)

func main() {
	shmkit.Main()
	if err := run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run() error {
	a := &account{balance: 1000, ended: make(chan string, 16)}
	server, err := call.Serve(call.Options{Name: "bank"}, NewBankCalls(a))
	if err != nil {
		return err
	}
	defer server.Close()
	node, err := shmkit.Start(context.Background(), shmkit.Options{Name: "bank", Resources: map[string]spawn.Resource{"bank": server}})
	if err != nil {
		return err
	}
	defer node.Close()
	g, err := node.Start(shmkit.Spec{Func: client, Workers: 2})
	if err != nil {
		return err
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for n := 0; n < 2; { // one of each worker; what a timeout ended may not have begun
		if strings.HasSuffix(<-a.ended, " waits") {
			n++
		}
	}
	fmt.Println("balance", a.balance)
	return nil
}

var client = shmkit.Func("client", func(ctx context.Context, w *shmkit.Worker) error {
	files, words, _ := w.Resource("bank")
	conn, err := call.Attach(files, words)
	if err != nil {
		return err
	}
	defer conn.Close()
	calls, err := call.Bind[BankCalls](conn)
	if err != nil {
		return err
	}
	return use(ctx, calls, fmt.Sprint("rank ", w.Rank))
})

func use(ctx context.Context, calls BankCalls, name string) error {
	var bank Bank = NewBankProxy(calls, 0)
	for range 100 {
		if _, err := bank.Withdraw(ctx, 1); err != nil {
			return err
		}
	}
	_, err := bank.Withdraw(ctx, 1<<30)
	var e *call.Error
	if !errors.Is(err, errBroke) || !errors.As(err, &e) || e.Method != "Withdraw" || !e.Sent {
		return fmt.Errorf("the error is not the owner's: %v", err)
	}
	if n, err := bank.Deposit(ctx, []byte("coins"), 1, 2, 3); err != nil || n < 6 {
		return fmt.Errorf("deposit: %d, %v", n, err)
	}
	if n, err := bank.Deposit(ctx, nil); err != nil || n < 6 {
		return fmt.Errorf("deposit of nothing: %d, %v", n, err)
	}
	if entries, err := bank.Audit(ctx); err != nil || len(entries) < 3 || entries[0] != (ledger.Entry{What: "coins", Amount: 1}) {
		return fmt.Errorf("audit: %v, %v", entries, err)
	}
	if hurry, _, err := bank.Hurry(ctx); hurry || err != nil {
		return fmt.Errorf("a deadline that nobody asked for: %v", err)
	}

	// A deadline of the proxy's own, and one of the caller's that is earlier.
	patient := NewBankProxy(calls, time.Hour)
	if hurry, left, err := patient.Hurry(ctx); !hurry || left > time.Hour || err != nil {
		return fmt.Errorf("the timeout did not travel: %v, %v, %v", hurry, left, err)
	}
	soon, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if hurry, left, err := patient.Hurry(soon); !hurry || left > time.Minute || err != nil {
		return fmt.Errorf("the deadline did not travel: %v, %v, %v", hurry, left, err)
	}
	if _, err := patient.Withdraw(nil, 1); err == nil {
		return errors.New("no error for a nil context")
	}

	// The end of the caller's context is that of the owner's function.
	arguments := map[string]*ledger.Entry{"x": {Amount: 7}}
	short := NewBankProxy(calls, time.Millisecond)
	if err := short.Wait(ctx, name, "b", time.Second, 0, arguments); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("after the timeout: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- bank.Wait(cancelled, name+" waits", "b", time.Second, 0, arguments) }()
	for begun := false; !begun; {
		entries, err := bank.Audit(ctx)
		if err != nil {
			return err
		}
		begun = slices.Contains(entries, ledger.Entry{What: name + " waits"})
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("after the cancellation: %v", err)
	}
	return nil
}
