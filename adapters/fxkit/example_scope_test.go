package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"shmkit/adapters/fxkit"
)

// transactions is a constructor of them, tx1, tx2, …, that tells when they are let go.
func transactions() func() (string, func() error) {
	n := 0
	return func() (string, func() error) {
		n++
		name := fmt.Sprint("tx", n)
		return name, func() error { fmt.Println("commit", name); return nil }
	}
}

// perRequest gives each request a scope of its own.
func perRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, end := fxkit.NewScope(r.Context(), "request")
		defer end() // log its error
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// One of each thing for a request, let go when it has been answered.
func Example_perRequest() {
	graph(func(txs *fxkit.Scoped[string]) {
		handler := perRequest(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first, _ := txs.Get(r.Context())
			again, _ := txs.Get(r.Context())
			fmt.Println(r.URL.Path, first, again)
		}))
		for _, path := range []string{"/a", "/b"} {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
		}
	}, fxkit.ProvideScoped[string](transactions(), "request"))
	// Output:
	// /a tx1 tx1
	// commit tx1
	// /b tx2 tx2
	// commit tx2
}

// A thing that lives as long as one call of a function.
func Example_closing() {
	graph(func(txs *fxkit.Scoped[string]) {
		transfer := func(ctx context.Context, amount int) (err error) {
			ctx, end := fxkit.NewScope(ctx)
			defer func() { err = errors.Join(err, end()) }()
			tx, err := txs.Get(ctx)
			fmt.Println(amount, "by", tx)
			return err
		}
		fmt.Println(transfer(context.Background(), 7))
	}, fxkit.ProvideScoped[string](transactions()))
	// Output:
	// 7 by tx1
	// commit tx1
	// <nil>
}

// A session around requests: what is the session's is the same in all of them.
func ExampleNewScope_nested() {
	type login string
	graph(func(logins *fxkit.Scoped[login], txs *fxkit.Scoped[string]) {
		session, endSession := fxkit.NewScope(context.Background(), "session")
		defer endSession()
		for range 2 {
			request, end := fxkit.NewScope(session, "request")
			who, _ := logins.Get(request)
			tx, _ := txs.Get(request)
			fmt.Println(who, tx)
			end()
		}
		_, err := txs.Get(session)
		fmt.Println(err)
	},
		fxkit.ProvideScoped[login](func() (login, func() error) {
			return "ada", func() error { fmt.Println("log out"); return nil }
		}, "session"),
		fxkit.ProvideScoped[string](transactions(), "request"))
	// Output:
	// ada tx1
	// commit tx1
	// ada tx2
	// commit tx2
	// fxkit: scoped string: the context has no scope of the name ["request"]: begin one with fxkit.NewScope
	// log out
}

// One for each goroutine: a scope that the goroutine begins.
func Example_perGoroutine() {
	var mu sync.Mutex
	n := 0
	graph(func(buffers *fxkit.Scoped[int]) {
		var used []int
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				ctx, end := fxkit.NewScope(context.Background())
				defer end()
				first, _ := buffers.Get(ctx)
				again, _ := buffers.Get(ctx)
				mu.Lock()
				defer mu.Unlock()
				used = append(used, first, again)
			})
		}
		wg.Wait()
		slices.Sort(used)
		fmt.Println(used)
	}, fxkit.ProvideScoped[int](func() int {
		mu.Lock()
		defer mu.Unlock()
		n++
		return n
	}))
	// Output:
	// [1 1 2 2 3 3]
}
