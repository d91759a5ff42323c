//go:build linux

package call_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shmkit/call"
)

// Stock is what workers may do with the owner's stock.
type Stock struct {
	Take func(ctx context.Context, what string, n int) (left int, err error)
	Fill func(ctx context.Context, what string, n int) error
}

// errShortOf is found by errors.Is in the worker, too.
var errShortOf = errors.New("not enough of that")

func init() { call.RegisterError("example.errShortOf", errShortOf) }

// The owner offers one of two functions; a worker calls it. In a program, server is one
// of shmkit.Options.Resources, and the worker's files and words come from
// Worker.Resource.
func Example() {
	stock := map[string]int{"apples": 3}
	server, err := call.Serve(call.Options{Name: "stock", MaxCalls: 1}, Stock{
		Take: func(ctx context.Context, what string, n int) (int, error) {
			if stock[what] < n {
				return 0, fmt.Errorf("%s: %w", what, errShortOf)
			}
			stock[what] -= n
			return stock[what], nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	files, words, lease, err := server.Donate("shop", 0, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Close()

	// In the worker.
	conn, err := call.Attach(files, words)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	api, err := call.Bind[Stock](conn)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(api.Take(ctx, "apples", 2))
	_, err = api.Take(ctx, "apples", 2)
	fmt.Println(err, errors.Is(err, errShortOf))
	fmt.Println(api.Fill(ctx, "apples", 7))
	// Output:
	// 1 <nil>
	// call: "stock".Take: apples: not enough of that true
	// call: "stock".Fill: not offered to this worker: ask the owner to allow it
}

// A function learns from its context which worker it runs for.
func ExampleCallerOf() {
	type api struct {
		Who func(ctx context.Context) (string, error)
	}
	server, err := call.Serve(call.Options{}, api{Who: func(ctx context.Context) (string, error) {
		caller, _ := call.CallerOf(ctx)
		return caller.String(), nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	files, words, lease, err := server.Donate("count", 2, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Close()
	conn, err := call.Attach(files, words)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	worker, err := call.Bind[api](conn)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(worker.Who(context.Background()))
	// Output:
	// worker 2 of group "count" <nil>
}

// shortage says what is short. Its fields travel.
type shortage struct{ What string }

func (s *shortage) Error() string { return "no more " + s.What }

func init() { call.RegisterErrorType[*shortage]("example.shortage") }

// An error of a type of its own is found by errors.As in the worker.
func ExampleRegisterErrorType() {
	type api struct {
		Take func(ctx context.Context, what string) error
	}
	server, err := call.Serve(call.Options{Name: "stock"}, api{Take: func(_ context.Context, what string) error {
		return fmt.Errorf("shelf 7: %w", &shortage{what})
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	files, words, lease, err := server.Donate("shop", 0, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Close()
	conn, err := call.Attach(files, words)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	worker, err := call.Bind[api](conn)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = worker.Take(context.Background(), "apples")
	var short *shortage
	fmt.Println(errors.As(err, &short), short.What)
	fmt.Println(err)
	// Output:
	// true apples
	// call: "stock".Take: shelf 7: no more apples
}
