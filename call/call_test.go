//go:build linux

package call_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/call"
	"shmkit/spawn"
)

type counter struct {
	Add func(ctx context.Context, n int) (int, error)
	Get func(ctx context.Context) (int, error)
}

var adders = worker("adders", func(ctx context.Context, api counter, child *spawn.Child) error {
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range cap(errs) {
		wg.Go(func() {
			for range 50 {
				if _, err := api.Add(ctx, child.Rank+1); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
})

// Every call of every worker runs exactly once, for the worker that made it.
func TestCallsRunOnce(t *testing.T) {
	var mu sync.Mutex
	total, by := 0, map[call.Caller]int{}
	server := serve(t, call.Options{}, counter{Add: func(ctx context.Context, n int) (int, error) {
		caller, ok := call.CallerOf(ctx)
		if !ok || caller.Rank+1 != n {
			return 0, fmt.Errorf("%v sent %d", caller, n)
		}
		mu.Lock()
		defer mu.Unlock()
		total += n
		by[caller]++
		return total, nil
	}})
	if err := start(t, server, adders, 3).Wait(); err != nil {
		t.Fatal(err)
	}
	if total != 400*(1+2+3) {
		t.Errorf("total %d", total)
	}
	for rank := range 3 {
		if n := by[call.Caller{Group: "adders", Rank: rank, Size: 3}]; n != 400 {
			t.Errorf("%d calls of worker %d", n, rank)
		}
	}
}

type values struct {
	Echo func(ctx context.Context, s string, b []byte, m map[string][]int, p *point, f float64) (string, []byte, map[string][]int, *point, float64, error)
	None func(ctx context.Context) error
}

type point struct{ X, Y int }

func TestValuesTravel(t *testing.T) {
	server := serve(t, call.Options{}, values{
		Echo: func(_ context.Context, s string, b []byte, m map[string][]int, p *point, f float64) (string, []byte, map[string][]int, *point, float64, error) {
			return s, b, m, p, f, nil
		},
		None: func(context.Context) error { return nil },
	})
	api := bind[values](t, connect(t, server, 0))
	s, b, m, p, f, err := api.Echo(t.Context(), "ä\x00\n", []byte{0, 255}, map[string][]int{"a": {1, 2}}, &point{3, -4}, 0.1)
	if err = errors.Join(err, want(s, "ä\x00\n"), want(b, []byte{0, 255}), want(m, map[string][]int{"a": {1, 2}}), want(*p, point{3, -4}), want(f, 0.1)); err != nil {
		t.Error(err)
	}
	if _, b, m, p, _, err := api.Echo(t.Context(), "", nil, nil, nil, 0); err != nil || len(b) != 0 || m != nil || p != nil {
		t.Error(b, m, p, err)
	}
	if err := api.None(t.Context()); err != nil {
		t.Error(err)
	}
}

var (
	errEmpty = errors.New("the box is empty")
	errLocal = errors.New("known here only")
)

type quotaError struct{ Who, Left string }

func (e *quotaError) Error() string { return e.Who + " has " + e.Left + " left" }

func init() {
	call.RegisterError("call_test.errEmpty", errEmpty)
	call.RegisterErrorType[*quotaError]("call_test.quotaError")
}

type failing struct {
	Fail func(ctx context.Context, how string) (int, error)
}

func fail(ctx context.Context, how string) (int, error) {
	switch how {
	case "sentinel":
		return 1, fmt.Errorf("box 7: %w", errEmpty)
	case "typed":
		return 1, fmt.Errorf("refused: %w", &quotaError{"rank 0", "nothing"})
	case "both":
		return 1, errors.Join(errEmpty, &quotaError{Who: "x"})
	case "local":
		return 1, errLocal
	case "file":
		return 1, &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}
	case "long":
		return 1, errors.New(strings.Repeat("ä", 1<<20))
	case "panic":
		panic("out of cheese")
	case "goexit":
		runtime.Goexit()
	}
	return 0, nil
}

var failers = worker("failers", func(ctx context.Context, api failing, child *spawn.Child) error {
	_, e1 := api.Fail(ctx, "sentinel")
	_, e2 := api.Fail(ctx, "typed")
	var quota *quotaError
	if !errors.Is(e1, errEmpty) || errors.Is(e2, errEmpty) || !errors.As(e2, &quota) {
		return fmt.Errorf("identity lost: %v; %v", e1, e2)
	}
	return errors.Join(want(*quota, quotaError{"rank 0", "nothing"}), want(e1, `call: "box".Fail: box 7: the box is empty`))
})

func TestErrorsKeepTheirIdentity(t *testing.T) {
	server := serve(t, call.Options{Name: "box"}, failing{fail})
	if err := start(t, server, failers, 1).Wait(); err != nil {
		t.Error(err)
	}
	api := bind[failing](t, connect(t, server, 0))
	for _, c := range []struct {
		how   string
		is    error
		text  string
		isNot error
	}{
		{"local", nil, `call: "box".Fail: known here only`, errLocal},
		{"file", fs.ErrNotExist, `call: "box".Fail: open /x: no such file or directory`, fs.ErrPermission},
		{"both", errEmpty, "", errLocal},
		{"panic", nil, `call: "box".Fail: panic: out of cheese`, errEmpty},
		{"goexit", nil, `call: "box".Fail: the function ended its goroutine`, errEmpty},
		{"long", nil, "", errEmpty},
	} {
		n, err := api.Fail(t.Context(), c.how)
		var remote *call.RemoteError
		var e *call.Error
		if n != 0 || !errors.As(err, &remote) || !errors.As(err, &e) || !e.Sent || errors.Is(err, c.isNot) ||
			c.is != nil && !errors.Is(err, c.is) || c.text != "" && err.Error() != c.text || len(err.Error()) > 10<<10 {
			t.Errorf("%s: %d, %.300v", c.how, n, err)
		}
	}
	if n, err := api.Fail(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("after them: %d, %v", n, err)
	}
}

type waiting struct {
	Wait func(ctx context.Context) error
}

// waiter is an owner's function that waits for the end of its context.
type waiter struct {
	entered chan struct{}
	ended   chan error
}

func newWaiter() *waiter {
	return &waiter{make(chan struct{}, 64), make(chan error, 64)}
}

func (w *waiter) wait(ctx context.Context) error {
	w.entered <- struct{}{}
	<-ctx.Done()
	w.ended <- context.Cause(ctx)
	return ctx.Err()
}

func TestContextsTravel(t *testing.T) {
	w := newWaiter()
	server := serve(t, call.Options{}, waiting{w.wait})
	api := bind[waiting](t, connect(t, server, 0))

	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-w.entered; cancel() }()
	err := api.Wait(ctx)
	var e *call.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || !e.Sent {
		t.Errorf("cancelled: %v", err)
	}
	if cause := <-w.ended; cause != context.Canceled {
		t.Errorf("cancelled: the owner's context ended by %v", cause)
	}

	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := api.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	select {
	case <-w.entered:
		if cause := <-w.ended; cause != context.DeadlineExceeded && cause != context.Canceled {
			t.Errorf("deadline: the owner's context ended by %v", cause)
		}
	default: // so late here that it was not sent
	}

	cancel()
	if err := api.Wait(ctx); !errors.As(err, &e) || e.Sent {
		t.Errorf("ended before: %v, sent %v", err, e.Sent)
	}
	if err := api.Wait(nil); err == nil || !strings.Contains(err.Error(), "context.Background()") {
		t.Errorf("nil context: %v", err)
	}
}

// The owner's bound holds whatever the worker's context says.
func TestOwnersTimeout(t *testing.T) {
	w := newWaiter()
	server := serve(t, call.Options{Timeout: time.Millisecond}, waiting{w.wait})
	api := bind[waiting](t, connect(t, server, 0))
	for _, d := range []time.Duration{0, time.Hour} {
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if d > 0 {
			ctx, cancel = context.WithTimeout(ctx, d)
		}
		if err := api.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			t.Errorf("%v", err)
		}
		cancel()
	}
}

var waiters = worker("waiters", func(ctx context.Context, api waiting, child *spawn.Child) error {
	return api.Wait(ctx)
})

// The death of a worker ends the contexts of its calls.
func TestWorkerDeathCancels(t *testing.T) {
	w := newWaiter()
	server := serve(t, call.Options{}, waiting{w.wait})
	g := start(t, server, waiters, 2)
	<-w.entered
	<-w.entered
	g.Signal(syscall.SIGKILL)
	for range 2 {
		if cause := <-w.ended; !errors.Is(cause, call.ErrWorkerGone) {
			t.Errorf("ended by %v", cause)
		}
	}
	if err := g.Wait(); err == nil {
		t.Error("not killed")
	}
}

// When the owner closes, callers learn that their call may have run; when it had
// closed before, that it has not.
func TestOwnerCloses(t *testing.T) {
	w := newWaiter()
	server := serve(t, call.Options{Name: "box"}, waiting{w.wait})
	api := bind[waiting](t, connect(t, server, 0))
	result := make(chan error)
	go func() { result <- api.Wait(t.Context()) }()
	<-w.entered
	if err := server.Close(); err != nil { // waits for the function
		t.Error(err)
	}
	if len(w.ended) != 1 {
		t.Error("Close did not wait for the function")
	}
	var e *call.Error
	if err := <-result; !errors.Is(err, call.ErrGone) || !errors.As(err, &e) || !e.Sent || !strings.Contains(err.Error(), "may have run") {
		t.Errorf("under way: %v", err)
	}
	if err := api.Wait(t.Context()); !errors.Is(err, call.ErrGone) || !errors.As(err, &e) || e.Sent {
		t.Errorf("afterwards: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if _, _, _, err := server.Donate("late", 0, 1); !errors.Is(err, fs.ErrClosed) || !strings.Contains(err.Error(), `worker 0 of group "late"`) {
		t.Errorf("Donate after Close: %v", err)
	}
}

func TestConnCloses(t *testing.T) {
	w := newWaiter()
	server := serve(t, call.Options{}, waiting{w.wait})
	conn := connect(t, server, 0)
	api := bind[waiting](t, conn)
	result := make(chan error)
	go func() { result <- api.Wait(t.Context()) }()
	<-w.entered
	conn.Close()
	conn.Close()
	if err := <-result; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("under way: %v", err)
	}
	if cause := <-w.ended; !errors.Is(cause, call.ErrWorkerGone) {
		t.Errorf("the owner's context ended by %v", cause)
	}
}

// More calls than may run wait for their turn, or for the end of their context.
func TestCallsTakeTurns(t *testing.T) {
	var running, most atomic.Int32
	entered, gate := make(chan struct{}, 20), make(chan struct{})
	server := serve(t, call.Options{MaxCalls: 2}, waiting{func(ctx context.Context) error {
		for n := running.Add(1); ; {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		entered <- struct{}{}
		<-gate
		running.Add(-1)
		return nil
	}})
	api := bind[waiting](t, connect(t, server, 0))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := api.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var e *call.Error
	if err := api.Wait(ctx); !errors.As(err, &e) || e.Sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no turn: %v", err)
	}
	close(gate)
	wg.Wait()
	if most.Load() != 2 {
		t.Errorf("%d at the same time", most.Load())
	}
}

type blobs struct {
	Take func(ctx context.Context, b []byte) (int, error)
	Give func(ctx context.Context, n int) ([]byte, error)
}

func TestLargeMessages(t *testing.T) {
	server := serve(t, call.Options{Name: "box"}, blobs{
		Take: func(_ context.Context, b []byte) (int, error) { return len(b), nil },
		Give: func(_ context.Context, n int) ([]byte, error) { return bytes.Repeat([]byte{7}, n), nil },
	})
	api := bind[blobs](t, connect(t, server, 0))
	const most = call.MaxMessage - 4 // its length goes along
	if n, err := api.Take(t.Context(), make([]byte, most)); n != most || err != nil {
		t.Error(n, err)
	}
	if b, err := api.Give(t.Context(), most); len(b) != most || err != nil {
		t.Error(len(b), err)
	}
	var e *call.Error
	if _, err := api.Take(t.Context(), make([]byte, most+1)); !errors.Is(err, call.ErrTooLarge) || !errors.As(err, &e) || e.Sent ||
		err.Error() != `call: "box".Take: message too large: arguments of 65537 bytes, at most 65536: pass less, or share memory` {
		t.Error(err)
	}
	if _, err := api.Give(t.Context(), most+1); !errors.Is(err, call.ErrTooLarge) || !strings.Contains(err.Error(), "results of 65537 bytes, at most 65536: return less, or share memory") {
		t.Error(err)
	}
}
