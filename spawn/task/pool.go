package task

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
)

// Options of a [Pool]. The zero value is usable.
type Options struct {
	// InFlight is the number of tasks that a worker has at a time. Default: 1. More
	// hide the way to and fro, and a death costs more.
	InFlight int

	// Retries is how often a task is given to another worker after the death of the
	// one that had it. Default: never.
	Retries int

	// MaxSize is the largest encoded argument or result in bytes. Default: 16 MiB.
	MaxSize int
}

const defaultMaxSize = 16 << 20

// A Pool gives tasks to the workers of one server: it is a spawn.Resource. Tasks wait
// until there is a worker for them, which may be started later. Its methods can be
// called at the same time.
type Pool[In, Out any] struct{ d *dispatcher }

// NewPool makes a pool. It is given to a server in Options.Resources, and belongs to
// that one only.
func NewPool[In, Out any](o Options) *Pool[In, Out] {
	if o.InFlight <= 0 {
		o.InFlight = 1
	}
	if o.MaxSize <= 0 {
		o.MaxSize = defaultMaxSize
	}
	return &Pool[In, Out]{newDispatcher(o)}
}

// Donate makes a Pool a spawn.Resource.
func (p *Pool[In, Out]) Donate(group string, rank, size int) ([]*os.File, []string, io.Closer, error) {
	return nil, nil, &seat{d: p.d, group: group, rank: rank, running: map[uint64]*job{}}, nil
}

// Close fails all tasks without a result with [ErrClosed], also later ones. Call it
// when there will be no workers any more: see [Pool.CloseAfter].
func (p *Pool[In, Out]) Close() error { p.d.close(); return nil }

// CloseAfter closes the pool when done is closed, as in
//
//	pool.CloseAfter(group.Done())
func (p *Pool[In, Out]) CloseAfter(done <-chan struct{}) {
	go func() {
		select {
		case <-done:
			p.d.close()
		case <-p.d.gone:
		}
	}()
}

// Submit gives one task to the pool. The end of ctx cancels it.
func (p *Pool[In, Out]) Submit(ctx context.Context, in In) *Future[Out] {
	f := &Future[Out]{done: make(chan struct{})}
	arg, err := json.Marshal(in)
	switch {
	case err != nil:
		err = fmt.Errorf("task: the argument, a %T, cannot be sent: %w", in, err)
	case len(arg) > p.d.o.MaxSize:
		err = &SizeError{"argument", len(arg), p.d.o.MaxSize}
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if err != nil {
		f.resolve(nil, err)
		return f
	}
	j := &job{arg: arg, end: f.resolve}
	f.cancel = func(why error) { p.d.cancel(j, why) }
	p.d.submit(j)
	p.d.follow(j, context.AfterFunc(ctx, func() { f.cancel(context.Cause(ctx)) }))
	return f
}

// window is how many tasks Map and Completed have under way at a time: enough that no
// worker waits for the caller.
func (p *Pool[In, Out]) window() int { return max(16, 4*p.d.capacity()) }

// Map does a task for each element of ins and yields what came of them, in the order
// of ins. It takes elements as workers can do with them, so ins may be endless. When
// the loop is left, or ctx ends, what is under way is cancelled.
func (p *Pool[In, Out]) Map(ctx context.Context, ins iter.Seq[In]) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		next, stop := iter.Pull(ins)
		defer stop()
		var under []*Future[Out]
		for more := true; more || len(under) > 0; {
			for more && len(under) < p.window() {
				var in In
				if in, more = next(); more {
					under = append(under, p.Submit(ctx, in))
				}
			}
			if len(under) == 0 {
				return
			}
			if !yield(under[0].Wait(context.Background())) {
				return
			}
			under = under[1:]
		}
	}
}

// Done is one task of [Pool.Completed].
type Done[Out any] struct {
	Index int // of the element, from 0
	Value Out
	Err   error
}

// Completed is [Pool.Map] in the order in which the tasks end.
func (p *Pool[In, Out]) Completed(ctx context.Context, ins iter.Seq[In]) iter.Seq[Done[Out]] {
	return func(yield func(Done[Out]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		next, stop := iter.Pull(ins)
		defer stop()
		var wg sync.WaitGroup
		results := make(chan Done[Out])
		left := make(chan struct{})
		defer wg.Wait()
		defer close(left)
		under, index := 0, 0
		for more := true; more || under > 0; {
			for more && under < p.window() {
				var in In
				if in, more = next(); !more {
					break
				}
				f, i := p.Submit(ctx, in), index
				index++
				under++
				wg.Go(func() {
					out, err := f.Wait(context.Background())
					select {
					case results <- Done[Out]{i, out, err}:
					case <-left:
					}
				})
			}
			if under == 0 {
				return
			}
			r := <-results
			under--
			if !yield(r) {
				cancel()
				return
			}
		}
	}
}

// A Future is a result that may not be there yet.
type Future[Out any] struct {
	done   chan struct{}
	cancel func(error)
	out    Out
	err    error
}

// Done is closed when there is a result, or an error.
func (f *Future[Out]) Done() <-chan struct{} { return f.done }

// Wait returns the result when it is there, or ctx's error when that ends first: the
// task goes on then.
func (f *Future[Out]) Wait(ctx context.Context) (Out, error) {
	select {
	case <-f.done:
		return f.out, f.err
	case <-ctx.Done():
		var none Out
		return none, context.Cause(ctx)
	}
}

// Cancel ends the task with [context.Canceled], unless it has ended: its context ends
// in the worker, and what that returns is ignored.
func (f *Future[Out]) Cancel() {
	if f.cancel != nil {
		f.cancel(context.Canceled)
	}
}

// resolve is called once.
func (f *Future[Out]) resolve(result []byte, err error) {
	if err == nil {
		if err = json.Unmarshal(result, &f.out); err != nil {
			err = fmt.Errorf("task: the result is no %T: %w", f.out, err)
		}
	}
	f.err = err
	close(f.done)
}
