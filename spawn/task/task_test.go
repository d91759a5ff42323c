//go:build linux

package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/spawn"
)

// The test binary is the server and its workers.
func TestMain(m *testing.M) {
	c, err := spawn.Attach()
	if err == nil {
		if err := Serve(c.Context(), c, "tasks", do); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	proctest.Main(m)
}

type order struct {
	What string
	N    int
	Data []byte
}

type answer struct {
	N    int
	Pid  int
	Data []byte
}

// do is what the workers of all tests do.
func do(ctx context.Context, o order) (answer, error) {
	a := answer{N: o.N * o.N, Pid: os.Getpid()}
	switch o.What {
	case "echo":
		a.Data = o.Data
	case "slow":
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	case "fail":
		return a, fmt.Errorf("cannot do %d", o.N)
	case "panic":
		panic("out of cheese")
	case "die":
		fmt.Fprintln(os.Stderr, "last words")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "once": // dies unless the file is there
		if _, err := os.Stat(string(o.Data)); err != nil {
			os.WriteFile(string(o.Data), nil, 0o644)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	case "wait":
		<-ctx.Done()
		os.WriteFile(string(o.Data), nil, 0o644)
		return a, ctx.Err()
	}
	return a, nil
}

func newPool(t testing.TB, o Options, workers int, restart bool) (*Pool[order, answer], *spawn.Group) {
	t.Helper()
	pool := NewPool[order, answer](o)
	s, err := spawn.NewServer(spawn.Options{Run: "tasks", Dir: t.TempDir(), Resources: map[string]spawn.Resource{"tasks": pool}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		pool.Close()
	})
	spec := spawn.Spec{Func: "do", Workers: workers}
	if restart {
		spec.Restart = spawn.Restart{When: spawn.RestartOnFailure, Backoff: time.Millisecond, Intensity: -1}
	}
	g, err := s.Start(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return pool, g
}

func orders(what string, n int) iter.Seq[order] {
	return func(yield func(order) bool) {
		for i := range n {
			if !yield(order{What: what, N: i}) {
				return
			}
		}
	}
}

// Map yields all results in order, Completed all of them once; both are done by all
// workers.
func TestMap(t *testing.T) {
	pool, _ := newPool(t, Options{InFlight: 2}, 3, false)
	i, by := 0, map[int]bool{}
	for a, err := range pool.Map(context.Background(), orders("slow", 500)) {
		if err != nil || a.N != i*i {
			t.Fatalf("element %d: %+v, %v", i, a, err)
		}
		by[a.Pid] = true
		i++
	}
	if i != 500 || len(by) != 3 {
		t.Errorf("%d results by %d workers", i, len(by))
	}
	seen := map[int]bool{}
	for d := range pool.Completed(context.Background(), orders("slow", 500)) {
		if d.Err != nil || d.Value.N != d.Index*d.Index || seen[d.Index] {
			t.Fatalf("%+v", d)
		}
		seen[d.Index] = true
	}
	if len(seen) != 500 {
		t.Errorf("%d results", len(seen))
	}
	// An endless sequence, left in the middle.
	endless := func(yield func(order) bool) {
		for i := 0; yield(order{N: i}); i++ {
		}
	}
	n := 0
	for range pool.Map(context.Background(), endless) {
		if n++; n == 50 {
			break
		}
	}
	for range pool.Completed(context.Background(), endless) {
		if n++; n == 100 {
			break
		}
	}
}

// The error of a function, its panic, an argument that is too large: each is the
// error of that task only.
func TestErrors(t *testing.T) {
	pool, g := newPool(t, Options{MaxSize: 1 << 20}, 2, false)
	ctx := context.Background()
	var re *RemoteError
	_, err := pool.Submit(ctx, order{What: "fail", N: 7}).Wait(ctx)
	if !errors.As(err, &re) || re.Text != "cannot do 7" || re.Group != "do" || re.Pid <= 0 || re.Stack != "" {
		t.Errorf("fail: %v", err)
	}
	_, err = pool.Submit(ctx, order{What: "panic"}).Wait(ctx)
	if !errors.As(err, &re) || re.Text != "panic: out of cheese" || !strings.Contains(re.Stack, "task.do") {
		t.Errorf("panic: %v", err)
	}
	_, err = pool.Submit(ctx, order{What: "echo", Data: make([]byte, 1<<20)}).Wait(ctx)
	var se *SizeError
	if !errors.As(err, &se) || se.What != "argument" || !strings.Contains(err.Error(), "Options.MaxSize") {
		t.Errorf("too large: %v", err)
	}
	for _, i := range g.Infos() {
		if i.State != spawn.Running {
			t.Errorf("%+v", i)
		}
	}
	bad := NewPool[func(), int](Options{})
	if _, err := bad.Submit(ctx, func() {}).Wait(ctx); err == nil || !strings.Contains(err.Error(), "a func(), cannot be sent") {
		t.Errorf("an argument that is no data: %v", err)
	}
}

// Arguments and results of any size come whole.
func TestLargeTasks(t *testing.T) {
	pool, _ := newPool(t, Options{}, 2, false)
	ctx := context.Background()
	for _, size := range []int{0, 1, inline * 3 / 4, inline, 300_000, 10 << 20} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		a, err := pool.Submit(ctx, order{What: "echo", Data: data}).Wait(ctx)
		if err != nil || !bytes.Equal(a.Data, data) {
			t.Errorf("%d bytes: %d came back, %v", size, len(a.Data), err)
		}
	}
}

// A death costs the tasks of that worker: a typed error says who and why.
func TestDeathOfAWorker(t *testing.T) {
	pool, _ := newPool(t, Options{}, 2, true)
	ctx := context.Background()
	_, err := pool.Submit(ctx, order{What: "die"}).Wait(ctx)
	var de *DiedError
	if !errors.As(err, &de) || de.Exit.Signal != syscall.SIGKILL || de.Attempts != 1 || !slices.Equal(de.Exit.Stderr, []string{"last words"}) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"worker", `group "do"`, "SIGKILL", "last words"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q is missing", err, want)
		}
	}
	n := 0
	for _, err := range pool.Map(ctx, orders("slow", 100)) {
		if n++; err != nil {
			t.Error(err)
		}
	}
}

// With retries, another worker does the task of one that died; one that kills every
// worker is given up.
func TestRetries(t *testing.T) {
	pool, _ := newPool(t, Options{Retries: 3}, 2, true)
	ctx := context.Background()
	a, err := pool.Submit(ctx, order{What: "once", N: 5, Data: []byte(t.TempDir() + "/f")}).Wait(ctx)
	if err != nil || a.N != 25 {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = pool.Submit(ctx, order{What: "die"}).Wait(ctx)
	var de *DiedError
	if !errors.As(err, &de) || de.Attempts != 4 || !strings.Contains(err.Error(), "the last of 4 workers") {
		t.Errorf("got %v", err)
	}
}

// Under steady killing every task ends once, with a result or with a death.
func TestTasksUnderFire(t *testing.T) {
	const tasks = 2000
	pool, g := newPool(t, Options{InFlight: 3, Retries: 100}, 4, true)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
				if i := g.Infos()[rand.IntN(4)]; i.State == spawn.Running {
					syscall.Kill(i.Pid, syscall.SIGKILL)
				}
			}
		}
	})
	i := 0
	for a, err := range pool.Map(context.Background(), orders("slow", tasks)) {
		if err != nil || a.N != i*i {
			t.Errorf("element %d: %+v, %v", i, a, err)
		}
		i++
	}
	close(quit)
	wg.Wait()
	if i != tasks {
		t.Errorf("%d results", i)
	}
}

// Cancelling ends the wait at once and the task's context in the worker; one that
// waits for a worker is never done.
func TestCancel(t *testing.T) {
	pool, _ := newPool(t, Options{}, 1, false)
	note := t.TempDir() + "/note"
	ctx, cancel := context.WithCancel(context.Background())
	f := pool.Submit(ctx, order{What: "wait", Data: []byte(note)})
	queued := pool.Submit(context.Background(), order{What: "die"})
	after := pool.Submit(context.Background(), order{N: 3})
	queued.Cancel()
	if _, err := queued.Wait(context.Background()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	short, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	if _, err := f.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that is over: %v", err)
	}
	cancel()
	if _, err := f.Wait(context.Background()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if a, err := after.Wait(context.Background()); err != nil || a.N != 9 {
		t.Errorf("the one after: %+v, %v", a, err)
	}
	if _, err := os.Stat(note); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	f.Cancel() // does nothing any more
	if _, err := pool.Submit(ctx, order{}).Wait(context.Background()); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// A pool whose workers are gone for good fails what waits, if it is told to.
func TestPoolWithoutWorkers(t *testing.T) {
	pool, g := newPool(t, Options{}, 1, false)
	pool.CloseAfter(g.Done())
	if _, err := pool.Submit(context.Background(), order{}).Wait(context.Background()); err != nil {
		t.Fatal(err) // from here on it is at work
	}
	f := pool.Submit(context.Background(), order{What: "wait", Data: []byte("/dev/null")})
	queued := pool.Submit(context.Background(), order{})
	if err := g.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var de *DiedError
	if _, err := f.Wait(context.Background()); !errors.As(err, &de) {
		t.Errorf("with the worker: %v", err)
	}
	if _, err := queued.Wait(context.Background()); !errors.Is(err, ErrClosed) || !errors.Is(err, os.ErrClosed) {
		t.Errorf("waiting: %v", err)
	}
	if _, err := pool.Submit(context.Background(), order{}).Wait(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("later: %v", err)
	}
	n := 0
	for _, err := range pool.Map(context.Background(), orders("", 40)) {
		if n++; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if n != 40 {
		t.Errorf("%d results", n)
	}
}

// What a hostile worker sends harms nobody: unknown numbers, kinds and lengths,
// files that are no memory files.
func TestHostileMessages(t *testing.T) {
	d := newDispatcher(Options{InFlight: 1, MaxSize: 1 << 10})
	s := &seat{d: d, running: map[uint64]*job{}}
	var sent []byte
	s.Started(1, func(p []byte, _ ...*os.File) error { sent = bytes.Clone(p); return nil })
	ready, _, _ := pack(kindReady, 0, nil)
	s.Message(ready, nil)
	s.Message(ready, nil) // once more is no second worker
	if n := d.capacity(); n != 1 {
		t.Fatalf("capacity %d", n)
	}
	results := make(chan error, 10)
	submit := func() uint64 {
		d.submit(&job{arg: []byte("1"), end: func(_ []byte, err error) { results <- err }})
		_, id, _, _ := unpack(sent, nil, 100)
		return id
	}
	id := submit()
	for range 10_000 {
		b := make([]byte, rand.IntN(40))
		for i := range b {
			b[i] = byte(rand.IntN(8))
		}
		if len(b) >= header {
			b[4] = byte(id) + 1 + byte(rand.IntN(200))
		}
		s.Message(b, nil)
	}
	if len(results) != 0 {
		t.Fatalf("a message for nobody ended a task: %v", <-results)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	msg, _, _ := pack(kindResult, id, nil)
	msg[1] = 1
	s.Message(msg, []*os.File{r})
	if err := <-results; err == nil || !strings.Contains(err.Error(), "sealed memory file") {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := r.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the pipe is left open: %v", err)
	}
	id = submit()
	msg, file, err := pack(kindResult, id, make([]byte, inline+1))
	if err != nil {
		t.Fatal(err)
	}
	s.Message(msg, []*os.File{file})
	var se *SizeError
	if err := <-results; err == nil || errors.As(err, &se) || !strings.Contains(err.Error(), "at most 1024") {
		t.Errorf("one that is too large: %v", err)
	}
}

// BenchmarkTask is one task to a worker and back; BenchmarkMap is their rate with four
// of them under way.
func BenchmarkTask(b *testing.B) {
	pool, _ := newPool(b, Options{}, 1, false)
	ctx := context.Background()
	for b.Loop() {
		if _, err := pool.Submit(ctx, order{N: 1}).Wait(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	pool, _ := newPool(b, Options{InFlight: 4}, 2, false)
	b.ResetTimer()
	for _, err := range pool.Map(context.Background(), orders("", b.N)) {
		if err != nil {
			b.Fatal(err)
		}
	}
}
