//go:build linux

package call_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"shmkit/call"
)

// Everything that can be declared wrong is said by an error that names it and the
// cure.
func TestWrongAPIs(t *testing.T) {
	serve := func(_ any, err error) error { return err }
	o := call.Options{Name: "box"}
	for _, c := range []struct {
		err  error
		says string
	}{
		{serve(call.Serve(o, 7)), "API int: want a struct of functions"},
		{serve(call.Serve(o, struct{}{})), "has no functions: give it exported fields"},
		{serve(call.Serve(o, struct{ N int }{})), "field N is a int: want functions only"},
		{serve(call.Serve(o, struct{ f func() }{})), "field f is not exported: begin it with a capital letter"},
		{serve(call.Serve(o, struct{ F func() error }{})), "field F is a func() error: take a context.Context first"},
		{serve(call.Serve(o, struct{ F func(context.Context) }{})), "field F is a func(context.Context): return an error last"},
		{serve(call.Serve(o, struct {
			F func(context.Context, ...int) error
		}{})), "field F is variadic: take a slice"},
		{serve(call.Serve(o, struct {
			F func(context.Context, chan int) error
		}{})), "field F takes or returns a chan int: only what has a JSON form can travel"},
		{serve(call.Serve(o, struct {
			F func(context.Context) (fmt.Stringer, error)
		}{})), "field F takes or returns a fmt.Stringer: only what has a JSON form can travel"},
		{serve(call.Serve(o, struct {
			Ä func(context.Context) error
		}{})), "field Ä has a name outside ASCII: choose another"},
		{serve(call.Serve(o, counter{})), `call: "box": every function of the API call_test.counter is nil: set those that workers may call`},
		{serve(call.Serve(call.Options{Name: "box", MaxCalls: -1}, counter{})), `call: "box": MaxCalls of -1: choose from 1 to 65536`},
		{serve(call.Serve(call.Options{Name: "box", MaxMessage: 1 << 20}, counter{})), `call: "box": MaxMessage of 1048576 bytes: choose from 256 to 65536`},
		{serve(call.Serve(call.Options{Name: "box", Timeout: -time.Second}, counter{})), `call: "box": Timeout of -1s: choose a positive one`},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%v, want %q", c.err, c.says)
		}
	}
}

func TestWrongDonations(t *testing.T) {
	good := []string{"call=1", "name=box", "calls=4", "bytes=1024"}
	file := func() *os.File {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		files []*os.File
		words []string
		says  string
	}{
		{nil, nil, `call: attach "call": words [], this build needs "call=1": restart the worker`},
		{nil, []string{"call=2", "name=box", "calls=4", "bytes=1024"}, `attach "box": words`},
		{nil, good, `attach "box": 0 files, want 1: pass on what Donate returned`},
		{[]*os.File{nil}, good, "1 files, want 1"},
		{[]*os.File{file(), file()}, good, "2 files, want 1"},
		{[]*os.File{file()}, good, `attach "box"`},
		{nil, []string{"call=1", "calls=0", "bytes=1024"}, `word "calls=0": want 1 to 65536 calls`},
		{nil, []string{"call=1", "calls=1", "bytes=9"}, `word "bytes=9": want 256 to 65536 bytes`},
	} {
		_, err := call.Attach(c.files, c.words)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
		for _, f := range c.files {
			if f != nil && !errors.Is(f.Close(), os.ErrClosed) {
				t.Errorf("%s: a file was left open", c.says)
			}
		}
	}
}

// A worker is offered what is set and allowed; the rest says so when it is called.
func TestSubset(t *testing.T) {
	one := func(context.Context) (int, error) { return 1, nil }
	server := serve(t, call.Options{Name: "box", Allow: func(w call.Caller, method string) bool {
		return w.Rank == 0 || method != "Add"
	}}, counter{Add: func(context.Context, int) (int, error) { return 0, nil }, Get: one})
	for rank := range 2 {
		api := bind[counter](t, connect(t, server, rank))
		if n, err := api.Get(t.Context()); n != 1 || err != nil {
			t.Errorf("%d: %d, %v", rank, n, err)
		}
		_, err := api.Add(t.Context(), 1)
		if allowed := rank == 0; allowed != (err == nil) {
			t.Errorf("%d: %v", rank, err)
		}
		if rank == 1 && (!errors.Is(err, call.ErrNotOffered) || err.Error() != `call: "box".Add: not offered to this worker: ask the owner to allow it`) {
			t.Error(err)
		}
	}
	type skewed struct {
		Get func(ctx context.Context) (string, error)
	}
	_, bound := call.Bind[skewed](connect(t, server, 0))
	for _, err := range []error{bound, call.Check[skewed](server)} {
		if err == nil || !strings.Contains(err.Error(), `bind "box": function Get has another signature in the owner: restart the worker`) {
			t.Error(err)
		}
	}
	if _, err := call.Bind[int](connect(t, server, 0)); err == nil || call.Check[int](server) == nil {
		t.Error("bound an int")
	}
	type more struct {
		Get  func(ctx context.Context) (int, error)
		Idle func(ctx context.Context) error
	}
	if err := call.Check[more](server); err != nil { // what is not offered says so when it is called
		t.Error(err)
	}
}

func TestRegisteredTwice(t *testing.T) {
	for says, fn := range map[string]func(){
		"io.EOF registered twice":               func() { call.RegisterError("io.EOF", errLocal) },
		"want a struct or a pointer to one":     func() { call.RegisterErrorType[errString]("x") },
		"call_test.quotaError registered twice": func() { call.RegisterErrorType[*quotaError]("call_test.quotaError") },
	} {
		func() {
			defer func() {
				if p, _ := recover().(string); !strings.Contains(p, says) {
					t.Errorf("panic %q, want %q", p, says)
				}
			}()
			fn()
		}()
	}
}

type errString string

func (e errString) Error() string { return string(e) }
