package fxkit_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/call"
)

//go:generate go run shmkit/call/proxygen -type Tickets

// Tickets is what workers have of the owner's counter, as an interface. NewTicketsCalls
// and NewTicketsProxy are generated.
type Tickets interface {
	Next(ctx context.Context) (number int, err error)
}

// A counter is one object, in the owner. No worker can reset it.
type counter struct{ n int }

func (c *counter) Next(context.Context) (int, error) { c.n++; return c.n, nil }
func (c *counter) Reset()                            { c.n = 0 }

// The worker function asks for the interface, and does not know where it is.
var draws = fxkit.Func("draws", func(ctx context.Context, log *slog.Logger, tickets Tickets) error {
	for range 2 {
		n, err := tickets.Next(ctx)
		if err != nil {
			return err
		}
		log.Info("drew", "number", n)
	}
	return nil
},
	fxkit.Proxy[TicketsCalls]("tickets"),
	fx.Provide(func(calls TicketsCalls) Tickets { return NewTicketsProxy(calls, time.Minute) }),
)

// An interface whose methods run in the owner.
func ExampleProxy() {
	o, remove := here()
	defer remove()
	c := &counter{n: 41}
	untilEnd(fx.New(
		fxkit.Node(o),
		fx.Supply(fx.Annotate(c, fx.As(new(Tickets)))),
		fxkit.Serve[TicketsCalls](call.Options{Name: "tickets", MaxCalls: 1}, NewTicketsCalls),
		fxkit.Workers(shmkit.Spec{Func: draws, Workers: 1}),
		fx.NopLogger,
	))
	fmt.Println(c.n)
	// Output:
	// msg=drew worker=0 number=42
	// msg=drew worker=0 number=43
	// 43
}
